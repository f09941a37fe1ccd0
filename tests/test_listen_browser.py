"""Listening tests from link to SQLite, in a real browser and by keyboard alone."""

import functools
import http.server
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Listener, axe_violations, connection, media, network, phone, start_browser, tab
from listening import make_test, serving

from vqaudio.cli import main
from vqaudio.listening.key import read_key
from vqaudio.listening.people import participant_links, people
from vqaudio.listening.sessions import oriented, rated_stimuli
from vqaudio.listening.store import Store
from vqaudio.listening.study import Ending, Platform, Question, Study

pytestmark = pytest.mark.slow  # starts a browser

TYPES = ["mushra", "acr", "dcr", "ccr", "ab", "abx", "smos", "words"]
DIGITS = {"acr": 1, "dcr": 1, "smos": 1, "ccr": -3, "ab": -1}  # the answer of digit 1; the next digit gives one more
SECONDS = 0.5  # of a clip: the shortest that a test takes


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
                [final.get((trial["id"], name)) for name in rated_stimuli(key.kind(trial["id"]), trial)]
                for trial in store.session(listener)
            ]
    return found


def people_of(test: Path) -> dict[str, Any]:
    with Store.snapshot(test) as store:
        return people(store)


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
    test = make_test(tmp_path, test_type, items=1, seconds=SECONDS, training=1)
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
    test = make_test(tmp_path, "acr", items=1, seconds=SECONDS, training=1)
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


def cleaner(test: Path, listener: str) -> list[int]:
    """The right answers to the pairs of which one has noise."""
    key = read_key(test)
    with Store.snapshot(test) as store:
        session = store.session(listener)
    pairs = [shown for shown in session if key.trials[shown["id"]].check == "quiet"]
    wanted = [key.trials[shown["id"]].expected for shown in pairs]
    return [
        next(n for n in (-1, 1) if low <= oriented(key, shown, rated_stimuli("quiet", shown)[0], n) <= high)
        for shown, (low, high) in zip(pairs, wanted, strict=True)
    ]


@pytest.mark.parametrize(("age", "code"), [("17", "OUT2"), ("30", "DONE1")])
def test_a_paid_study_leads_from_the_address_of_the_platform_to_the_code(age, code, driver, tmp_path) -> None:
    from selenium.webdriver.common.keys import Keys

    platform = Platform(finished=Ending("DONE1", "https://example.org/done"), screened=Ending("OUT2"))
    questions = (Question("age", "How old are you?", "number", min=1, max=120, screen_below=18),)
    study = Study(title="Voices", consent="I am of age.", before=questions, quiet=True, platform=platform)
    test = make_test(tmp_path, "acr", items=1, listeners=0, seconds=SECONDS, training=1, extension="flac", study=study)
    rng = random.Random(0)
    with serving(test) as port:
        listener = Listener(driver, f"http://127.0.0.1:{port}/?PROLIFIC_PID=5f1a")
        for heading in ("Before you begin", "Some questions first"):
            listener.press("n")
            listener.wait(lambda heading=heading: listener.heading() == heading)
        listener.press(Keys.TAB, age, Keys.ENTER)
        if age == "30":
            listener.wait(lambda: "volume" in listener.heading())
            listener.press(" ")
            listener.wait(lambda: not listener.script("return document.querySelector('.next').disabled"))
            listener.press("n")
            listener.wait(listener.place)
            (name,) = people_of(test)
            for value in cleaner(test, name):
                listener.wait(lambda: listener.missing().startswith("Still to be heard"))
                listener.hear_all()
                listener.press("1" if value < 0 else "2")
                listener.wait(lambda: not listener.missing())
                listener.press("n")
            listener.wait(lambda: listener.place().startswith("Training"))
            given = go_through(listener, "acr", rng)
        listener.wait(lambda: listener.script("return document.getElementById('code')?.value") == code)
        driver.refresh()
        listener.wait(lambda: listener.script("return document.getElementById('code')?.value") == code)
    ((name, person),) = people_of(test).items()
    assert person.outcome == ("finished" if age == "30" else "screened")
    if age == "30":
        assert answers(test)[name][-len(given) :] == given


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
