"""The server of a listening test: what it saves, what it refuses, what it gives away; and tests without a server."""

import contextlib
import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from listening import ask, make_test, serving

from vqaudio.cli import main
from vqaudio.listening import api
from vqaudio.listening.analysis.ratings import Rating, read_results
from vqaudio.listening.api import RateLimit
from vqaudio.listening.key import read_key
from vqaudio.listening.people import add_listeners, participant_links
from vqaudio.listening.sessions import rated_stimuli
from vqaudio.listening.static import FORMAT, PAGE
from vqaudio.listening.store import Event, Store


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Path:
    return make_test(tmp_path_factory.mktemp("served"), "mushra", listeners=12)


@pytest.fixture(scope="module")
def port(served) -> Iterator[int]:
    with serving(served) as number:
        yield number


@pytest.fixture
def token(served) -> str:
    """The token of a listener who has not answered yet."""
    with Store(served) as store:
        return next(token for listener, token in store.listeners() if not store.final(listener))


def event(session: dict[str, Any], seq: int = 0, value: Any = 50, stimulus: int = 0) -> dict[str, Any]:
    trial = session["trials"][1]
    return {"trial": trial["id"], "stimulus": trial["stimuli"][stimulus], "seq": seq, "value": value, "client_ms": 1}


def session_of(port: int, token: str) -> dict[str, Any]:
    status, body, _ = ask(port, "/api/session", token)
    assert status == 200
    return json.loads(body)


def test_the_highest_sequence_number_is_final_whatever_arrives_last(port, token, served) -> None:
    session = session_of(port, token)
    for seq in (0, 4, 1, 2, 3):
        assert ask(port, "/api/events", token, {"events": [event(session, seq, value=10 * seq)]})[0] == 200
    again = session_of(port, token)
    assert again["values"] == [[event(session)["trial"], event(session)["stimulus"], 40]]
    assert again["next_seq"] == 5


def test_an_answer_sent_twice_counts_once_and_a_second_window_is_reported(port, token) -> None:
    session = session_of(port, token)
    for _ in range(2):
        assert ask(port, "/api/events", token, {"events": [event(session, 0)]})[0] == 200
    status, body, _ = ask(port, "/api/events", token, {"events": [event(session, 1), event(session, 0, value=51)]})
    assert (status, json.loads(body)) == (409, {"next_seq": 1})  # all or none: the first was not taken either


def test_a_listener_returns_to_the_page_last_reached(port, token) -> None:
    assert session_of(port, token)["page"] == 0
    for page in (3, 2):
        assert ask(port, "/api/page", token, {"page": page})[0] == 200
    assert session_of(port, token)["page"] == 3


def test_the_answers_of_listeners_do_not_mix(port, served) -> None:
    with Store(served) as store:
        (_, one), (_, two) = store.listeners()[-2:]
    for token, value in ((one, 11), (two, 22)):
        assert ask(port, "/api/events", token, {"events": [event(session_of(port, token), value=value)]})[0] == 200
    assert [session_of(port, token)["values"][0][2] for token in (one, two)] == [11, 22]


BAD_EVENTS = {
    "a value above the scale": {"value": 101},
    "a value below the scale": {"value": -1},
    "a value that is no whole number": {"value": 50.5},
    "true": {"value": True},
    "words": {"value": "50"},
    "nothing": {"value": None},
    "a negative sequence number": {"seq": -1},
    "a huge sequence number": {"seq": 10**9},
    "a time in the far future": {"client_ms": 10**18},
    "an unknown stimulus": {"stimulus": "0" * 16},
    "a list as stimulus": {"stimulus": []},
    "an unknown trial": {"trial": "x"},
    "a field too many": {"listener": "L001"},
}


@pytest.mark.parametrize("change", BAD_EVENTS.values(), ids=BAD_EVENTS)
def test_an_answer_out_of_range_is_rejected_and_nothing_saved(port, token, change) -> None:
    session = session_of(port, token)
    status, body, _ = ask(port, "/api/events", token, {"events": [event(session), event(session, 1) | change]})
    assert status == 422
    assert "must be" in json.loads(body)["error"] or "event" in json.loads(body)["error"]
    assert session_of(port, token)["values"] == []


