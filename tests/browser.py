"""A headless Chromium, and a listener at its keyboard."""

import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--mute-audio", "--window-size=1000,900"),
]
COUNT_CONTEXTS = """
window.audioContexts = 0;
window.AudioContext = class extends window.AudioContext {
  constructor(...all) { super(...all); window.audioContexts++; }
};
"""


def start_browser(profile: Path) -> Any:
    """Start Chromium with a new profile; skip where it is missing, or fail where VQAUDIO_NEEDS_BROWSER is set."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    missing += [name for name in ("selenium", "axe_playwright_python") if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"{', '.join(missing)} not installed: tools/install.sh --browser"
        if os.environ.get("VQAUDIO_NEEDS_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": COUNT_CONTEXTS})
    driver.set_script_timeout(20)
    return driver


def axe_violations(driver: Any) -> list[str]:
    """Return what axe-core finds wrong with the current page."""
    found = importlib.util.find_spec("axe_playwright_python")
    driver.execute_script((Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8"))
    result = driver.execute_async_script("axe.run(document).then(arguments[0])")
    return [f"{v['id']}: {node['html']}" for v in result["violations"] for node in v["nodes"]]


class Listener:
    """Somebody who has opened a link and uses nothing but the keyboard."""

    def __init__(self, driver: Any, link: str) -> None:
        self.driver = driver
        driver.get("about:blank")
        driver.get(link)
        self.wait(lambda: self.heading())

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def wait(self, condition: Callable[[], Any], seconds: float = 30) -> Any:
        """Wait until something holds, and return it."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {seconds} s; the page says: {self.text('body')}"
            time.sleep(0.03)
        return found

    def script(self, code: str, *arguments: Any) -> Any:
        """Run JavaScript in the page."""
        return self.driver.execute_script(code, *arguments)

    def text(self, selector: str) -> str:
        """The text of the first element that matches, "" if there is none."""
        return self.script("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def heading(self) -> str:
        return self.text("h1")

    def place(self) -> str:
        """Training, or trial n of N."""
        return self.text("#place")

    def missing(self) -> str:
        """What the page says is still to be done."""
        return self.text("#missing")

    def saved(self) -> bool:
        """Whether the server has everything."""
        return self.script("return document.getElementById('saved').dataset.state") == "saved"

    def begin(self) -> None:
        """Go from the welcome through the volume to the first trial."""
        self.press("n")
        self.wait(lambda: "volume" in self.heading())
        assert not self.script("return window.audioContexts")  # no sound before it is asked for
        self.press(" ")
        self.wait(lambda: not self.script("return document.querySelector('.next').disabled"))
        self.press("n")
        self.wait(self.place)

    def hear(self, letter: str) -> None:
        """Play a recording until it has been heard."""
        before = self.missing()
        words = self.script(
            "return document.querySelector(`[aria-keyshortcuts=${arguments[0]}] .words`).textContent", letter
        )
        if words not in before.partition(":")[2]:
            return
        self.press(letter.lower())
        self.wait(lambda: words not in self.missing().partition("heard:")[2] or "heard" not in self.missing())

    def letters(self) -> list[str]:
        """The keys of the recordings of this trial."""
        return self.script(
            "return [...document.querySelectorAll('.clip')].map((b) => b.getAttribute('aria-keyshortcuts'))"
        )

    def go_on(self) -> None:
        """Go to the next page."""
        before = self.place() + self.heading()
        self.press("n")
        self.wait(lambda: self.place() + self.heading() != before)


def network(driver: Any) -> list[dict[str, Any]]:
    """The network messages since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [message for message in messages if message["method"].startswith("Network.")]
