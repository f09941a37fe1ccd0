"""Makes the pictures of a MUSHRA trial for the README: `python tests/screenshots.py recipes/vctk`."""

import base64
import sys
import tempfile
from pathlib import Path
from typing import Any

from browser import Listener, phone, start_browser
from page_server import PageServer, session, trial

PIXELS = 1.5  # of the pictures, for each of the page
HOME, PAGE_UP, RIGHT = "\ue011", "\ue00e", "\ue014"


def rate(listener: Listener, letter: str, value: int) -> None:
    listener.hear(letter)
    listener.press(HOME, *[PAGE_UP] * (value // 10), *[RIGHT] * (value % 10))


def take(driver: Any) -> bytes:
    """Return a PNG of the second of two trials: two versions are rated, and a third one is playing."""
    trials = [trial(n, "mushra", training=n == 0, stimuli=[f"{n}{letter}" for letter in "abcde"]) for n in range(3)]
    with PageServer(session("mushra", trials, page=3), seconds=4.0) as server:
        listener = Listener(driver, server.link)
        listener.wait(listener.letters)
        listener.hear("R")
        for letter, value in (("A", 91), ("B", 23), ("C", 56)):
            rate(listener, letter, value)
        listener.wait(listener.saved)
        listener.script("document.activeElement.blur(); scrollTo(0, 0)")
        box = "const b = document.documentElement.getBoundingClientRect(); return [b.width, b.height, devicePixelRatio]"
        width, height, ratio = listener.script(box)
        area = {"x": 0, "y": 0, "width": width, "height": height, "scale": PIXELS / ratio}
        picture = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": area})
        return base64.b64decode(picture["data"])


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as profile:
        driver = start_browser(Path(profile))
        try:
            (folder / "listening.png").write_bytes(take(driver))
            with phone(driver):
                (folder / "listening-phone.png").write_bytes(take(driver))
        finally:
            driver.quit()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
