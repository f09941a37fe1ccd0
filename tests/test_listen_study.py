"""Studies: one address for all, consent, questions, checks, codes at the end; and what experimenters do meanwhile."""

import json
import os
import re
import shutil
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from listening import Visitor, ask, make_test, serving

from vqaudio.cli import main
from vqaudio.listening.analysis.ratings import read_results
from vqaudio.listening.key import read_key
from vqaudio.listening.people import people
from vqaudio.listening.store import Store
from vqaudio.listening.study import Study, read_study_file

STUDY = {
    "title": "Voices",
    "contact": "jane@example.org",
    "consent": "I am of age.\n\nI agree.",
    "before": [
        {"name": "age", "ask": "How old are you?", "type": "number", "min": 1, "max": 120, "screen_below": 18},
        {"name": "native", "ask": "Is it your first language?", "type": "choice", "choices": ["yes", "no"],
         "screen_out": ["no"]},
    ],
    "after": [{"name": "remarks", "ask": "Any remarks?", "required": False}],
    "platform": {
        "limit": 2,
        "finished": {"code": "DONE1", "url": "https://example.org/complete?cc=DONE1"},
        "screened": {"code": "OUT2"},
        "full": {"url": "https://example.org/full"},
    },
}  # fmt: skip
FINE = {"age": 30, "native": "yes", "remarks": ""}


def study(folder: Path, **changes: Any) -> Study:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY | changes))
    return read_study_file(folder / "study.yaml")


def three(trial: dict[str, Any], stimulus: str) -> int:
    return 3


@pytest.fixture
def test(tmp_path) -> Path:
    return make_test(tmp_path, "acr", listeners=0, study=study(tmp_path))


def knows(test: Path) -> set[str]:
    """Right answers to a test's checks, by stimulus and value as presented, for `rate` functions."""
    return {name for name, trial in read_key(test).trials.items() if trial.check}


def test_one_address_leads_each_id_to_a_session_of_its_own_and_back_to_it(test) -> None:
    with serving(test) as port:
        about = json.loads(ask(port, "/api/study")[1])
        assert about["parameters"][0] == "PROLIFIC_PID"
        one, two, again = (Visitor(port, person) for person in ("5f1a", "77b2", "5f1a"))
        assert one.token == again.token != two.token
        assert one.session["platform"] is True
        for body, reason in (
            ({"person": None}, "no PROLIFIC_PID"),
            ({"person": "a b"}, "printable"),
            ({"person": 7}, "printable"),
            ({"person": "x" * 101}, "printable"),
        ):
            status, answer, _ = ask(port, "/api/join", body=body)
            assert (status, reason in json.loads(answer)["error"]) == (422, True)


def test_without_ids_the_token_that_a_browser_kept_leads_back(tmp_path) -> None:
    free = make_test(tmp_path, "acr", listeners=0, study=study(tmp_path, platform={"required": False}))
    with serving(free) as port:
        one = Visitor(port)
        assert Visitor(port).token != one.token
        assert one.post("join", {"person": None, "token": one.token})["token"] == one.token
        assert one.post("join", {"person": None, "token": "unknown"})["token"] != "unknown"


def test_a_test_with_personal_links_alone_lets_nobody_join(tmp_path) -> None:
    with serving(make_test(tmp_path, "acr")) as port:
        assert ask(port, "/api/study")[0] == 404
        assert ask(port, "/api/join", body={"person": "x"})[0] == 404


def test_a_listener_who_answers_everything_gets_the_code_and_nobody_before(test) -> None:
    with serving(test) as port:
        listener = Visitor(port, "a1")
        assert "DONE1" not in json.dumps(listener.session)
        assert "screen" not in json.dumps(listener.session["pages"])
        assert ask(port, "/api/finish", listener.token, {})[0] == 422
        assert ask(port, "/api/gate", listener.token, {"page": 2})[0] == 422  # the form has no answers
        ended = listener.go_through(FINE, three)
        assert ended == {"outcome": "finished", "code": "DONE1", "url": "https://example.org/complete?cc=DONE1"}
        assert Visitor(port, "a1").session["outcome"] == ended
        assert listener.post("finish", {}) == ended
    results = read_results(test)
    assert results.replies == {"L001": {"consent": 1, **FINE}}
    assert {(r.value, r.plays, r.seconds) for r in results.ratings} == {(3.0, 2, 5.0)}
    assert sorted(r.trial for r in results.ratings) == list(range(1, 7))


