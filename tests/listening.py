"""Small listening tests, and a server for them in a thread."""

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vqaudio import audio, datadir
from vqaudio.listening.build import build
from vqaudio.listening.design import Design
from vqaudio.listening.sessions import rated_stimuli

RATE = 16000
SYSTEMS = ("secretkmeans", "secretgumbel")


def write_scps(folder: Path, items: int, seconds: float = 0.6, rate: int = RATE) -> dict[str, Path]:
    """Write noise as the wav.scp of a reference and two systems; return their paths by name."""
    rng = np.random.default_rng(0)
    paths = {}
    for name in ("reference", *SYSTEMS):
        table = {}
        for number in range(items):
            wav = 0.05 * rng.standard_normal(round(seconds * rate))
            path = folder / "audio" / name / f"utterance{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio.write(path, wav, rate)
            table[path.stem] = str(path)
        paths[name] = folder / f"{name}.scp"
        datadir.write_table(paths[name], table)
    return paths


def make_test(
    folder: Path,
    test_type: str,
    items: int = 2,
    listeners: int = 3,
    seconds: float = 0.6,
    rate: int = RATE,
    **more: Any,
) -> Path:
    """Build a test of noise, of utterances of so many seconds; `more` are fields of the design."""
    paths = write_scps(folder, items + 1, seconds, rate)
    test = folder / f"test_{test_type}"
    if test_type == "words":
        more["text"] = folder / "text"
        datadir.write_table(more["text"], {f"utterance{n}": f"the words of number {n}" for n in range(items + 1)})
    systems = {name: paths[name] for name in SYSTEMS}
    design = {"reference": paths["reference"], "items": items, "seed": 1, "extension": "wav"} | more
    build(test, Design(test_type, systems, **design), listeners=listeners)
    return test


@contextlib.contextmanager
def serving(test: Path, *, preview: bool = False) -> Iterator[int]:
    """Serve a test from a thread; yields the port."""
    from vqaudio.listening.server import listening_socket, make_app, make_server
    from vqaudio.listening.store import Store

    with listening_socket("127.0.0.1", 0) as bound:
        ready = threading.Event()
        servers = []

        def run() -> None:
            # The data base belongs to the thread that opens it.
            with Store.snapshot(test) if preview else Store(test) as store:
                servers.append(make_server(make_app(test, {"127.0.0.1"}, store, preview=preview)))
                ready.set()
                servers[0].run(sockets=[bound])

        thread = threading.Thread(target=run)
        thread.start()
        ready.wait(10)
        try:
            yield bound.getsockname()[1]
        finally:
            servers[0].should_exit = True
            thread.join(10)


def ask(
    port: int,
    path: str,
    token: str | None = None,
    body: Any = None,
    headers: dict[str, str] | None = None,
    method: str | None = None,
) -> tuple[int, bytes, dict[str, str]]:
    """Send a request, a POST of JSON when there is a body; return status, body and headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    sent = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        sent["Content-Type"] = "application/json"
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, body, sent | (headers or {}))
        response = connection.getresponse()
        return response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


class Visitor:
    """Somebody who takes a test by what the server says, page by page, without a browser."""

    def __init__(self, port: int, person: str | None = None, token: str | None = None) -> None:
        self.port = port
        self.token = token or self.post("join", {"person": person, "token": None})["token"]
        self.session = json.loads(ask(port, "/api/session", self.token)[1])
        self.seq = self.session["next_seq"]

    def post(self, path: str, body: Any) -> Any:
        """Send a request that must succeed."""
        status, answer, _ = ask(self.port, f"/api/{path}", getattr(self, "token", None), body)
        assert status == 200, (path, status, answer)
        return json.loads(answer)

    def answer(self, trial: str, stimulus: str, value: Any, shown_ms: int = 5000) -> None:
        """Save one answer."""
        event = {"trial": trial, "stimulus": stimulus, "seq": self.seq, "value": value, "client_ms": 10**12 + self.seq}
        self.post("events", {"events": [event | {"shown_ms": shown_ms, "plays": 2}]})
        self.seq += 1

    def go_through(self, replies: dict[str, Any], rate: Callable[[dict[str, Any], str], Any]) -> dict[str, Any]:
        """Answer everything: questions by `replies`, stimuli by `rate`; return how it ended."""
        for number, page in enumerate(self.session["pages"]):
            self.post("page", {"page": number})
            if page["kind"] == "consent":
                self.answer("form", "consent", 1)
            for question in page.get("questions", []):
                self.answer("form", question["name"], replies[question["name"]])
            if page["kind"] == "trial":
                trial = self.session["trials"][page["trial"]]
                for stimulus in rated_stimuli(trial["type"], trial):
                    self.answer(trial["id"], stimulus, rate(trial, stimulus))
            if page.get("gate") and (outcome := self.post("gate", {"page": number}))["outcome"]:
                return outcome
        return self.post("finish", {})