def test_the_open_reference_cannot_be_rated(port, token) -> None:
    session = session_of(port, token)
    bad = event(session) | {"stimulus": session["trials"][1]["reference"]}
    assert ask(port, "/api/events", token, {"events": [bad]})[0] == 422


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b'{"events": {}}', b'{"events": []}', b"[" * 60000, b"\xff"])
def test_a_body_that_is_not_a_json_object_with_events_is_rejected(port, token, body) -> None:
    assert ask(port, "/api/events", token, body)[0] in (400, 422)


def test_a_body_that_is_too_large_is_rejected(port, token) -> None:
    assert ask(port, "/api/events", token, b" " * (1 << 16) + b" ")[0] == 413


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_only_json_is_accepted_which_no_form_of_another_site_can_send(port, token, kind) -> None:
    body = {"events": [event(session_of(port, token))]}
    assert ask(port, "/api/events", token, body, {"Content-Type": kind})[0] == 415


@pytest.mark.parametrize("page", [-1, 99, "1", None, 1.5])
def test_a_page_out_of_range_is_rejected(port, token, page) -> None:
    assert ask(port, "/api/page", token, {"page": page})[0] == 422


def test_requests_without_a_known_token_get_nothing_and_are_slowed_down(served, tmp_path) -> None:
    with serving(make_test(tmp_path, "acr")) as port:
        assert ask(port, "/api/session")[0] == 401
        statuses = [ask(port, "/api/session", f"guess{n}")[0] for n in range(40)]
        assert set(statuses) == {401, 429}
        assert statuses.index(429) < 25