@pytest.mark.parametrize("replies", [FINE | {"age": 17}, FINE | {"native": "no"}])
def test_who_does_not_fit_is_screened_out_with_a_code_of_their_own(test, replies) -> None:
    with serving(test) as port:
        ended = Visitor(port, "a1").go_through(replies, three)
        assert ended == {"outcome": "screened", "code": "OUT2", "url": None}
        assert Visitor(port, "a1").session["outcome"] == ended
        listener = Visitor(port, "a1")
        assert listener.post("finish", {})["outcome"] == "screened"  # also if the page asks for more
    assert read_results(test).failed == {"L001": ("screened out before the test",)}


def test_the_place_of_who_is_screened_out_is_free_and_the_limit_holds(test) -> None:
    with serving(test) as port:
        Visitor(port, "a1").go_through(FINE | {"age": 3}, three)
        one, two = Visitor(port, "a2"), Visitor(port, "a3")
        status, answer, _ = ask(port, "/api/join", body={"person": "a4"})
        assert (status, json.loads(answer)) == (409, {"full": True, "code": None, "url": "https://example.org/full"})
        assert Visitor(port, "a2").token == one.token  # who is at work may come back
        two.go_through(FINE, three)
    with Store.snapshot(test) as store:
        assert [person.number for person in people(store).values()] == [0, 0, 1]


def test_the_place_of_who_is_idle_for_too_long_goes_to_another(test) -> None:
    with serving(test) as port:
        one, _ = Visitor(port, "a1"), Visitor(port, "a2")
        with sqlite3.connect(test / "private/results.sqlite") as connection:
            connection.execute("UPDATE people SET joined_ms = joined_ms - 3700000 WHERE listener = 'L001'")
        Visitor(port, "a3")
        assert ask(port, "/api/join", body={"person": "a4"})[0] == 409
        assert one.go_through(FINE, three)["outcome"] == "finished"  # and who comes back late loses nothing
    with Store.snapshot(test) as store:
        assert [person.number for person in people(store).values()] == [0, 1, 0]


def test_questions_are_answered_within_their_bounds_alone(test) -> None:
    with serving(test) as port:
        listener = Visitor(port, "a1")
        event = {"trial": "form", "seq": 0, "client_ms": 1}
        for name, value in (
            ("age", 121), ("age", "30"), ("native", "perhaps"), ("native", 1), ("remarks", "x" * 2001), ("remarks", 5),
            ("consent", 0), ("unknown", 1),
        ):  # fmt: skip
            body = {"events": [event | {"stimulus": name, "value": value}]}
            assert ask(port, "/api/events", listener.token, body)[0] == 422


def right_answer(test: Path, trial: dict[str, Any], stimulus: str, otherwise: int) -> int:
    """What a listener says who knows all answers to checks."""
    from vqaudio.listening.sessions import oriented

    key = read_key(test)
    expected = key.trials[trial["id"]].expected
    if expected is None:
        return otherwise
    answers = (-1, 1) if key.type == "abx" or trial["type"] == "quiet" else range(-3, 6)
    return next(v for v in answers if expected[0] <= oriented(key, trial, stimulus, v) <= expected[1])


