"""What the page of a listening test asks the server, and what it makes of the answers."""

from collections.abc import Iterator
from typing import Any

import pytest
from browser import Listener, axe_violations, start_browser
from page_server import TOKEN, PageServer, session, trial

from vqaudio.listening.texts import page_texts

pytestmark = pytest.mark.slow  # starts a browser

TAB, ENTER, SPACE = "\ue004", "\ue007", " "
AGE = {"name": "age", "ask": "How old are you?", "type": "number", "required": True, "min": 18, "max": 99}
FIRST = {"name": "first", "ask": "Your first test?", "type": "choice", "required": True, "choices": ["yes", "no"]}
REMARKS = {"name": "remarks", "ask": "Remarks", "type": "text", "required": False}
QUESTIONS = [{"min": None, "max": None, "choices": []} | question for question in (AGE, FIRST, REMARKS)]
FORM = {"kind": "form", "id": "before", "gate": True, "questions": QUESTIONS}
CODE = {"code": "C0DE", "url": "https://platform.example/done?cc=C0DE"}


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[Any]:
    browser = start_browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


def pages(*between: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"kind": "welcome"}, *between, {"kind": "end"}]


def buttons(listener: Listener) -> list[str]:
    return listener.script("return [...document.querySelectorAll('main button, main a')].map((b) => b.textContent)")


def test_consent_and_questions_are_answered_by_keyboard_and_the_gate_is_asked_last(driver) -> None:
    consent = {"kind": "consent", "text": "This is research.\n\nYou may stop at any time."}
    with PageServer(session("acr", pages=pages(consent, FORM))) as server:
        listener = Listener(driver, server.link)
        listener.press("n")
        listener.wait(lambda: listener.heading() == "Before you begin")
        assert listener.script("return document.querySelectorAll('.text').length") == 2
        assert axe_violations(driver) == []
        listener.press("n")
        listener.wait(lambda: listener.heading() == "Some questions first")
        assert axe_violations(driver) == []
        listener.press("n")  # refused
        assert listener.text("#status") == listener.missing() == "Still to be answered: How old are you?"
        listener.press("17", ENTER)  # the focus is where the answer is missing
        assert listener.missing() == "How old are you?: please give a whole number from 18 to 99"
        listener.press("\ue003\ue003", "34", TAB, SPACE, TAB, "no remarks", TAB, ENTER)
        listener.wait(lambda: "thank you" in listener.heading())
    assert server.values() == {
        ("form", "consent"): 1,
        ("form", "age"): 34,
        ("form", "first"): "yes",
        ("form", "remarks"): "no remarks",
    }
    assert all(event["shown_ms"] > 0 and event["plays"] == 0 for event in server.events.values())
    calls = [path for path in server.asked if path != "api/page"]
    assert calls[-2:] == ["api/gate", "api/finish"]
    assert calls.index("api/gate") > max(n for n, path in enumerate(calls) if path == "api/events")


def test_who_is_screened_out_gets_no_further_page_but_a_code_and_the_way_back(driver) -> None:
    with PageServer(session("acr", pages=pages(FORM | {"questions": [QUESTIONS[2]]}))) as server:
        server.answers["api/gate"] = 200, {"outcome": "screened", **CODE}
        listener = Listener(driver, server.link)
        listener.press("n")
        listener.wait(lambda: listener.heading() == "Some questions first")
        listener.script("const next = document.querySelector('.next'); next.click(); next.click()")  # a double click
        listener.wait(lambda: listener.heading() == "Thank you for your time")
        assert listener.script("return document.getElementById('code').value") == "C0DE"
        assert listener.script("return document.querySelector('a.button').href") == CODE["url"]
        assert axe_violations(driver) == []
        listener.press(TAB, TAB, ENTER)
        listener.wait(lambda: listener.text("#status") == "Copied")
    assert server.asked.count("api/gate") == 1
    assert "api/finish" not in server.asked
    assert server.session["page"] == 1


def test_a_gate_that_misses_an_answer_leads_back_to_its_page(driver) -> None:
    with PageServer(session("acr", pages=pages(FORM | {"questions": [QUESTIONS[2]]}))) as server:
        server.answers["api/gate"] = 422, {"error": "no answer to age"}
        listener = Listener(driver, server.link)
        listener.press("n", "n")
        listener.wait(lambda: "no answer to age" in listener.text(".lead"))
        listener.script("document.querySelector('.next').click()")
        listener.wait(lambda: listener.heading() == "Some questions first")


def test_the_end_waits_until_the_server_has_all_answers_and_then_shows_the_code(driver) -> None:
    trials = [trial(0, "acr")]
    with PageServer(session("acr", trials)) as server:
        server.answers["api/finish"] = 200, {"outcome": "finished", **CODE}
        listener = Listener(driver, server.link)
        listener.begin()
        listener.hear_all()
        server.status["api/events"] = 503
        listener.press("4", "n")
        listener.wait(lambda: listener.heading() == "One moment …")
        listener.wait(lambda: server.asked.count("api/events") > 1)
        assert "api/finish" not in server.asked
        server.status.clear()
        listener.wait(lambda: buttons(listener) == ["Copy", "Go back to the platform"])
        assert "All your answers are saved" in listener.text(".lead")
        server.session["outcome"] = {"outcome": "finished", **CODE}
        driver.refresh()
        listener.wait(lambda: buttons(listener) == ["Copy", "Go back to the platform"])
    assert server.values() == {("trial0", "0a"): 4}


