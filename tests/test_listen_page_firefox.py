"""The page of a listening test in Firefox, with a device for sound and without one."""

from collections.abc import Iterator

import pytest
from browser import Listener, axe_violations
from firefox import Firefox, start_firefox
from page_server import PageServer, session, trial

pytestmark = pytest.mark.slow  # starts a browser

HOME, PAGE_UP, RIGHT = "\ue011", "\ue00e", "\ue014"
NEXT_IS_SHUT = "return document.querySelector('.next').disabled"


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[Firefox]:
    with start_firefox(tmp_path_factory.mktemp("firefox"), sound=True) as browser:
        yield browser


def test_a_whole_test_is_taken_by_keyboard(driver) -> None:
    with PageServer(session("mushra")) as server:
        listener = Listener(driver, server.link)
        assert axe_violations(driver) == []
        listener.begin()
        given = {}
        for n, place in enumerate(["Training", "Trial 1 of 1"]):
            assert listener.place() == place
            listener.hear("R")
            for step, letter in enumerate("ABC"):
                listener.hear(letter)
                listener.press(HOME, *[PAGE_UP] * (step + n), *[RIGHT] * 3)
                given[f"trial{n}", f"{n}{letter.lower()}"] = 10 * (step + n) + 3
            assert axe_violations(driver) == []
            listener.wait(lambda: not listener.missing())
            listener.go_on()
        listener.wait(lambda: "thank you" in listener.heading())
    assert server.values() == given


def test_a_click_on_the_slider_of_a_silent_clip_rates_nothing(driver) -> None:
    with PageServer(session("mushra")) as server:
        listener = Listener(driver, server.link)
        listener.begin()
        listener.click("input[type=range]", 0.8)
        listener.hear_all()
        assert listener.missing() == "Still to be rated: A, B, C"
        listener.press("a", "c")
        listener.click(".row:last-child input", 0.8)
        listener.wait(server.values)
        ((name, value),) = server.values().items()
        assert name == ("trial0", "0c")
        assert 70 < value < 90


def test_sound_that_the_browser_stops_comes_back_at_a_press(driver) -> None:
    with PageServer(session("acr", [trial(0, "acr")]), seconds=1.0) as server:
        listener = Listener(driver, server.link)
        listener.begin()
        listener.press("a")
        listener.script("return window.contexts[0].suspend()")
        listener.wait(lambda: "interrupted" in listener.text(".alarm"))
        listener.hear_all()
        listener.press("4")
        listener.wait(lambda: server.values() == {("trial0", "0a"): 4})


def test_without_a_device_the_page_says_that_no_sound_came_out_and_the_volume_is_never_right(tmp_path) -> None:
    with start_firefox(tmp_path, sound=False) as driver, PageServer(session("acr")) as server:
        listener = Listener(driver, server.link)
        listener.press("n")
        listener.wait(lambda: "volume" in listener.heading())
        listener.press(" ")
        listener.wait(lambda: "No sound came out" in listener.text(".alarm"))
        assert listener.script(NEXT_IS_SHUT)
        listener.press("n")
        assert listener.text("#status") == "Please play the recording first"
        assert listener.heading() == "Set the volume"
        assert axe_violations(driver) == []