@pytest.mark.parametrize(("wrong", "outcome"), [(0, "finished"), (1, "finished"), (2, "screened")])
@pytest.mark.parametrize("check", ["headphones", "quiet"])
def test_a_check_before_the_test_lets_one_slip_pass(tmp_path, check, wrong, outcome) -> None:
    test = make_test(tmp_path, "acr", items=1, listeners=0, study=study(tmp_path, **{check: True}))
    trials = {"headphones": 6, "quiet": 4}[check]
    slips = []

    def rate(trial: dict[str, Any], stimulus: str) -> int:
        right = right_answer(test, trial, stimulus, 3)
        if trial["type"] == check and len(slips) < wrong:
            slips.append(trial)
            return -right if check == "quiet" else right % 3 + 1
        return right

    with serving(test) as port:
        listener = Visitor(port, "a1")
        checks = [trial for trial in listener.session["trials"] if trial["check"]]
        assert {(trial["type"], len(trial["stimuli"])) for trial in checks} == {(check, 1 if trials == 6 else 2)}
        assert listener.session["trials"][:trials] == checks
        assert sum(page.get("gate", False) for page in listener.session["pages"]) == 2  # the form, the last of these
        assert listener.go_through(FINE, rate)["outcome"] == outcome


@pytest.mark.parametrize("test_type", ["acr", "dcr", "ccr", "ab", "abx", "smos"])
def test_gold_trials_look_like_others_and_who_fails_them_does_not_count(tmp_path, test_type) -> None:
    test = make_test(tmp_path, test_type, items=2, listeners=0, study=study(tmp_path, gold=2))
    otherwise = 1 if test_type in ("ccr", "ab", "abx") else 3
    with serving(test) as port:
        Visitor(port, "good").go_through(FINE, lambda trial, s: right_answer(test, trial, s, otherwise))
        bad = Visitor(port, "bad")
        gold = knows(test)
        shown = [trial for trial in bad.session["trials"] if trial["id"] in gold]
        others = [trial for trial in bad.session["trials"] if trial["id"] not in gold]
        assert len(shown) == 2
        assert {tuple(trial) for trial in shown} == {tuple(trial) for trial in others}  # the same fields
        assert {len(trial["stimuli"]) for trial in shown} == {len(trial["stimuli"]) for trial in others}
        last_training = max(n for n, trial in enumerate(bad.session["trials"]) if trial["training"])
        places = [n for n, trial in enumerate(bad.session["trials"]) if trial["id"] in gold]
        assert places[0] > last_training + 1 or test_type == "ab"  # among the others
        scale = bad.session["scale"]
        bad.go_through(
            FINE,
            lambda trial, s: (
                scale[0] + scale[1] - right_answer(test, trial, s, otherwise) if trial["id"] in gold else otherwise
            ),
        )
    results = read_results(test)
    assert results.failed == {"L002": ("2 of 2 gold answers wrong (allowed: 0)",)}
    assert {rating.item for rating in results.ratings} <= {"utterance0", "utterance1", "utterance2"}


def test_attention_clips_say_what_to_answer(tmp_path, capsys) -> None:
    from vqaudio import audio

    make_test(tmp_path, "acr", items=1, listeners=0)
    clip = next((tmp_path / "audio" / "reference").iterdir())
    shutil.copy(clip, tmp_path / "say two.wav")
    (tmp_path / "attention.txt").write_text("say two.wav 2\n")
    with_attention = study(tmp_path, attention="attention.txt", allowed_failures=0)
    test = make_test(tmp_path / "more", "acr", items=1, listeners=0, study=with_attention)
    with serving(test) as port:
        Visitor(port, "a").go_through(FINE, lambda trial, s: right_answer(test, trial, s, 4))
        Visitor(port, "b").go_through(FINE, lambda trial, s: 4)
    assert read_results(test).failed == {"L002": ("1 of 1 attention answers wrong (allowed: 0)",)}
    for line in ("say two.wav 6", "say two.wav", "2"):
        (tmp_path / "attention.txt").write_text(line + "\n")
        from vqaudio.errors import UserError

        with pytest.raises(UserError, match="line 1"):
            make_test(tmp_path / "bad", "acr", items=1, listeners=0, study=with_attention)
    assert audio.info(clip).channels == 1


