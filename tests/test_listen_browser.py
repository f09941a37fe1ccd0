"""The page of a listening test in a real browser, by keyboard alone; its player by what it renders."""

import functools
import http.server
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Listener, axe_violations, connection, media, network, phone, start_browser, tab
from listening import make_test, serving

from vqaudio.cli import main
from vqaudio.listening.key import read_key
from vqaudio.listening.people import participant_links
from vqaudio.listening.sessions import rated_stimuli
from vqaudio.listening.store import Store

pytestmark = pytest.mark.slow  # starts a browser

TYPES = ["mushra", "acr", "dcr", "ccr", "ab", "abx", "smos", "words"]
DIGITS = {"acr": 1, "dcr": 1, "smos": 1, "ccr": -3, "ab": -1}  # the answer of digit 1; the next digit gives one more
SECONDS = 0.5  # of a clip


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[Any]:
    browser = start_browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


def links(test: Path, port: int) -> list[str]:
    return [link for _, link in participant_links(test, f"http://127.0.0.1:{port}")]


def answers(test: Path) -> dict[str, list[list[int | str | None]]]:
    """What SQLite holds: for each listener the trials in order, with the final answers as presented."""
    key = read_key(test)
    with Store(test) as store:
        found = {}
        for listener, _ in store.listeners():
            final = store.final(listener)
            found[listener] = [
                [final.get((trial["id"], name)) for name in rated_stimuli(key.type, trial)]
                for trial in store.session(listener)
            ]
    return found


def rate(listener: Listener, test_type: str, rng: random.Random) -> list[int | str]:
    """Hear and rate everything of a trial; return the answers given, as presented."""
    from selenium.webdriver.common.keys import Keys

    if test_type == "words":
        text = f"{rng.choice(['one', 'two'])} words, “quoted”"
        listener.press("a", text)
        listener.wait(lambda: not listener.missing())
        return [text]
    if test_type != "mushra":
        listener.hear_all()
        listener.wait(lambda: listener.missing() == "Please choose an answer")
        if test_type == "abx":
            value = rng.choice([-1, 1])
            listener.press("1" if value < 0 else "2")
        else:
            digit = rng.randint(1, {"acr": 5, "dcr": 5, "smos": 5, "ccr": 7, "ab": 3}[test_type])
            value = DIGITS[test_type] + digit - 1
            listener.press(str(digit))
        return [value]
    listener.hear("R")
    values = []
    for letter in listener.letters()[1:]:
        listener.hear(letter)
        tens, ones = rng.randint(0, 9), rng.randint(0, 3)
        listener.press(Keys.HOME, *[Keys.PAGE_UP] * tens, *[Keys.ARROW_RIGHT] * ones)
        values.append(10 * tens + ones)
    return values


def go_through(listener: Listener, test_type: str, rng: random.Random) -> list[list[int | str]]:
    """Take a test from the first trial to its end; return all answers."""
    given = []
    while listener.place():
        given.append(rate(listener, test_type, rng))
        listener.wait(lambda: not listener.missing())
        listener.go_on("\ue007" if test_type == "words" else "n")  # Enter
    listener.wait(lambda: "thank you" in listener.heading())
    return given


