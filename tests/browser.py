"""A headless Chromium, and a listener at the keyboard of any browser."""

import contextlib
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--mute-audio", "--window-size=1000,900"),
]
# Keeps the audio contexts that a page makes, and the clips that sound.
WATCH_SOUND = """
window.contexts = [];
window.AudioContext = class extends window.AudioContext {
  constructor(...all) { super(...all); window.contexts.push(this); }
};
window.sounding = new Set();
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...all) {
  window.sounding.add(this);
  this.addEventListener("ended", () => window.sounding.delete(this));
  return start.apply(this, all);
};
"""


def need(missing: list[str]) -> None:
    """Skip a test if something is missing, or fail where VQAUDIO_NEEDS_BROWSER is set."""
    if not missing:
        return
    reason = f"{', '.join(missing)} not installed: tools/install.sh --browser"
    if os.environ.get("VQAUDIO_NEEDS_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


def start_browser(profile: Path) -> Any:
    """Start Chromium with a new profile."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    need(missing + [name for name in ("selenium", "axe_playwright_python") if importlib.util.find_spec(name) is None])
    from selenium import webdriver
    from selenium.webdriver.common.action_chains import ActionChains

    class Chromium(webdriver.Chrome):
        def press(self, *keys: str) -> None:
            """Press keys one after the other."""
            ActionChains(self, duration=0).send_keys(*keys).perform()

        def click(self, x: float, y: float) -> None:
            """Click at a place in the window."""
            actions = ActionChains(self, duration=0)
            actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
            actions.w3c_actions.pointer_action.click()
            actions.perform()

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Chromium(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH_SOUND})
    driver.set_script_timeout(20)
    return driver


def axe_violations(driver: Any) -> list[str]:
    """Return what axe-core finds wrong with the current page."""
    found = importlib.util.find_spec("axe_playwright_python")
    driver.execute_script((Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8"))
    result = driver.execute_script("return axe.run(document)")
    return [f"{v['id']}: {node['html']}" for v in result["violations"] for node in v["nodes"]]


class Listener:
    """Somebody who has opened a link and uses nothing but the keyboard."""

    def __init__(self, driver: Any, link: str) -> None:
        self.driver = driver
        driver.get("about:blank")  # otherwise a link that differs after the # loads nothing
        driver.get(link)
        self.wait(lambda: self.heading())

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        self.driver.press(*keys)

    def spot(self, selector: str, part: float = 0.5) -> tuple[float, float]:
        """Where the first element that matches is in the window: a part of its width, half of its height."""
        code = "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()"
        box = self.script(code, selector)
        return box["x"] + part * box["width"], box["y"] + box["height"] / 2

    def click(self, selector: str, part: float = 0.5) -> None:
        """Click on the first element that matches, at a part of its width."""
        self.driver.click(*self.spot(selector, part))

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
        assert not self.script("return window.contexts?.length")  # no sound before it is asked for
        self.press(" ")
        self.wait(lambda: not self.script("return document.querySelector('.next').disabled"))
        self.press("n")
        self.wait(self.place)

    def hear(self, letter: str) -> None:
        """Play a recording until it has been heard, if that is still to be done."""
        words = self.script(
            "return document.querySelector(`[aria-keyshortcuts=${arguments[0]}] .words`).textContent", letter
        )
        told = self.missing()
        if not told.startswith("Please listen") and words not in told.partition("heard:")[2]:
            return
        self.press(letter.lower())
        self.wait(lambda: words not in self.missing().partition("heard:")[2])

    def hear_all(self) -> None:
        """Play all recordings of a trial until they have been heard."""
        for letter in self.letters():
            self.hear(letter)

    def letters(self) -> list[str]:
        """The keys of the recordings of this trial."""
        return self.script(
            "return [...document.querySelectorAll('.clip')].map((b) => b.getAttribute('aria-keyshortcuts'))"
        )

    def go_on(self, key: str = "n") -> None:
        """Go to the next page."""
        before = self.place() + self.heading()
        self.press(key)
        self.wait(lambda: self.place() + self.heading() != before)


def tab(driver: Any) -> str:
    """Open another tab, which becomes the current one; return the one that was current."""
    before = driver.current_window_handle
    driver.switch_to.new_window("tab")
    return before


@contextlib.contextmanager
def phone(driver: Any, width: int = 390, height: int = 740) -> Iterator[None]:
    """Make Chromium's window that of a phone with a touch screen."""
    size = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@contextlib.contextmanager
def connection(driver: Any, **conditions: Any) -> Iterator[None]:
    """Slow down or cut off Chromium's network: offline, latency (ms), downloadThroughput (bytes per second)."""
    usual = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", usual | conditions)
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Network.emulateNetworkConditions", usual)


@contextlib.contextmanager
def media(driver: Any, **features: str) -> Iterator[None]:
    """Give Chromium the wishes of a user, such as forced_colors="active"."""
    wishes = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wishes})
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def network(driver: Any) -> list[dict[str, Any]]:
    """The network messages since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [message for message in messages if message["method"].startswith("Network.")]
