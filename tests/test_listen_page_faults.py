"""The page of a listening test where something goes wrong: fingers, lines, sound devices, windows."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from browser import Listener, connection, phone, start_browser, tab
from page_server import TOKEN, PageServer, session, trial

pytestmark = pytest.mark.slow  # starts a browser

OUTPUTS = "return [...document.querySelectorAll('output')].map((output) => output.textContent)"
SLIDER = "input[type=range]"


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[Any]:
    browser = start_browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


def touch(driver: Any, kind: str, *points: tuple[float, float]) -> None:
    driver.execute_cdp_cmd(
        "Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": [{"x": x, "y": y} for x, y in points]}
    )


@pytest.mark.parametrize("by", ["mouse", "finger"])
def test_a_click_on_the_slider_of_a_silent_clip_rates_nothing(by, driver) -> None:
    with PageServer(session("mushra")) as server:
        listener = Listener(driver, server.link)
        listener.begin()
        if by == "mouse":
            listener.click(SLIDER, 0.8)
        else:
            touch(driver, "Start", listener.spot(SLIDER, 0.8))
            touch(driver, "End")
        listener.hear_all()
        assert listener.script(OUTPUTS) == ["–"] * 3
        assert listener.missing() == "Still to be rated: A, B, C"
        listener.press("a", "c")
        listener.click(f".row:last-child {SLIDER}", 0.5)  # of the clip that is playing, also where the thumb is
        listener.wait(lambda: server.values() == {("trial0", "0c"): 50})


def test_a_swipe_that_scrolls_the_page_rates_nothing_and_one_along_the_slider_does(driver) -> None:
    trials = [trial(0, "mushra", stimuli=[f"0{letter}" for letter in "abcdefghijk"])]
    with PageServer(session("mushra", trials)) as server, phone(driver):
        listener = Listener(driver, server.link)
        listener.begin()
        listener.press("a")
        listener.script("scrollTo(0, 0)")
        x, y = listener.spot(SLIDER, 0.85)
        touch(driver, "Start", (x, y))
        for n in range(1, 13):
            touch(driver, "Move", (x, y - 15 * n))
        touch(driver, "End")
        listener.wait(lambda: listener.script("return scrollY") > 50)
        listener.script(  # some browsers report a change after that
            """const slider = document.querySelector("input[type=range]");
            slider.dispatchEvent(new Event("pointercancel"));
            slider.dispatchEvent(new Event("change"));"""
        )
        listener.hear_all()
        assert listener.script(OUTPUTS)[0] == "–"
        assert listener.missing().startswith("Still to be rated: A, B")
        listener.press("a")
        listener.script("document.querySelector('.row').scrollIntoView({ block: 'center' })")
        touch(driver, "Start", listener.spot(SLIDER, 0.5))
        for part in (0.55, 0.6, 0.65, 0.7):
            touch(driver, "Move", listener.spot(SLIDER, part))
        touch(driver, "End")
        listener.wait(server.values)
        (value,) = server.values().values()
        assert 60 < value < 80
        assert listener.script(OUTPUTS)[0].startswith(str(value))


def test_on_a_slow_line_a_page_says_that_it_loads_and_how_far_it_is(driver) -> None:
    with PageServer(session("ab"), seconds=15.0) as server:
        with connection(driver, latency=50, downloadThroughput=200_000):  # 2.4 s for a clip of 480 kB
            listener = Listener(driver, server.link)
            listener.press("n", "n", "n")
            listener.wait(lambda: "Loading" in listener.heading(), 5)
            listener.wait(lambda: 0 < listener.script("return document.querySelector('main progress')?.value ?? 2") < 1)
            listener.wait(lambda: "volume" in listener.heading())
        listener.press(" ")
        listener.wait(lambda: not listener.script("return document.querySelector('.next').disabled"))
        assert listener.heading() == "Set the volume"  # the second and the third N opened nothing


def test_begin_and_next_pressed_twice_leave_no_sound_behind(driver) -> None:
    with PageServer(session("ab"), seconds=5.0) as server:
        with connection(driver, latency=50, downloadThroughput=200_000):
            listener = Listener(driver, server.link)
            listener.press("n", "n", "n")
            listener.wait(lambda: "volume" in listener.heading())
            listener.press(" ")
            listener.wait(lambda: listener.script("return window.sounding.size") == 1)
            listener.wait(lambda: not listener.script("return document.querySelector('.next').disabled"))
            listener.press("n")
            listener.script("document.querySelector('.next')?.click()")
            listener.wait(lambda: listener.script("return window.sounding.size") == 0, 5)
            listener.wait(listener.place)
        assert listener.place() == "Training"
        assert listener.script("return window.sounding.size") == 0


def test_clips_that_cannot_be_fetched_can_be_tried_again(driver) -> None:
    with PageServer(session("acr")) as server:
        server.status["audio"] = 503
        listener = Listener(driver, server.link)
        listener.press("n")
        listener.wait(lambda: "could not be loaded" in listener.heading())
        del server.status["audio"]
        listener.script("document.querySelector('.next').click()")
        listener.wait(lambda: "volume" in listener.heading())


@pytest.mark.parametrize("kind", ["mushra", "acr"])
def test_sound_that_the_browser_stops_in_mid_trial_comes_back_at_a_press(kind, driver) -> None:
    with PageServer(session(kind), seconds=2.0) as server:
        listener = Listener(driver, server.link)
        listener.begin()
        listener.press("a")
        listener.wait(lambda: listener.script("return window.contexts[0].currentTime") > 0)
        listener.script("return window.contexts[0].suspend()")
        listener.wait(lambda: "interrupted" in listener.text(".alarm"))
        assert listener.script("return document.querySelectorAll('[aria-pressed=true]').length") == 0
        listener.hear_all()
        assert listener.text(".alarm") == ""


BROKEN_ONCE = """
const Real = window.AudioContext;
window.AudioContext = class extends Real {
  constructor(...all) {
    super(...all);
    if (window.contexts.length > 1) return;
    this.suspend();
    this.resume = () => new Promise(() => {});
  }
};
"""


def test_a_device_that_gives_no_sound_is_told_and_another_one_is_taken_at_the_next_press(driver) -> None:
    with PageServer(session("acr")) as server:
        listener = Listener(driver, server.link)
        listener.script(BROKEN_ONCE)
        listener.press("n")
        listener.wait(lambda: "volume" in listener.heading())
        listener.press(" ")
        listener.wait(lambda: "No sound came out" in listener.text(".alarm"))
        assert listener.script("return document.querySelector('.next').disabled")
        listener.press("n")
        assert listener.heading() == "Set the volume"
        listener.press(" ", " ")
        listener.wait(lambda: not listener.script("return document.querySelector('.next').disabled"))
        assert listener.text(".alarm") == ""
        listener.press("n")
        listener.wait(listener.place)
        listener.hear_all()


def test_a_digit_or_next_pressed_too_early_says_why(driver) -> None:
    with PageServer(session("dcr")) as server:
        listener = Listener(driver, server.link)
        listener.begin()
        for key in ("3", "n"):
            listener.script("document.getElementById('status').textContent = ''")
            listener.press(key)
            assert listener.text("#status") == listener.missing() == "Still to be heard: Reference, Version"
            assert "urgent" in listener.script("return document.getElementById('missing').className")
        listener.press("a")
        assert listener.text("#status") == listener.missing() == "Please listen to Reference first"
        assert server.values() == {}


def test_a_link_with_a_broken_letter_says_that_it_is_not_complete(driver) -> None:
    with PageServer(session("acr")) as server:
        assert "not complete" in Listener(driver, f"{server.address}#%").heading()


def answer(listener: Listener, *digits: str) -> None:
    listener.hear_all()
    listener.press(*digits)


def test_two_windows_of_a_static_test_keep_the_answers_of_both(driver) -> None:
    trials = [trial(n, "acr") for n in range(2)]
    with PageServer(session("acr", trials, static=True)) as server:
        one = Listener(driver, server.link)
        one.begin()
        first = tab(driver)
        two = Listener(driver, server.link)
        two.wait(two.place)
        second = tab(driver)
        driver.close()
        driver.switch_to.window(first)
        answer(one, "4", "5")
        one.go_on()
        answer(one, "3")
        driver.switch_to.window(second)
        assert two.script("return document.querySelector('input[value=\"5\"]').checked")
        answer(two, "1")
        kept = json.loads(two.script("return localStorage.getItem(arguments[0])", f"listening {TOKEN}"))
        driver.close()
        driver.switch_to.window(first)
    assert [(event["trial"], event["value"]) for event in kept["events"]] == [
        ("trial0", 4),
        ("trial0", 5),
        ("trial1", 3),
        ("trial0", 1),
    ]
    assert [event["seq"] for event in kept["events"]] == [0, 1, 2, 3]
    assert kept["page"] == 3


def test_a_second_window_is_noticed_and_shows_the_answers_of_the_first(driver) -> None:
    with PageServer(session("acr", [trial(0, "acr")])) as server:
        one = Listener(driver, server.link)
        one.begin()
        assert one.text("#note") == ""
        first = tab(driver)
        two = Listener(driver, server.link)
        second = driver.current_window_handle
        two.wait(lambda: "another window" in two.text("#note"))
        driver.switch_to.window(first)
        one.wait(lambda: "another window" in one.text("#note"))
        answer(one, "5")
        one.wait(one.saved)
        driver.switch_to.window(second)
        two.wait(lambda: two.script("return document.querySelector('input[value=\"5\"]').checked"))
        answer(two, "1")
        two.wait(two.saved)
        driver.close()
        driver.switch_to.window(first)
        one.wait(lambda: one.text("#note") == "")
        assert one.script("return document.querySelector('input[value=\"1\"]').checked")
    assert [event["value"] for event in server.events.values()] == [5, 1]


def test_a_window_on_another_device_is_noticed_at_the_next_answer(driver) -> None:
    trials = [trial(0, "mushra")]
    with PageServer(session("mushra", trials)) as server:
        listener = Listener(driver, server.link)
        listener.begin()
        listener.hear_all()
        elsewhere = {"trial": "trial0", "seq": 0, "client_ms": 1, "stimulus": "0a", "value": 88}
        server.events[0] = elsewhere
        listener.press("b")
        listener.click(f".row:nth-child(3) {SLIDER}", 0.5)
        listener.wait(lambda: "another window" in listener.text("#note"))
        listener.wait(listener.saved)
        assert listener.script(OUTPUTS)[:2] == ["88 Excellent", "50 Fair"]
    assert server.values() == {("trial0", "0a"): 88, ("trial0", "0b"): 50}


def test_answers_wait_for_the_server_and_only_trouble_is_said_aloud(driver) -> None:
    with PageServer(session("mushra", [trial(0, "mushra")])) as server:
        listener = Listener(driver, server.link)
        listener.begin()
        assert listener.text("#saved") == ""  # nothing has been answered
        listener.hear_all()
        listener.press("a")
        listener.script(
            """window.said = [];
            for (const place of document.querySelectorAll("[role=status], [aria-live]"))
              new MutationObserver(() => said.push(place.textContent)).observe(place, { childList: true });"""
        )
        listener.press(*["\ue014"] * 5)  # arrow to the right
        listener.wait(lambda: listener.text("#saved") == "All answers saved")
        assert listener.script("return said") == []
        server.status["api/events"] = 503
        listener.press("\ue014")
        listener.wait(lambda: "No connection" in listener.text("#saved"))
        server.status.clear()
        listener.wait(lambda: listener.text("#saved") == "All answers saved")
        assert [text.partition(":")[0] for text in listener.script("return said")] == [
            "No connection",
            "All answers saved",
        ]
    assert server.values() == {("trial0", "0a"): 56}
