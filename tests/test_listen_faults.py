"""The server of a listening test is killed again and again while listeners answer: nothing acknowledged is lost."""

import http.client
import json
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from listening import ask, make_test

from vqaudio.listening.store import Store

LISTENERS, KILLS = 20, 5
PACE = 0.06  # seconds between the answers of a listener


class Server:
    """The real command, on a port that stays the same."""

    def __init__(self, test: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        vqaudio = str(Path(sys.executable).parent / "vqaudio")
        self.command = [vqaudio, "listen", "serve", str(test), "--port", str(self.port)]

    def start(self) -> None:
        """Start and wait until it says that it is ready."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        while not (line := self.process.stdout.readline()).startswith("One link"):
            assert line, "the server ended before it was ready"

    def kill(self) -> None:
        """End it as a power cut would end the process."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Answering(threading.Thread):
    """A listener who answers at random and keeps what the server acknowledged; asks again when it does not answer."""

    def __init__(self, port: int, token: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port, self.token, self.stop = port, token, stop
        self.acknowledged: list[dict[str, Any]] = []
        self.refused: list[tuple[int, bytes]] = []

    def run(self) -> None:
        rng = random.Random(self.token)
        session = json.loads(self.ask("/api/session") or "{}")
        for seq in range(10**6):
            if self.stop.is_set():
                return
            trial = rng.choice(session["trials"])
            event = {"trial": trial["id"], "stimulus": trial["stimuli"][0], "seq": seq}
            event |= {"value": rng.randint(1, 5), "client_ms": seq}
            if self.ask("/api/events", {"events": [event]}) is not None:
                self.acknowledged.append(event)
            time.sleep(PACE)

    def ask(self, path: str, body: Any = None) -> bytes | None:
        """Ask until there is an answer; None when the test is over before."""
        while not self.stop.is_set():
            try:
                status, answer, _ = ask(self.port, path, self.token, body)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            if status == 200:
                return answer
            self.refused.append((status, answer))
            time.sleep(0.2)
        return None


def test_a_service_that_is_stopped_ends_in_order_and_a_copy_of_the_one_file_has_all_answers(tmp_path) -> None:
    test = make_test(tmp_path, "acr", items=2, listeners=1)
    server = Server(test)
    server.start()
    with Store.snapshot(test) as store:
        token, trials = store.listeners()[0][1], store.session("L001")
    events = [
        {"trial": trial["id"], "stimulus": trial["stimuli"][0], "seq": seq, "value": 3, "client_ms": 0}
        for seq, trial in enumerate(trials)
    ]
    assert ask(server.port, "/api/events", token, {"events": events})[0] == 200
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes((test / "private/results.sqlite").read_bytes())
    server.process.terminate()
    assert server.process.wait(20) == 0
    server.process.stdout.close()
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (len(events),)
    assert sorted(path.name for path in (test / "private").glob("results*")) == ["results.sqlite"]


def test_no_acknowledged_answer_is_lost_when_the_server_is_killed(tmp_path) -> None:
    test = make_test(tmp_path, "acr", items=2, listeners=LISTENERS)
    server, stop, rng = Server(test), threading.Event(), random.Random(0)
    server.start()
    with Store(test) as store:
        listeners = {listener: Answering(server.port, token, stop) for listener, token in store.listeners()}
    try:
        for listener in listeners.values():
            listener.start()
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.1, 0.8))
            server.kill()
            server.start()
        time.sleep(0.5)
    finally:
        stop.set()
        for listener in listeners.values():
            listener.join(10)
        server.kill()
    with Store(test) as store:
        for name, listener in listeners.items():
            assert listener.refused == []
            assert len(listener.acknowledged) > KILLS
            query = "SELECT seq, trial, stimulus, value FROM events WHERE listener = ?"
            saved = {seq: answer for seq, *answer in store.connection.execute(query, (name,))}
            for event in listener.acknowledged:
                assert saved[event["seq"]] == [event["trial"], event["stimulus"], event["value"]]
            # What was being sent at the end may have been saved without an acknowledgement, and nothing else.
            assert len(saved) - len(listener.acknowledged) in (0, 1)
            for (trial, _), value in store.final(name).items():
                assert value == saved[max(seq for seq, answer in saved.items() if answer[0] == trial)][2]
