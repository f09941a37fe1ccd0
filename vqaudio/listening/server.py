"""`vqaudio listen serve`: the page, the audio, and a store that has every answer on the disk before it says so.

One process and one thread: SQLite's single writer is the event loop itself, so nothing needs a lock. The browser gets
`public/` and three addresses under `/api`; there are no pages for administrators.
"""

import json
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vqaudio.errors import UserError
from vqaudio.files import locked
from vqaudio.listening.answers import parse_events, parse_page, session_for_browser
from vqaudio.listening.key import Key, read_key
from vqaudio.listening.links import participant_links
from vqaudio.listening.store import SequenceTaken, Store

MAX_BODY = 1 << 16
MAX_KEYS = 10_000
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def serve(test: Path, *, host: str, port: int, url: str | None) -> None:
    """Serve a test until interrupted, and print the link of every listener; port 0 takes a free one.

    `url` is the address under which listeners reach the page, where it is another than `http://host:port`: that of
    a proxy, or of this machine when `host` is 0.0.0.0.

    Raises:
        UserError: the folder holds no test or is served already, or the address cannot be used.
    """
    read_key(test)
    if host == "0.0.0.0" and url is None:  # noqa: S104
        example = f"http://{socket.gethostname()}:{port or 'PORT'}"
        raise UserError(f"--host {host}: no address that listeners can open; give --url too, such as {example}")
    with locked(test / "private"), listening_socket(host, port) as listening:
        address = url or f"http://{host}:{listening.getsockname()[1]}"
        app = make_app(test, {"127.0.0.1", "localhost", host, urlsplit(address).hostname or host})
        for listener, link in participant_links(test, address):
            print(f"{listener}  {link}")
        print("One link for one listener. Stop with Ctrl-C; answers are safe, and links stay valid.", flush=True)
        make_server(app).run(sockets=[listening])


def make_server(app: Starlette) -> uvicorn.Server:
    """Return a server that logs no address and does not say what it is."""
    return uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
    )


def make_app(test: Path, hosts: set[str]) -> Starlette:
    """Return the application of a test, which answers under the names of `hosts` only."""
    api = _Api(read_key(test), Store(test))
    routes = [
        Route("/api/session", api.session),
        Route("/api/events", api.events, methods=["POST"]),
        Route("/api/page", api.page, methods=["POST"]),
        Mount("/", StaticFiles(directory=test / "public", html=True)),
    ]
    middleware = [
        Middleware(_Headers),
        Middleware(TrustedHostMiddleware, allowed_hosts=sorted(hosts), www_redirect=False),
    ]
    return Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: _refusal})


class _Api:
    """The three things that the page asks for; a listener is known by the token in the Authorization header."""

    def __init__(self, key: Key, store: Store) -> None:
        self.key, self.store = key, store
        self.strangers = RateLimit(per_second=0.5, burst=20)  # nobody guesses tokens of 128 bits at this pace
        self.listeners = RateLimit(per_second=20, burst=100)

    async def session(self, request: Request) -> Response:
        """Return the listener's trials, and how far they have come."""
        return JSONResponse(session_for_browser(self.key, self.store, self._listener(request)))

    async def events(self, request: Request) -> Response:
        """Save answers; the response means that they are on the disk."""
        listener = self._listener(request)
        data = await _json_body(request)
        events = _checked(parse_events, data.get("events"), self.key, self.store.session(listener))
        try:
            self.store.save(listener, events, round(time.time() * 1000))
        except SequenceTaken:
            return JSONResponse({"next_seq": self.store.next_seq(listener)}, status_code=409)
        return JSONResponse({"saved": len(events)})

    async def page(self, request: Request) -> Response:
        """Note the page that the listener has reached."""
        listener = self._listener(request)
        data = await _json_body(request)
        page = _checked(parse_page, data.get("page"), self.store.session(listener))
        self.store.reach(listener, page, round(time.time() * 1000))
        return JSONResponse({"page": self.store.page(listener)})

    def _listener(self, request: Request) -> str:
        """Return who asks."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        listener = self.store.find(token) if scheme == "Bearer" else None
        address = request.client.host if request.client else ""
        limit, name = (self.listeners, listener) if listener else (self.strangers, address)
        if not limit.allow(name):
            raise HTTPException(429, "too many requests; wait a moment", {"Retry-After": "5"})
        if listener is None:
            raise HTTPException(401, "this link is not known")
        return listener


async def _json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request; no other content, and not more than MAX_BODY bytes, is read."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"at most {MAX_BODY} bytes")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "not JSON") from None
    if not isinstance(data, dict):
        raise HTTPException(400, "not a JSON object")
    return data


def _checked(parse: Any, *arguments: Any) -> Any:
    """Call a parser; what it refuses is the client's mistake."""
    try:
        return parse(*arguments)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None


async def _refusal(_: Request, error: Exception) -> Response:
    """Say in JSON why a request was refused."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)


class _Headers:
    """Adds the headers that keep the page to itself to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["Cache-Control"] = "no-store" if scope["path"].startswith("/api/") else "no-cache"
            await send(message)

        await self.app(scope, receive, send_with_headers)


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that accepts connections, so that links are printed only when they work."""
    if ":" in host:
        raise UserError(f"--host {host}: give an IPv4 address or a name; a proxy can offer the test by IPv6")
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise UserError(
            f"--host {host} --port {port}: {error.strerror}; choose another, or 0 for a free port"
        ) from None
    return listening


class RateLimit:
    """Allows `burst` requests at once and `per_second` on average, to each key."""

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second, self.burst = per_second, burst
        self.buckets: dict[str, tuple[float, float]] = {}

    def allow(self, key: str) -> bool:
        """Count a request of `key`; False when it is one too many."""
        now = time.monotonic()
        tokens, before = self.buckets.pop(key, (self.burst, now))
        tokens = min(self.burst, tokens + (now - before) * self.per_second)
        allowed = tokens >= 1
        self.buckets[key] = (tokens - allowed, now)  # goes to the end, so the first is the one unseen for longest
        if len(self.buckets) > MAX_KEYS:
            del self.buckets[next(iter(self.buckets))]
        return allowed