def test_typed_words_are_scored_by_their_errors(tmp_path) -> None:
    test = make_test(tmp_path, "words", items=2, listeners=1)
    key = read_key(test)
    with Store(test) as store:
        token = store.listeners()[0][1]
    typed = {"reference": "The WORDS of number {n}!", "secretkmeans": "the words of", "secretgumbel": "quite other"}
    with serving(test) as port:
        listener = Visitor(port, token=token)
        assert listener.session["scale"] is None

        def write(trial: dict[str, Any], stimulus: str) -> str:
            known = key.stimuli[stimulus]
            return typed[known.system].format(n=known.item.removeprefix("utterance"))

        listener.go_through({}, write)
    found = {(rating.system, rating.value) for rating in read_results(test).ratings}
    assert found == {("reference", 0.0), ("secretkmeans", 40.0), ("secretgumbel", 100.0)}


def test_a_preview_can_be_taken_by_anybody_and_leaves_no_trace(test, capsys) -> None:
    before = {path: path.read_bytes() for path in test.rglob("*") if path.is_file()}
    with serving(test, preview=True) as port:
        listener = Visitor(port)
        assert listener.session["preview"] is True
        assert listener.go_through(FINE, three)["outcome"] == "finished"
    assert {path: path.read_bytes() for path in test.rglob("*") if path.is_file()} == before


def test_status_says_who_has_finished_and_ids_only_if_asked(test, capsys) -> None:
    with serving(test) as port:
        Visitor(port, "a1").go_through(FINE, three)
        Visitor(port, "a2").go_through(FINE | {"age": 5}, three)
        Visitor(port, "a3").answer("form", "age", 40)
        assert main(["listen", "status", str(test)]) == 0
    shown = capsys.readouterr().out
    for pattern in (
        "L001 +finished",
        "L002 +screened",
        "L003 +at work +1 ",
        "1 finished of 2 wanted, 1 at work, 1 screened",
    ):
        assert re.search(pattern, shown), shown
    assert "a1" not in shown
    assert main(["listen", "status", str(test), "--ids"]) == 0
    assert re.search("L001 +a1 +finished", capsys.readouterr().out)


def test_a_reset_listener_starts_again_and_a_removed_one_is_gone(test, capsys) -> None:
    with serving(test) as port:
        one = Visitor(port, "a1")
        one.go_through(FINE, three)
        Visitor(port, "the-second-id").go_through(FINE, three)
        assert main(["listen", "reset", str(test), "L001"]) == 0
        again = Visitor(port, "a1")
        assert (again.token, again.session["run"], again.session["values"], again.session["page"]) == (
            one.token,
            1,
            [],
            0,
        )
        assert again.session["outcome"] is None
        assert main(["listen", "remove", str(test), "L002"]) == 0
        content = (test / "private/results.sqlite").read_bytes()
        assert ask(port, "/api/join", body={"person": "a3"})[0] == 200  # its place is free
    with Store.snapshot(test) as store:
        found = people(store)
        assert list(found) == ["L001", "L003"]
        assert found["L003"].number == 1
        assert store.connection.execute("SELECT count(*) FROM events").fetchone() == (0,)
    assert b"the-second-id" not in content
    capsys.readouterr()
    for command in ("reset", "remove"):
        assert main(["listen", command, str(test), "L001", "L002"]) == 2
        assert "L002: no listener" in capsys.readouterr().err
    with Store.snapshot(test) as store:
        assert list(people(store)) == ["L001", "L003"]


def test_the_ids_of_a_platform_are_forgotten_and_the_answers_stay(test, capsys) -> None:
    with serving(test) as port:
        Visitor(port, "an-id-of-the-platform").go_through(FINE, three)
    before = read_results(test)
    assert main(["listen", "forget", str(test)]) == 0
    assert capsys.readouterr().out.endswith(": 1 ids deleted\n")
    assert b"an-id-of" not in (test / "private/results.sqlite").read_bytes()
    assert read_results(test) == before


def test_lines_of_the_consent_are_joined_and_paragraphs_stay(tmp_path) -> None:
    (tmp_path / "study.yaml").write_text("consent: |\n  I am\n  of age.\n\n  I agree.\n")
    assert read_study_file(tmp_path / "study.yaml").consent == "I am of age.\n\nI agree."


