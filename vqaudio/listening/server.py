"""`vqaudio listen serve`: offers the page and the audio, and acknowledges an answer only when it is on disk.

There is one process and one thread: the event loop is SQLite's only writer, so nothing needs a lock. The browser gets
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

MAX_BODY_BYTES = 1 << 16
MAX_KEYS = 10_000  # whose requests a rate limit counts at a time
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

    `url` is the address that listeners open, if it is not `http://host:port`: that of a proxy, or of this machine if
    `host` is 0.0.0.0.

    Raises:
        UserError: the folder contains no test or is already served, or the address cannot be used.
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
    """Return a server that logs no addresses and does not name its software."""
    return uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
    )


def make_app(test: Path, hosts: set[str]) -> Starlette:
    """Return the application of a test, which answers only requests to the names in `hosts`."""
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
    return Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: _rejection})


class _Api:
    """The three addresses that the page uses; the token in the Authorization header identifies the listener."""

    def __init__(self, key: Key, store: Store) -> None:
        self.key, self.store = key, store
        self.unknown = RateLimit(per_second=0.5, burst=20)  # at this rate nobody can guess tokens of 128 bits
        self.listeners = RateLimit(per_second=20, burst=100)

    async def session(self, request: Request) -> Response:
        """Return the listener's trials, answers and page."""
        return JSONResponse(session_for_browser(self.key, self.store, self._listener(request)))

    async def events(self, request: Request) -> Response:
        """Save answers; the response means that they are on disk."""
        listener = self._listener(request)
        data = await _json_body(request)
        events = _checked(parse_events, data.get("events"), self.key, self.store.session(listener))
        try:
            self.store.save(listener, events, round(time.time() * 1000))
        except SequenceTaken:
            return JSONResponse({"next_seq": self.store.next_seq(listener)}, status_code=409)
        return JSONResponse({"saved": len(events)})

    async def page(self, request: Request) -> Response:
        """Save that the listener has reached a page."""
        listener = self._listener(request)
        data = await _json_body(request)
        page = _checked(parse_page, data.get("page"), self.store.session(listener))
        self.store.reach(listener, page, round(time.time() * 1000))
        return JSONResponse({"page": self.store.page(listener)})

    def _listener(self, request: Request) -> str:
        """Return the listener who sent a request.

        Raises:
            HTTPException: the token is unknown, or there are too many requests.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        listener = self.store.find(token) if scheme == "Bearer" else None
        address = request.client.host if request.client else ""
        limit, name = (self.listeners, listener) if listener else (self.unknown, address)
        if not limit.allow(name):
            raise HTTPException(429, "too many requests; wait a moment", {"Retry-After": "5"})
        if listener is None:
            raise HTTPException(401, "this link is unknown")
        return listener


async def _json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request.

    Raises:
        HTTPException: the content is something else, or longer than `MAX_BODY_BYTES`.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"at most {MAX_BODY_BYTES} bytes")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "not JSON") from None
    if not isinstance(data, dict):
        raise HTTPException(400, "not a JSON object")
    return data


def _checked(parse: Any, *arguments: Any) -> Any:
    """Return what a parser returns; if it raises ValueError, reject the request."""
    try:
        return parse(*arguments)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None


async def _rejection(_: Request, error: Exception) -> Response:
    """Return in JSON why a request was rejected."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)


class _Headers:
    """Adds `HEADERS` to every response: the page loads nothing from elsewhere, and nothing else can embed it."""

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
    """Return a socket that accepts connections, so that no link is printed before it works.

    Raises:
        UserError: the address cannot be used.
    """
    if ":" in host:
        raise UserError(f"--host {host}: an IPv6 address; give an IPv4 address or a name (a proxy can offer IPv6)")
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise UserError(
            f"--host {host} --port {port}: {error.strerror}; choose another port, or 0 for a free one"
        ) from None
    return listening


class RateLimit:
    """Allows `burst` requests at once, and `per_second` on average, for each key."""

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second, self.burst = per_second, burst
        self.buckets: dict[str, tuple[float, float]] = {}

    def allow(self, key: str) -> bool:
        """Count a request of `key`; return False if it is one too many."""
        now = time.monotonic()
        tokens, before = self.buckets.pop(key, (self.burst, now))
        tokens = min(self.burst, tokens + (now - before) * self.per_second)
        allowed = tokens >= 1
        self.buckets[key] = (
            tokens - allowed,
            now,
        )  # at the end: the first has been idle longest
        if len(self.buckets) > MAX_KEYS:
            del self.buckets[next(iter(self.buckets))]
        return allowed