def join(server: PageServer, busy: int = 0, **answer: Any) -> None:
    """Let listeners join by one address, after the server has been busy some times."""
    server.answers["api/study"] = (
        200,
        {
            "parameters": ["PROLIFIC_PID", "workerId"],
            "required": False,
            "title": None,
            "language": "en",
            "texts": page_texts("en", {}),
            **answer,
        },
    )
    server.answers["api/join"] = 200, {"token": TOKEN}
    joined = server.joined = []
    usual = server.answer

    def keep(path: str, body: Any) -> tuple[int, Any]:
        if path == "api/join":
            joined.append(body)
            if len(joined) <= busy:
                return 503, {}
        return usual(path, body)

    server.answer = keep


def test_one_address_for_all_sends_the_identifier_and_keeps_the_token_out_of_the_address(driver) -> None:
    with PageServer(session("acr", platform=True)) as server:
        join(server, required=True)
        address = f"{server.address}?STUDY_ID=x&workerId=W123"
        listener = Listener(driver, address)
        assert listener.heading() == "Welcome to this listening test"
        assert "the platform knows you" in listener.text(".hint")
        assert driver.current_url == address
        assert server.joined == [{"person": "W123", "token": None}]
        assert "listening token" not in str(listener.script("return Object.keys(localStorage)"))


def test_without_an_identifier_the_browser_keeps_who_it_is(driver) -> None:
    with PageServer(session("acr")) as server:
        join(server)
        listener = Listener(driver, server.address)
        driver.refresh()
        listener.wait(lambda: len(server.joined) == 2)
        assert server.joined == [{"person": None, "token": None}, {"person": None, "token": TOKEN}]


@pytest.mark.parametrize(
    ("query", "answer", "heading"),
    [
        ("?PROLIFIC_PID=x", (409, {"full": True, **CODE}), "No more listeners are needed"),
        ("?PROLIFIC_PID=x", (422, {"error": "malformed"}), "This address is not complete"),
        ("", (200, {"token": TOKEN}), "This address is not complete"),
        ("?workerId=x&assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE", (200, {}), "This is a preview of the task"),
    ],
)
def test_who_cannot_join_is_told_why(query, answer, heading, driver) -> None:
    with PageServer(session("acr")) as server:
        join(server, required=True)
        server.answers["api/join"] = answer
        listener = Listener(driver, server.address + query)
        assert listener.heading() == heading
        assert buttons(listener) == (["Copy", "Go back to the platform"] if answer[0] == 409 else [])
        assert axe_violations(driver) == []
        assert "api/session" not in server.asked


def test_a_crowded_server_is_asked_again(driver) -> None:
    with PageServer(session("acr")) as server:
        join(server, busy=1)
        assert Listener(driver, server.address).heading() == "Welcome to this listening test"
        assert server.asked.count("api/join") == 2


def test_a_preview_says_so_and_leaves_nothing_in_the_browser(driver) -> None:
    with PageServer(session("acr", preview=True)) as server:
        listener = Listener(driver, server.link)
        assert listener.text("#preview") == "Preview: nothing is saved"
        listener.begin()
        listener.hear_all()
        listener.press("3")
        assert listener.script("return localStorage.length") == 0
        assert listener.text("#saved") == ""


def test_a_listener_who_was_reset_does_not_send_what_the_browser_kept_before(driver) -> None:
    kept = '{"events": [{"trial": "trial0", "stimulus": "0a", "seq": 0, "value": 5, "client_ms": 1}], "page": 2}'
    with PageServer(session("acr", run=1)) as server:
        driver.get(f"{server.address}style.css")
        driver.execute_script("localStorage.setItem(arguments[0], arguments[1])", f"listening {TOKEN}", kept)
        listener = Listener(driver, server.link)
        assert listener.heading() == "Welcome to this listening test"
        listener.wait(lambda: "api/page" in server.asked or listener.saved())
        server.session["run"] = 0
        driver.refresh()
        listener.wait(lambda: server.values() == {("trial0", "0a"): 5})


