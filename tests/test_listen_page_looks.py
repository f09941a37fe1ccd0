"""What the page of a listening test looks like, and what it is called, for eyes and screen readers."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from browser import Listener, axe_violations, media, phone, start_browser
from page_server import PageServer, session, trial

pytestmark = pytest.mark.slow  # starts a browser

HOME, PAGE_UP, RIGHT = "\ue011", "\ue00e", "\ue014"


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[Any]:
    browser = start_browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


def picture(driver: Any, selector: str) -> np.ndarray:
    """The pixels of an element, (height, width, 3), from 0 to 1."""
    from matplotlib.image import imread

    code = "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()"
    box = driver.execute_script(code, selector)
    area = {name: box[name] for name in ("x", "y", "width", "height")} | {"scale": 1}
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": area})
    return imread(io.BytesIO(base64.b64decode(taken["data"])), format="png")[..., :3]


def test_in_forced_colours_the_rails_and_the_position_can_be_seen(driver) -> None:
    with (
        PageServer(session("mushra", [trial(0, "mushra")]), seconds=2.0) as server,
        media(driver, forced_colors="active"),
    ):
        listener = Listener(driver, server.link)
        listener.begin()
        listener.press("a", HOME, *[PAGE_UP] * 5)
        listener.wait(lambda: listener.script("return document.querySelector('.position div').style.transform"))
        listener.press(" ")
        for selector in ("input[type=range]", ".row:last-child input", ".position", "#progress"):
            pixels = picture(driver, selector)
            middle = pixels[len(pixels) // 2]
            assert np.abs(middle - pixels[0, 0]).max() > 0.3, f"{selector} cannot be seen"
        listener.press("a")
        rail = picture(driver, "input[type=range]")
        middle = rail[len(rail) // 2]
        assert np.abs(middle[10] - middle[-10]).max() > 0.2  # the part up to the thumb has another colour
        assert axe_violations(driver) == []


def test_the_rail_is_filled_up_to_the_value(driver) -> None:
    with PageServer(session("mushra", [trial(0, "mushra")])) as server:
        listener = Listener(driver, server.link)
        listener.begin()
        listener.press("a", HOME, *[PAGE_UP] * 3)
        pixels = picture(driver, "input[type=range]")
        middle = pixels[len(pixels) // 2]
        filled = np.abs(middle - middle[8]).max(axis=-1) < 0.05
        share = filled.mean()
        assert 0.25 < share < 0.4
        listener.press(*[PAGE_UP] * 5)
        pixels = picture(driver, "input[type=range]")
        assert (np.abs(pixels[len(pixels) // 2] - middle[8]).max(axis=-1) < 0.05).mean() > share + 0.35


def test_on_a_phone_the_names_of_the_bands_stay_in_sight_and_each_value_has_its_own(driver) -> None:
    trials = [trial(0, "mushra", stimuli=[f"0{letter}" for letter in "abcdefghijk"])]
    with PageServer(session("mushra", trials)) as server, phone(driver):
        listener = Listener(driver, server.link)
        listener.begin()
        listener.script("document.querySelector('.row:last-child').scrollIntoView({ block: 'end' })")
        top = "return document.querySelector('.bands').getBoundingClientRect().top"
        assert listener.script("return scrollY") > 500
        assert 0 <= listener.script(top) < 5
        over = "const b = document.querySelector('.bands').getBoundingClientRect();"
        over += "return document.elementFromPoint(b.left + b.width / 2, b.top + 5).closest('.bands') !== null"
        assert listener.script(over)
        listener.press("a", HOME)
        bands = [listener.text("output")]
        for _ in range(4):
            listener.press(*[PAGE_UP] * 2, RIGHT)
            bands.append(listener.text("output"))
        assert bands == ["0 Bad", "21 Poor", "42 Fair", "63 Good", "84 Excellent"]


def names(driver: Any, role: str) -> list[str]:
    """What a screen reader calls the elements of a role."""
    tree = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    return [node["name"]["value"] for node in tree if node.get("role", {}).get("value") == role]


def test_screen_readers_hear_words_only(driver) -> None:
    with PageServer(session("mushra", [trial(0, "mushra")])) as server:
        listener = Listener(driver, server.link)
        listener.begin()
        assert sorted(names(driver, "button")) == ["Next", "Play", "Play A", "Play B", "Play C", "Reference"]
        assert names(driver, "slider") == ["Rating of A", "Rating of B", "Rating of C"]
        listener.press("a", HOME, RIGHT)
        value = "return document.querySelector('input').getAttribute('aria-valuetext')"
        assert listener.script(value) == "1, bad"


def test_the_welcome_says_who_asks_how_long_it_takes_and_how_much_is_training(driver) -> None:
    trials = [trial(n, "ab", training=n < 4) for n in range(9)]
    more = {"title": "Voices of autumn", "contact": "Dr. A. Example, study@example.org", "minutes": 14}
    with PageServer(session("ab", trials, **more)) as server:
        listener = Listener(driver, server.link)
        assert listener.heading() == "Voices of autumn"
        assert "thank" not in listener.text("main").lower()
        for words in (
            "It takes about 14 minutes.",
            "4 trials for training come first",
            "There are 5 trials.",
            "study@example.org",
        ):
            assert words in listener.text("main")
        listener.begin()
        assert listener.place() == "Training 1 of 4"


def test_who_hears_nothing_finds_help_on_the_volume_page(driver) -> None:
    with PageServer(session("acr")) as server:
        listener = Listener(driver, server.link)
        listener.press("n")
        listener.wait(lambda: "volume" in listener.heading())
        listener.script("document.querySelector('summary').focus()")
        listener.press("\ue007")  # Enter
        shown = "return document.querySelector('details').innerText"
        listener.wait(lambda: "silent mode" in listener.script(shown))
        assert "which device" in listener.script(shown)
        assert axe_violations(driver) == []