def check_network(driver: Any, port: int) -> None:
    """Nothing foreign was asked for, and nothing that was received or sent names a system, an item or a folder."""
    from selenium.common.exceptions import WebDriverException

    messages = network(driver)
    requests = [m["params"]["request"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    urls = [request["url"] for request in requests if request["url"].startswith("http")]  # not the browser's own pages
    assert len(urls) > 20
    assert [url for url in urls if not url.startswith(f"http://127.0.0.1:{port}/")] == []
    told = [str(request) for request in requests]
    for message in messages:
        if message["method"] == "Network.responseReceived":
            response = message["params"]["response"]
            told.append(str(response))
            if "audio" not in response["mimeType"]:
                try:
                    found = driver.execute_cdp_cmd(
                        "Network.getResponseBody", {"requestId": message["params"]["requestId"]}
                    )
                except WebDriverException:
                    continue  # a body that the browser has let go of, such as the answer to a saved rating
                told.append(found["body"])
    assert any('"trials"' in text for text in told)
    assert not [text for text in told if any(word in text for word in ("secret", "utterance", "anchor", "private"))]


@pytest.mark.parametrize("test_type", TYPES)
def test_every_type_goes_from_link_to_end_by_keyboard_and_sqlite_holds_what_was_entered(
    test_type, driver, tmp_path
) -> None:
    test = make_test(tmp_path, test_type, items=1, seconds=SECONDS)
    network(driver)
    with serving(test) as port:
        listener = Listener(driver, links(test, port)[0])
        listener.begin()
        assert listener.place().startswith("Training")
        assert listener.script("return window.contexts.length") == 1
        assert "secret" not in driver.page_source
        assert axe_violations(driver) == []
        listener.press("n")  # refused: nothing has been heard
        assert listener.missing().startswith("Still to be heard")
        assert listener.place().startswith("Training")
        if test_type in ("dcr", "ccr", "smos"):
            listener.press("b" if test_type == "ccr" else "a")  # refused, too: the other one comes first
            assert "first" in listener.text("#status")
        given = go_through(listener, test_type, random.Random(test_type))
        listener.wait(listener.saved)
        assert "All your answers are saved" in listener.text(".lead")
        check_network(driver, port)
    found = answers(test)
    assert found["L001"] == given
    assert all(value is None for name in ("L002", "L003") for trial in found[name] for value in trial)
    assert [e for e in driver.get_log("browser") if e["level"] == "SEVERE" and "favicon" not in e["message"]] == []


def test_tab_enter_and_arrows_are_enough(driver, tmp_path) -> None:
    from selenium.webdriver.common.keys import Keys

    test = make_test(tmp_path, "mushra", items=1, seconds=SECONDS)
    with serving(test) as port:
        listener = Listener(driver, links(test, port)[0])

        def tab_to(words: str) -> None:
            for _ in range(30):
                listener.press(Keys.TAB)
                focused = "const e = document.activeElement; return e.getAttribute('aria-label') ?? e.textContent"
                if listener.script(focused).startswith(words):
                    return
            pytest.fail(f"no {words} among what Tab reaches")

        tab_to("Begin")
        listener.press(Keys.ENTER)
        listener.wait(lambda: "volume" in listener.heading())
        tab_to("Play")
        listener.press(Keys.ENTER)
        tab_to("The volume is right")
        listener.press(Keys.ENTER)
        listener.wait(listener.place)
        tab_to("Reference")
        listener.press(Keys.ENTER)
        listener.wait(lambda: "Reference" not in listener.missing())
        for letter in "ABCD":
            tab_to(f"Play {letter}")
            listener.press(Keys.ENTER)  # and the focus is on the slider
            listener.wait(lambda letter=letter: letter not in listener.missing().partition("heard:")[2])
            listener.press(Keys.ARROW_UP)
        tab_to("Next")
        listener.press(Keys.ENTER)
        listener.wait(lambda: listener.place() == "Trial 1 of 1")
        listener.wait(listener.saved)
    assert answers(test)["L001"][0] == [51] * 4


def test_only_the_slider_of_what_is_heard_can_be_moved(driver, tmp_path) -> None:
    from selenium.webdriver.common.keys import Keys

    test = make_test(tmp_path, "mushra", items=1, seconds=12)
    with serving(test) as port:
        listener = Listener(driver, links(test, port)[0])
        listener.begin()
        enabled = "return [...document.querySelectorAll('input[type=range]')].map((slider) => !slider.disabled)"
        assert listener.script(enabled) == [False] * 4
        for n, letter in enumerate("abcd"):
            listener.press(letter)
            assert listener.script(enabled) == [n == other for other in range(4)]
            assert listener.text("#status") == f"Playing: {letter.upper()}"
        listener.press("a", Keys.ARROW_UP)
        assert listener.text("output") == "51 Fair"
        assert listener.missing() == "Still to be heard: Reference, A, B, C, D"  # rated, but not heard for long enough
        listener.press("r")
        assert listener.script(enabled) == [False] * 4
        listener.press("a", " ")
        assert listener.script(enabled) == [False] * 4
        assert listener.text("#status") == "Paused"


def test_a_reload_continues_at_the_same_page_with_what_was_entered(driver, tmp_path) -> None:
    test = make_test(tmp_path, "mushra", items=1, seconds=SECONDS)
    rng = random.Random(0)
    with serving(test) as port:
        listener = Listener(driver, links(test, port)[0])
        listener.begin()
        given = [rate(listener, "mushra", rng)]
        listener.go_on()
        given.append(rate(listener, "mushra", rng))
        listener.wait(listener.saved)
        driver.refresh()
        listener.wait(lambda: listener.place() == "Trial 1 of 1")
        shown = listener.script("return [...document.querySelectorAll('output')].map((output) => output.textContent)")
        assert [int(text.split()[0]) for text in shown] == given[-1]
        listener.hear("R")  # what is rated was heard; the reference is heard again
        listener.wait(lambda: not listener.missing())
        listener.go_on()
        listener.wait(lambda: "thank you" in listener.heading())
        assert axe_violations(driver) == []
    assert answers(test)["L001"] == given


def test_two_listeners_at_once_do_not_mix(driver, tmp_path) -> None:
    test = make_test(tmp_path, "acr", items=1, seconds=SECONDS)
    rng = random.Random(0)
    first_window = driver.current_window_handle
    with serving(test) as port:
        people = []
        for link in links(test, port)[:2]:
            tab(driver)
            people.append((driver.current_window_handle, Listener(driver, link), []))
            people[-1][1].begin()
        while people[0][1].place():
            for window, listener, given in people:
                driver.switch_to.window(window)
                given.append(rate(listener, "acr", rng))
                listener.go_on()
            driver.switch_to.window(people[0][0])
        for window, listener, _ in people:
            driver.switch_to.window(window)
            listener.wait(listener.saved)
            driver.close()
        driver.switch_to.window(first_window)
    found = answers(test)
    assert [found["L001"], found["L002"]] == [given for _, _, given in people]


def test_two_windows_of_one_listener_lose_nothing(driver, tmp_path) -> None:
    test = make_test(tmp_path, "acr", items=1, seconds=SECONDS)
    with serving(test) as port:
        link = links(test, port)[0]
        one = Listener(driver, link)
        one.begin()
        first_window = tab(driver)
        two = Listener(driver, link)
        two.wait(two.letters)
        two.hear("A")
        two.press("2", "3")
        two.wait(two.saved)
        driver.close()
        driver.switch_to.window(first_window)
        one.hear("A")
        one.press("4", "5")  # under numbers that the other window has used
        one.wait(one.saved)
    assert answers(test)["L001"][0] == [5]
    with Store(test) as store:
        saved = store.connection.execute("SELECT value FROM events ORDER BY seq").fetchall()
    assert saved == [(2,), (3,), (4,), (5,)]


def test_answers_given_without_a_connection_arrive_later(driver, tmp_path) -> None:
    test = make_test(tmp_path, "ab", items=1, seconds=SECONDS)
    with serving(test) as port:
        listener = Listener(driver, links(test, port)[0])
        listener.begin()
        listener.hear_all()
        with connection(driver, offline=True):
            listener.press("3", "1")
            listener.wait(lambda: "No connection" in listener.text("#saved"))
            assert answers(test)["L001"][0] == [None]
        listener.wait(listener.saved)
    assert answers(test)["L001"][0] == [-1]


@pytest.mark.parametrize("look", ["dark", "phone"])
def test_it_is_accessible_in_the_dark_and_on_a_phone(look, driver, tmp_path) -> None:
    test = make_test(tmp_path, "mushra", items=1, seconds=SECONDS)
    looks = {"dark": lambda: media(driver, prefers_color_scheme="dark"), "phone": lambda: phone(driver, width=320)}
    with serving(test) as port, looks[look]():
        listener = Listener(driver, links(test, port)[0])
        assert axe_violations(driver) == []
        listener.begin()
        listener.press("a")
        assert axe_violations(driver) == []
        width = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        needed, there = listener.script(width)
        assert needed <= there  # nothing to scroll sideways


def test_a_link_that_is_unknown_or_cut_off_says_so(driver, tmp_path) -> None:
    test = make_test(tmp_path, "acr", items=1, seconds=SECONDS)
    with serving(test) as port:
        assert "not complete" in Listener(driver, f"http://127.0.0.1:{port}/").heading()
        listener = Listener(driver, f"http://127.0.0.1:{port}/#unknown")
        assert "could not be loaded" in listener.heading()
        assert "unknown" in listener.text(".lead")


def test_a_static_test_needs_no_server_of_ours_and_its_result_can_be_imported(driver, tmp_path) -> None:
    from selenium.webdriver.common.keys import Keys

    test, out, downloads = make_test(tmp_path, "acr", items=1, seconds=SECONDS), tmp_path / "static", tmp_path / "down"
    assert main(["listen", "static", str(test), str(out)]) == 0
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    rng = random.Random(1)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=out)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        listener = Listener(driver, links(test, server.server_port)[1])
        listener.begin()
        given = [rate(listener, "acr", rng)]
        listener.go_on()
        driver.refresh()
        listener.wait(lambda: listener.place() == "Training 2 of 3")
        given += go_through(listener, "acr", rng)
        assert axe_violations(driver) == []
        listener.press(Keys.TAB, Keys.ENTER)
        (result,) = listener.wait(lambda: list(downloads.glob("*.json")))
        server.shutdown()
    assert main(["listen", "import", str(test), str(result)]) == 0
    assert answers(test)["L002"] == given


# The player, by what its graph renders: each script plays clips of the given samples and returns what comes out.

RATE = 16000
FADE = 80  # samples
RENDER = """
const [clips, loop, seconds, commands, soften] = arguments;
return import("/player.js").then(async ({ Player, fadeEnds }) => {
  const context = new OfflineAudioContext(1, seconds * 16000, 16000);
  const buffers = new Map(Object.entries(clips).map(([name, samples]) => {
    const buffer = new AudioBuffer({ length: samples.length, sampleRate: 16000 });
    buffer.copyToChannel(Float32Array.from(samples), 0);
    if (soften) fadeEnds(buffer);
    return [name, buffer];
  }));
  const player = new Player(() => context, buffers, loop);
  const obey = (names) => names.forEach((name) => name === "pause" ? player.pause() : player.play(name));
  for (const [time, ...names] of commands) {
    if (time === 0) obey(names);
    else context.suspend(time).then(() => { obey(names); context.resume(); });
  }
  const rendered = await context.startRendering();
  await new Promise((resolve) => setTimeout(resolve, 50)); // for "ended"
  return { samples: [...rendered.getChannelData(0)], playing: player.playing, heard: [...player.heardSeconds] };
});
"""


@pytest.fixture(scope="module")
def render(driver, tmp_path_factory) -> Iterator[Any]:
    test = make_test(tmp_path_factory.mktemp("player"), "acr", items=1)
    with serving(test) as port:
        driver.get(f"http://127.0.0.1:{port}/")

        def run(
            clips: dict[str, np.ndarray], loop: bool, seconds: float, commands: list[Any], soften: bool = False
        ) -> Any:
            lists = {name: samples.tolist() for name, samples in clips.items()}
            result = driver.execute_script(RENDER, lists, loop, seconds, commands, soften)
            return np.array(result["samples"]), result

        yield run


ONES = np.ones(RATE // 2)
LEAD = 160  # samples from a command to what it does
RISE = (1 - np.cos(np.pi * np.arange(FADE) / FADE)) / 2


def test_a_switch_fades_out_then_in_within_5_ms_each_and_never_crosses(render) -> None:
    # Commands come at multiples of 128 samples, as browsers render.
    samples, _ = render({"a": ONES, "b": -ONES}, True, 0.6, [[0, "a"], [0.2, "b"], [0.4, "pause"]])
    expected = np.zeros(9600)
    first, second, end = LEAD, 3200 + LEAD, 6400 + LEAD
    expected[first:second] = 1
    expected[first : first + FADE] = RISE
    expected[second : second + FADE] = 1 - RISE
    expected[second + FADE : end] = -1
    expected[second + FADE : second + 2 * FADE] = -RISE
    expected[end : end + FADE] = RISE - 1
    np.testing.assert_allclose(samples, expected, atol=0.005)
    inside = slice(second + 1, second + FADE - 1)
    assert (samples[inside] > 0).all()  # the first alone
    assert (samples[second + FADE + 2 : second + 2 * FADE] < 0).all()  # then the second alone


def test_after_a_switch_the_other_clip_continues_at_the_same_sample(render) -> None:
    ramp = (1 + np.arange(RATE // 2)) / RATE
    samples, _ = render({"a": ramp, "b": -ramp}, True, 1.6, [[0, "a"], [0.4, "b"], [1.2, "a"]])
    at = np.arange(len(samples))
    expected = ramp[(at - LEAD) % len(ramp)]
    inside = (at > 6400 + LEAD + 2 * FADE) & (at < 19200)
    np.testing.assert_allclose(samples[inside], -expected[inside], atol=1e-6)
    after = at > 19200 + LEAD + 2 * FADE
    np.testing.assert_allclose(samples[after], expected[after], atol=1e-6)


def test_a_paused_clip_continues_where_it_was(render) -> None:
    ramp = (1 + np.arange(RATE // 2)) / RATE
    samples, _ = render({"a": ramp}, True, 1.0, [[0, "a"], [0.2, "pause"], [0.6, "a"]])
    at = np.arange(len(samples))
    after = at > 9600 + LEAD + FADE
    np.testing.assert_allclose(samples[after], ramp[(at[after] - 9600 - LEAD + 3200) % len(ramp)], atol=1e-4)


def test_a_loop_makes_no_click_and_has_no_gap(render) -> None:
    sine = np.sin(2 * np.pi * 333.3 * np.arange(RATE // 2) / RATE + 1)  # its ends do not meet
    samples, _ = render({"a": sine}, True, 2, [[0, "a"]], soften=True)
    faded = sine.copy()
    faded[:FADE] *= RISE
    faded[-FADE:] *= RISE[::-1]
    start = LEAD + FADE
    expected = np.tile(faded, 5)[: len(samples) - LEAD]
    np.testing.assert_allclose(samples[start:], expected[FADE:], atol=1e-5)
    assert np.abs(np.diff(samples)).max() <= 1.05 * np.abs(np.diff(sine)).max()


def test_many_switches_in_an_instant_are_played_one_after_the_other(render) -> None:
    names = ["b", "c", "a", "b", "c", "a", "b"]
    samples, _ = render({"a": ONES, "b": -ONES, "c": 0.5 * ONES}, True, 0.6, [[0, "a"], [0.2, *names]])
    assert np.abs(np.diff(samples)).max() < 1.1 * np.pi / 2 / FADE  # the steepest step of a fade
    np.testing.assert_allclose(samples[3200 + LEAD + (2 * FADE + 128) * len(names) :], -1, atol=1e-6)


def test_a_clip_that_does_not_loop_ends_and_counts_as_heard(render) -> None:
    samples, result = render({"a": ONES, "b": -ONES}, False, 1.2, [[0, "a"], [0.2, "b"]])
    end = 3200 + LEAD + FADE + len(ONES)
    assert (samples[3200 + LEAD + 2 * FADE : end - 1] == -1).all()
    assert (samples[end + 1 :] == 0).all()
    assert result["playing"] is False
    heard = dict(result["heard"])
    assert heard["b"] == 0.5
    assert heard["a"] == pytest.approx(0.19, abs=0.01)


def test_both_channels_of_a_stereo_clip_are_faded_and_kept(driver, render) -> None:
    fade = """return import("/player.js").then(({ fadeEnds }) => {
      const buffer = new AudioBuffer({ length: 8000, sampleRate: 16000, numberOfChannels: 2 });
      [1, -0.5].forEach((level, channel) => buffer.getChannelData(channel).fill(level));
      fadeEnds(buffer);
      return [0, 1].map((channel) => [...buffer.getChannelData(channel)]);
    });"""
    expected = np.ones(8000)
    expected[:FADE], expected[-FADE:] = RISE, RISE[::-1]
    np.testing.assert_allclose(driver.execute_script(fade), [expected, -0.5 * expected], atol=1e-6)
