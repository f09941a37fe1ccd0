"""`vqaudio listen serve`: offers the page and the audio, and acknowledges an answer only when it is on disk.

There is one process and one thread: the event loop is SQLite's only writer, so nothing needs a lock. The browser gets
the page, the audio in `public/`, and the addresses under `/api`; there are no pages for administrators.
"""

import signal
import socket
from pathlib import Path
from typing import NoReturn
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
from vqaudio.listening.api import Api
from vqaudio.listening.key import read_key
from vqaudio.listening.people import participant_links
from vqaudio.listening.static import PAGE
from vqaudio.listening.store import Store
from vqaudio.listening.study import Platform, Study, read_study

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def serve(test: Path, *, host: str, port: int, url: str | None, preview: bool = False) -> None:
    """Serve a test until interrupted, and print the addresses for listeners; port 0 takes a free one.

    `url` is the address that listeners open, if it is not `http://host:port`: that of a proxy, or of this machine if
    `host` is 0.0.0.0. A preview may be opened by anybody, and saves nothing.

    Raises:
        UserError: the folder contains no test or is already served, or the address cannot be used.
    """
    read_key(test)
    study = read_study(test)
    if host == "0.0.0.0" and url is None:  # noqa: S104
        example = f"http://{socket.gethostname()}:{port or 'PORT'}"
        raise UserError(f"--host {host}: no address that listeners can open; give --url too, such as {example}")
    with listening_socket(host, port) as listening:
        address = (url or f"http://{host}:{listening.getsockname()[1]}").rstrip("/")
        hosts = {"127.0.0.1", "localhost", host, urlsplit(address).hostname or host}
        if preview:
            print(f"{address}/\nA preview: nothing is saved. Stop with Ctrl-C.", flush=True)
            _run(test, hosts, listening, preview=True)
            return
        with locked(test / "private"):
            _print_addresses(test, study, address)
            _run(test, hosts, listening)


def _print_addresses(test: Path, study: Study, address: str) -> None:
    """Print the link of every listener, and the address for those of a platform."""
    for listener, link in participant_links(test, address):
        print(f"{listener}  {link}")
    if study.platform:
        print(f"For all listeners of a platform: {address}/?{study.platform.parameters[0]}=<the id of each>")
    print("One link for one listener. Stop with Ctrl-C; answers are safe, and links stay valid.", flush=True)


def _run(test: Path, hosts: set[str], listening: socket.socket, *, preview: bool = False) -> None:
    """Answer requests until SIGINT or SIGTERM, then close the database."""

    def leave(*_: object) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)  # uvicorn answers what it has begun, then sends itself the signal again
    with Store.snapshot(test) if preview else Store(test) as store:
        make_server(make_app(test, hosts, store, preview=preview)).run(sockets=[listening])


def make_server(app: Starlette) -> uvicorn.Server:
    """Return a server that logs no addresses and does not name its software."""
    return uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
    )


def make_app(test: Path, hosts: set[str], store: Store, *, preview: bool = False) -> Starlette:
    """Return the application of a test, which answers only requests to the names in `hosts`."""
    study = read_study(test)
    platform = Platform(required=False) if preview else study.platform
    api = Api(read_key(test), study, store, platform, preview=preview)
    routes = [
        Route("/api/study", api.about),
        Route("/api/session", api.session),
        Route("/api/join", api.join, methods=["POST"]),
        Route("/api/events", api.events, methods=["POST"]),
        Route("/api/page", api.page, methods=["POST"]),
        Route("/api/gate", api.gate, methods=["POST"]),
        Route("/api/finish", api.finish, methods=["POST"]),
        Mount("/audio", StaticFiles(directory=test / "public" / "audio")),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    middleware = [
        Middleware(_Headers),
        Middleware(TrustedHostMiddleware, allowed_hosts=sorted(hosts), www_redirect=False),
    ]
    return Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: _rejection})


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