def test_a_german_test_is_german_and_keeps_its_keys(driver) -> None:
    trials = [trial(0, "ccr", training=True), trial(1, "ccr")]
    more = {"title": "Klang der Stimmen", "contact": "studie@example.org", "minutes": 12}
    with PageServer(session("ccr", trials, language="de", **more)) as server:
        listener = Listener(driver, server.link)
        assert listener.script("return [document.documentElement.lang, document.title]") == ["de", "Klang der Stimmen"]
        assert listener.heading() == "Klang der Stimmen"
        about = listener.script("return [...document.querySelectorAll('main li')].map((item) => item.textContent)")
        assert about[0] == "Der Test dauert etwa 12 Minuten."
        assert "Zuerst kommt eine Übung; diese Antwort zählt nicht." in about
        assert "studie@example.org" in listener.text("main")
        listener.press("n")
        listener.wait(lambda: listener.heading() == "Lautstärke einstellen")
        listener.press(" ")
        listener.wait(lambda: not listener.script("return document.querySelector('.next').disabled"))
        listener.press("n")
        listener.wait(lambda: listener.place() == "Übung")
        listener.press("6")
        assert listener.text("#status") == "Noch anzuhören: A, B"
        for letter in "ab":
            listener.press(letter)
            listener.wait(lambda letter=letter: letter.upper() not in listener.missing().partition(":")[2])
        listener.press("6")
        listener.wait(lambda: server.values() == {("trial0", "0b"): 2})
        assert axe_violations(driver) == []
        listener.press("n")
        listener.wait(lambda: listener.place() == "Aufgabe 1 von 1")


def test_what_was_heard_is_typed_and_enter_goes_on(driver) -> None:
    with PageServer(session("words")) as server:
        listener = Listener(driver, server.link)
        listener.begin()
        field = "const f = document.getElementById('typed'); return [f.spellcheck, f.autocomplete, f.maxLength]"
        assert listener.script(field) == [False, "off", 2000]
        assert axe_violations(driver) == []
        listener.press("a", "Nan 3 r", ENTER)  # a plays, and then the focus is in the field
        listener.wait(lambda: listener.missing() == "")
        assert listener.place() == "Training"
        assert listener.text("#status") == "Still to be heard: Recording"
        listener.press(ENTER)  # the focus is still in the field
        listener.wait(lambda: listener.place() == "Trial 1 of 1")
        assert listener.script("return document.getElementById('typed').value") == ""
        listener.hear_all()
        listener.press(ENTER)
        assert listener.missing() == "Please type what you heard"
        listener.press("u")
        assert listener.missing() == ""
        listener.press("\ue003")
        assert listener.missing() == "Please type what you heard"
    assert list(server.values()) == [("trial0", "0a")]
    (event,) = server.events.values()
    assert event["value"] == "Nan 3 r"
    assert event["plays"] == 1
    assert 0 < event["shown_ms"] < 60_000


def test_checks_are_not_counted_among_the_trials_and_clips_play_as_each_trial_says(driver) -> None:
    trials = [trial(0, "headphones"), trial(1, "quiet"), trial(2, "ab", loop=False)]
    with PageServer(session("ab", trials)) as server:
        listener = Listener(driver, server.link)
        assert "There is one trial." in listener.text("ul")
        assert "check of the sound" in listener.text("ul")
        listener.begin()
        for n, digit in enumerate("32"):
            listener.wait(lambda n=n: len(listener.letters()) == n + 1)
            assert listener.place() == "Check of the sound"
            listener.hear_all()
            listener.press(digit)
            listener.wait(lambda: listener.missing() == "")
            listener.press("n")
        listener.wait(lambda: listener.place() == "Trial 1 of 1")
        listener.press("b", "b", "b")
        pressed = "return document.querySelector('[aria-pressed=true]')?.getAttribute('aria-keyshortcuts')"
        assert listener.script(pressed) == "B"
        listener.wait(lambda: listener.missing() == "Still to be heard: A")
        listener.wait(lambda: listener.script(pressed) is None)  # it has ended by itself
        listener.hear_all()
        listener.press("1")
        listener.wait(lambda: ("trial2", "2b") in server.values())
    assert server.values() == {("trial0", "0a"): 3, ("trial1", "1b"): 1, ("trial2", "2b"): -1}
    assert server.events[2]["plays"] == 2


def test_a_voice_is_compared_and_an_attribute_has_words_of_its_own(driver) -> None:
    with PageServer(session("smos")) as server:
        listener = Listener(driver, server.link)
        listener.begin()
        assert listener.missing() == "Still to be heard: Voice to compare with, Recording"
        listener.hear_all()
        listener.press("5")
        listener.wait(lambda: server.values() == {("trial0", "0a"): 5})
    with PageServer(session("acr", attribute="naturalness", extension="flac")) as server:
        listener = Listener(driver, server.link)
        listener.begin()
        assert "natural" in listener.heading()
        assert "Completely natural" in listener.text("fieldset")
        assert "audio/0a.flac" in server.asked


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("kind", ["mushra", "acr", "dcr", "ccr", "ab", "abx", "smos", "words", "headphones", "quiet"])
def test_every_page_has_all_its_words(kind, language, driver) -> None:
    main = "ab" if kind in ("headphones", "quiet") else kind
    trials = [trial(0, kind)]
    with PageServer(session(main, trials, language=language)) as server:
        listener = Listener(driver, server.link)
        seen = [listener.text("body")]
        for page in range(1, 3):
            server.session["page"] = page
            driver.refresh()
            listener.wait(lambda page=page: bool(listener.place()) == (page == 2) and listener.heading())
            seen.append(driver.page_source)
        for text in seen:
            assert "undefined" not in text
            assert "{" not in text
            assert "NaN" not in text
