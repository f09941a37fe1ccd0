"""A small server that answers the page of a listening test from a dictionary, in place of the real one."""

import http.server
import io
import json
import os
import threading
import wave
from pathlib import Path
from typing import Any

import numpy as np

import vqaudio.listening
from vqaudio.listening.texts import page_texts

PAGE = Path(os.environ.get("VQAUDIO_PAGE") or Path(vqaudio.listening.__file__).parent / "page")
RATE = 16000
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
TOKEN = "t0ken"
SCALES = {"mushra": [0, 100], "ccr": [-3, 3], "ab": [-1, 1], "abx": [-1, 1], "words": None}


def trial(number: int, kind: str, **more: Any) -> dict[str, Any]:
    """Return a trial of a type as the page gets it."""
    count = {"mushra": 3, "ccr": 2, "ab": 2, "abx": 2, "quiet": 2}.get(kind, 1)
    made = {
        "id": f"trial{number}",
        "type": kind,
        "stimuli": [f"{number}{letter}" for letter in "abc"[:count]],
        "reference": f"{number}r" if kind in ("mushra", "dcr", "smos") else None,
        "training": False,
        "check": kind in ("headphones", "quiet"),
        "loop": kind in ("mushra", "ab", "abx"),
    }
    return made | ({"x": f"{number}x"} if kind == "abx" else {}) | more


def session(kind: str, trials: list[dict[str, Any]] | None = None, language: str = "en", **more: Any) -> dict[str, Any]:
    """Return a session of two trials, the first of them training, with pages around them."""
    trials = trials or [trial(0, kind, training=True), trial(1, kind)]
    pages = [{"kind": "welcome"}, {"kind": "volume", "clip": trials[0]["reference"] or trials[0]["stimuli"][0]}]
    pages += [{"kind": "trial", "trial": n} for n in range(len(trials))]
    made = {
        "type": kind,
        "scale": SCALES.get(kind, [1, 5]),
        "attribute": None,
        "sample_rate": RATE,
        "extension": "wav",
        "language": language,
        "texts": page_texts(language, {}),
        "title": None,
        "contact": None,
        "minutes": 3,
        "pages": [*pages, {"kind": "end"}],
        "page": 0,
        "trials": trials,
        "values": [],
        "next_seq": 0,
        "run": 0,
        "static": False,
        "preview": False,
        "platform": False,
        "outcome": None,
    }
    return made | more


def clip(seconds: float) -> bytes:
    """Return a WAV file of noise."""
    samples = np.random.default_rng(0).integers(-3000, 3000, round(seconds * RATE), dtype=np.int16)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, RATE, 0, "NONE", ""))
        writer.writeframes(samples.tobytes())
    return file.getvalue()


class PageServer(http.server.ThreadingHTTPServer):
    """Offers a session to everybody; keeps what was sent.

    `events` has the answers by sequence number. `status` gives addresses a status instead of an answer, `answers` an
    answer of their own. `asked` has the addresses in the order in which they were asked for.
    """

    daemon_threads = True

    def __init__(self, session: dict[str, Any], seconds: float = 0.3) -> None:
        self.session, self.clip = session, clip(seconds)
        self.events: dict[int, dict[str, Any]] = {}
        self.status: dict[str, int] = {}
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def link(self) -> str:
        return f"{self.address}#{TOKEN}"

    def values(self) -> dict[tuple[str, str], Any]:
        """The answer last given to each stimulus of a trial."""
        return {(e["trial"], e["stimulus"]): e["value"] for _, e in sorted(self.events.items())}

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        """Return status and content of an address under api/."""
        if path in self.answers:
            return self.answers[path]
        if path == "api/session":
            known = [[*name, value] for name, value in self.values().items()]
            return 200, self.session | {"values": self.session["values"] + known, "next_seq": self.next_seq()}
        if path == "api/events":
            for event in body["events"]:
                if self.events.get(event["seq"], event) != event:
                    return 409, {"next_seq": self.next_seq()}
            self.events |= {event["seq"]: event for event in body["events"]}
            return 200, {"saved": len(body["events"])}
        if path == "api/page":
            self.session["page"] = max(self.session["page"], body["page"])
            return 200, body
        if path == "api/gate":
            return 200, {"outcome": None}
        if path == "api/finish":
            return 200, {"outcome": "finished", "code": None, "url": None}
        return 404, {"error": "unknown"}

    def next_seq(self) -> int:
        return max(self.events, default=-1) + 1


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PageServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].lstrip("/") or "index.html"
        if path == f"sessions/{TOKEN}.json":
            self.respond(200, json.dumps(self.server.session).encode(), "application/json")
        elif path.startswith("api/") and not self.server.session["static"]:
            self.respond_json(path, None)
        elif path.startswith("audio/"):
            self.server.asked.append(path)
            self.respond(self.server.status.get("audio", 200), self.server.clip, "audio/wav")
        elif (PAGE / path).is_file():
            self.respond(200, (PAGE / path).read_bytes(), TYPES[Path(path).suffix])
        else:
            self.respond(404, b"no such file", "text/plain")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.respond_json(self.path.lstrip("/"), body)

    def respond_json(self, path: str, body: Any) -> None:
        self.server.asked.append(path)
        status, content = self.server.status.get(path), {}
        if status is None:
            status, content = self.server.answer(path, body)
        self.respond(status, json.dumps(content).encode(), "application/json")

    def respond(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