def test_the_example_of_a_study_is_one(tmp_path) -> None:
    example = Path(__file__).parent.parent / "recipes" / "listening" / "study.yaml"
    test = make_test(tmp_path, "acr", listeners=0, study=read_study_file(example))
    replies = {"age": 30, "hearing": "yes", "device": "headphones", "remarks": "none"}
    with serving(test) as port:
        visitor = Visitor(port, "a1")
        assert visitor.go_through(replies, lambda t, s: right_answer(test, t, s, 3))["code"] == "C0MPLETE"


def test_a_backup_taken_while_the_test_is_served_can_be_read(test, tmp_path) -> None:
    with serving(test) as port:
        Visitor(port, "a1").go_through(FINE, three)
        assert main(["listen", "backup", str(test), str(tmp_path / "copy")]) == 0
    assert read_results(tmp_path / "copy") == read_results(test)
    assert stat.S_IMODE((tmp_path / "copy/private").stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_test_that_may_not_be_written_can_be_read_and_made_static(test, tmp_path) -> None:
    check_read_only(test, tmp_path)


def check_read_only(test: Path, out: Path) -> None:
    folders = [test / "private", test / "public", test]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert read_results(test).ratings == []
        assert main(["listen", "links", str(test), "--url", "http://localhost"]) == 0
        assert main(["listen", "static", str(test), str(out / "static")]) == 0
        assert main(["listen", "status", str(test)]) == 0
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_reading_a_test_writes_nothing_beside_it(test, tmp_path) -> None:
    """What is written for reading is refused where nothing may be written."""
    names = sorted(path.name for path in (test / "private").iterdir())
    times = {path: path.stat().st_mtime_ns for path in (test / "private").iterdir()}
    check_read_only(test, tmp_path)
    assert sorted(path.name for path in (test / "private").iterdir()) == names
    assert {path: path.stat().st_mtime_ns for path in (test / "private").iterdir()} == times


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: [a]", "title: ['a'] is not a text"),
        ("titel: a", "the file: 'titel' is not known; it may have title"),
        ("- a", "the file: not a mapping"),
        ("language: fr", "language: 'fr' is not one of en, de"),
        ("texts: {next: no}", "texts.next: False is not a text; put it in quotes"),
        ("texts: {nexxt: On}", "texts: 'nexxt' is not known"),
        ("before: {a: b}", "before: not a list"),
        ("before: [{ask: a}]", "before: name: None is not a text"),
        ("before: [{name: a b, ask: a}]", "is not one word"),
        ("before: [{name: a, ask: a, type: choice}]", "question a: a choice needs choices"),
        ("before: [{name: a, ask: a, choices: [b]}]", "question a: a choice needs choices"),
        ("before: [{name: a, ask: a, type: date}]", "type is 'date'; use one of text, number, choice"),
        ("before: [{name: a, ask: a, type: choice, choices: [b], screen_out: [c]}]", "screen_out has 'c'"),
        ("before: [{name: a, ask: a}]\nafter: [{name: a, ask: a}]", "question a: is there twice"),
        ("gold: -1", "gold: -1 is not a whole number from 0 to 100"),
        ("headphones: 1", "headphones: 1 is not true or false"),
        ("platform: {limit: many}", "platform.limit: 'many' is not a whole number"),
        (
            "platform: {finished: {url: 'javascript:alert(1)'}}",
            "platform.finished.url: 'javascript:alert(1)' is not an",
        ),
        ("platform: {finished: {code: 5}}", "platform.finished.code: 5 is not a text"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_study_file_is_one_line(tmp_path, text, message, capsys) -> None:
    (tmp_path / "study.yaml").write_text(text)
    make_test(tmp_path, "acr")
    capsys.readouterr()
    system = ["--system", f"a={tmp_path / 'secretkmeans.scp'}", "--out", str(tmp_path / "test")]
    assert main(["listen", "build", "--type", "acr", *system, "--study", str(tmp_path / "study.yaml")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "test").exists()