def test_a_rate_limit_fills_up_again_and_forgets_the_oldest(monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr(api.time, "monotonic", lambda: now)
    monkeypatch.setattr(api, "MAX_KEYS", 3)
    limit = RateLimit(per_second=2, burst=3)
    assert [limit.allow("a") for _ in range(4)] == [True, True, True, False]
    now = 1.0
    assert [limit.allow("a") for _ in range(3)] == [True, True, False]
    for key in "bcd":
        limit.allow(key)
    assert list(limit.buckets) == ["b", "c", "d"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_another_host_name_is_rejected(port, token, host) -> None:
    assert ask(port, "/api/session", token, headers={"Host": host})[0] == 400


@pytest.mark.parametrize(
    "path",
    [
        "/private/key.json",
        "/../private/key.json",
        "/audio/../../private/key.json",
        "/%2e%2e/private/key.json",
        "/audio/%2e%2e/%2e%2e/private/results.sqlite",
        "/..%2fprivate%2fkey.json",
        "//etc/passwd",
        "/%5c..%5cprivate%5ckey.json",
        "/audio",
        "/audio/",
        "/api/",
        "/api/admin",
    ],
)
def test_nothing_outside_the_public_folder_and_no_listing_is_served(port, path) -> None:
    status, body, _ = ask(port, path)
    assert status in (307, 404)
    assert b"secret" not in body
    assert b".wav" not in body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written_or_deleted_by_other_methods(port, token, method) -> None:
    assert ask(port, "/api/events", token, {"events": []}, method=method)[0] == 405
    assert ask(port, "/index.html", token, {}, method=method)[0] == 405


def test_every_response_has_the_security_headers(port, token) -> None:
    for path in ("/", "/main.js", "/absent", "/api/session"):
        _, _, headers = ask(port, path, token)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
    assert headers["cache-control"] == "no-store"


def test_audio_comes_in_ranges_too(port, served) -> None:
    name = next(iter(read_key(served).stimuli))
    status, body, _ = ask(port, f"/audio/{name}.wav", headers={"Range": "bytes=0-3"})
    assert (status, body) == (206, b"RIFF")


@pytest.mark.parametrize("test_type", ["mushra", "acr", "dcr", "ccr", "ab", "abx"])
def test_the_only_names_that_a_browser_gets_are_random(tmp_path, test_type) -> None:
    test = make_test(tmp_path, test_type)
    with Store(test) as store, serving(test) as port:
        for _, token in store.listeners():
            text = ask(port, "/api/session", token)[1]
            assert not any(word in text for word in (b"secret", b"utterance", b"anchor", b"item", b"seed"))
            shown = [n for t in json.loads(text)["trials"] for n in (*t["stimuli"], t.get("x"), t["reference"]) if n]
            assert len(shown) == len(set(shown))


def answer_all(test: Path, value: Any) -> None:
    """Give every rated stimulus the value that a function of the true labels, as presented, says."""
    key = read_key(test)
    with Store(test) as store:
        for listener, _ in store.listeners():
            events = []
            for trial in store.session(listener):
                labels = [
                    key.stimuli[name].system for name in (*trial["stimuli"], *([trial["x"]] if "x" in trial else []))
                ]
                for stimulus in rated_stimuli(key.type, trial):
                    answer = value(key.stimuli[stimulus].system, labels)
                    events.append(Event(trial["id"], stimulus, len(events), answer, 0))
            store.save(listener, events, 0)


def values_of(test: Path) -> dict[tuple[str, str | None], set[float]]:
    found: dict[tuple[str, str | None], set[float]] = {}
    for rating in read_results(test).ratings:
        found.setdefault((rating.system, rating.other), set()).add(rating.value)
    return found


QUALITY = {"reference": 3, "secretgumbel": 2, "secretkmeans": 1, "anchor_3500": 0}


@pytest.mark.parametrize(
    ("test_type", "value", "expected"),
    [
        (
            "mushra",
            lambda system, labels: 10 * QUALITY[system],
            {(name, None): {10.0 * q} for name, q in QUALITY.items()},
        ),
        (
            "acr",
            lambda system, labels: 1 + QUALITY[system],
            {(name, None): {1.0 + QUALITY[name]} for name in ("reference", "secretkmeans", "secretgumbel")},
        ),
        (
            "ccr",
            lambda system, labels: QUALITY[labels[1]] - QUALITY[labels[0]],
            {("secretkmeans", "reference"): {-2.0}, ("secretgumbel", "reference"): {-1.0}},
        ),
        (
            "ab",
            lambda system, labels: 1 if QUALITY[labels[1]] > QUALITY[labels[0]] else -1,
            {("secretkmeans", "secretgumbel"): {0.0}},
        ),
        ("ab", lambda system, labels: 0, {("secretkmeans", "secretgumbel"): {0.5}}),
        (
            "abx",
            lambda system, labels: 1 if labels[2] == labels[1] else -1,
            {("secretkmeans", "reference"): {1.0}, ("secretgumbel", "reference"): {1.0}},
        ),
        (
            "abx",
            lambda system, labels: -1 if labels[2] == labels[1] else 1,
            {("secretkmeans", "reference"): {0.0}, ("secretgumbel", "reference"): {0.0}},
        ),
    ],
)
def test_ratings_have_their_true_labels_and_signs_whatever_the_order(tmp_path, test_type, value, expected) -> None:
    test = make_test(tmp_path, test_type, listeners=5)
    answer_all(test, value)
    assert values_of(test) == expected
    results = read_results(test)
    assert (results.type, results.sample_rate, results.seed) == (test_type, 16000, 1)
    assert {r.listener for r in results.ratings} == {f"L{n:03d}" for n in range(1, 6)}
    assert len({r.item for r in results.ratings}) == 2  # of three: one is for training


def test_links_are_printed_and_more_can_be_made(tmp_path, capsys) -> None:
    test = make_test(tmp_path, "acr", listeners=2)
    capsys.readouterr()
    assert main(["listen", "links", str(test), "--url", "https://listen.example.org/"]) == 0
    before = capsys.readouterr().out.splitlines()
    assert main(["listen", "links", str(test), "--url", "https://listen.example.org", "--add", "2"]) == 0
    after = capsys.readouterr().out.splitlines()
    assert after[:2] == before
    assert [line.split()[0] for line in after] == ["L001", "L002", "L003", "L004"]
    assert len({line.split()[1] for line in after}) == 4
    assert all(line.split()[1].startswith("https://listen.example.org/#") for line in after)


def test_links_made_at_once_by_several_commands_are_all_different(tmp_path) -> None:
    test = make_test(tmp_path, "acr", listeners=1)
    threads = [threading.Thread(target=add_listeners, args=(test, 5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = participant_links(test, "http://localhost")
    assert [name for name, _ in found] == [f"L{n:03d}" for n in range(1, 22)]
    assert len({link for _, link in found}) == 21


def test_an_address_in_use_is_one_line(tmp_path, capsys) -> None:
    test = make_test(tmp_path, "acr")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["listen", "serve", str(test), "--port", str(taken.getsockname()[1])]) == 2
    error = capsys.readouterr().err
    assert "Address already in use; choose another" in error
    for host, message in (
        ("0.0.0.0", "give --url too"),
        ("::1", "give an IPv4 address"),
        ("no.such.host.invalid", "no.such"),
    ):
        assert main(["listen", "serve", str(test), "--host", host]) == 2
        assert message in capsys.readouterr().err


def test_the_example_address_has_the_port_that_was_asked_for(tmp_path, capsys) -> None:
    test = make_test(tmp_path, "acr")
    for port, shown in (("9123", ":9123"), ("0", ":PORT")):
        assert main(["listen", "serve", str(test), "--host", "0.0.0.0", "--port", port]) == 2
        error = capsys.readouterr().err
        assert error.rstrip().endswith(shown)
        assert "8000" not in error


def test_a_second_server_for_the_same_test_is_rejected(tmp_path, capsys) -> None:
    from vqaudio.files import locked

    test = make_test(tmp_path, "acr")
    with locked(test / "private"):
        assert main(["listen", "serve", str(test), "--port", "0"]) == 2
    assert "another job" in capsys.readouterr().err


def result_file(test: Path, listener: str, path: Path, **changes: Any) -> Path:
    """Write what the page of a static test offers for download."""
    with Store(test) as store:
        trial = store.session(store.find(listener))[-1]
    events = [{"trial": trial["id"], "stimulus": trial["stimuli"][0], "seq": 0, "value": 4, "client_ms": 5}]
    path.write_text(json.dumps({"format": FORMAT, "token": listener, "page": 4, "events": events} | changes))
    return path


def test_a_static_test_holds_a_session_for_each_listener_and_nothing_private(tmp_path) -> None:
    test, out = make_test(tmp_path, "acr"), tmp_path / "static"
    assert main(["listen", "static", str(test), str(out)]) == 0
    with Store(test) as store:
        tokens = {token for _, token in store.listeners()}
    assert {path.stem for path in (out / "sessions").glob("*.json")} == tokens
    session = json.loads(next((out / "sessions").glob("*.json")).read_text())
    assert session["static"] is True
    assert all((out / "audio" / f"{name}.wav").is_file() for t in session["trials"] for name in t["stimuli"])
    assert not any(b"secret" in path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert main(["listen", "static", str(test), str(out)]) == 2
    for folder in ("sessions", "audio"):  # a web server that lists folders shows this instead
        assert (out / folder / "index.html").read_bytes() == b""


def test_the_page_is_that_of_the_package_also_for_a_test_that_an_earlier_version_built(tmp_path, port) -> None:
    test, out = make_test(tmp_path, "acr"), tmp_path / "static"
    (test / "public" / "main.js").write_text("an earlier page")
    with serving(test) as number:
        assert ask(number, "/main.js")[1] == (PAGE / "main.js").read_bytes()
    assert main(["listen", "static", str(test), str(out)]) == 0
    for path in PAGE.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_results_of_a_static_test_are_imported_once(tmp_path, capsys) -> None:
    test = make_test(tmp_path, "acr", listeners=2)
    with Store(test) as store:
        tokens = [token for _, token in store.listeners()]
    files = [str(result_file(test, token, tmp_path / f"{n}.json")) for n, token in enumerate(tokens)]
    capsys.readouterr()
    for new in (2, 0):
        assert main(["listen", "import", str(test), *files]) == 0
        assert capsys.readouterr().out == f"{new} new answers imported\n"
        ratings = read_results(test).ratings
        assert {type(rating) for rating in ratings} == {Rating}
        assert [(rating.listener, rating.value) for rating in ratings] == [("L001", 4.0), ("L002", 4.0)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "not a result file"),
        ({"token": "unknown"}, "belongs to no listener"),
        ({"token": None}, "belongs to no listener"),
        ({"page": 99}, "page must be"),
        ({"events": "x"}, "events must be"),
    ],
)
def test_a_wrong_result_file_is_rejected_and_the_others_are_imported(tmp_path, changes, message, capsys) -> None:
    test = make_test(tmp_path, "acr", listeners=2)
    with Store(test) as store:
        tokens = [token for _, token in store.listeners()]
    bad = result_file(test, tokens[0], tmp_path / "bad.json", **changes)
    good = result_file(test, tokens[1], tmp_path / "good.json")
    assert main(["listen", "import", str(test), str(bad), str(good)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "bad.json" in error
    assert [rating.listener for rating in read_results(test).ratings] == ["L002"]


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100000, "null"])
def test_a_file_that_is_not_a_result_is_one_line(tmp_path, content, capsys) -> None:
    test = make_test(tmp_path, "acr")
    (tmp_path / "bad.json").write_text(content)
    assert main(["listen", "import", str(test), str(tmp_path / "bad.json")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_damaged_database_is_one_line(tmp_path, capsys) -> None:
    test = make_test(tmp_path, "acr")
    (test / "private" / "results.sqlite").write_bytes(b"no data base" * 1000)
    assert main(["listen", "serve", str(test), "--port", "0"]) == 2
    assert "results.sqlite: cannot be used" in capsys.readouterr().err


def test_an_answer_is_synced_to_one_file_so_that_a_copy_of_it_is_complete(tmp_path) -> None:
    test, copy = make_test(tmp_path, "acr", listeners=1), tmp_path / "copy.sqlite"
    with Store(test) as store:
        assert store.connection.execute("PRAGMA synchronous").fetchone() == (2,)
        trial = store.session("L001")[0]
        store.save("L001", [Event(trial["id"], trial["stimuli"][0], 0, 4, 5)], 0)
        copy.write_bytes((test / "private/results.sqlite").read_bytes())  # as `cp` does it while the test is served
    assert sqlite3.connect(copy).execute("SELECT value FROM events").fetchall() == [(4,)]


def test_a_test_with_the_tables_of_an_earlier_version_is_read_and_written(tmp_path) -> None:
    test = make_test(tmp_path, "acr", listeners=2)
    path = test / "private/results.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(
            "DROP TABLE people; DROP TABLE events; CREATE TABLE events (listener TEXT NOT NULL, seq INTEGER NOT NULL,"
            " trial TEXT NOT NULL, stimulus TEXT NOT NULL, value INTEGER NOT NULL, client_ms INTEGER NOT NULL,"
            " server_ms INTEGER NOT NULL, PRIMARY KEY (listener, seq)) WITHOUT ROWID; PRAGMA journal_mode = WAL;"
        )
    with Store.snapshot(test) as store:
        trial = store.session("L002")[-1]
    with contextlib.closing(sqlite3.connect(path)) as old, old:
        old.execute("INSERT INTO events VALUES ('L002', 0, ?, ?, 3, 4, 5)", (trial["id"], trial["stimuli"][0]))
    assert [(r.listener, r.value, r.plays) for r in read_results(test).ratings] == [("L002", 3.0, None)]
    with Store(test) as store:
        store.save("L002", [Event(trial["id"], trial["stimuli"][0], 1, 2, 5, 60, 7)], 0)
    assert [(r.value, r.plays, r.seconds) for r in read_results(test).ratings] == [(2.0, 7, 0.06)]
