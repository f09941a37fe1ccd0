"""The addresses under `/api` that the page of a listener uses."""

import json
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vqaudio.listening.answers import parse_events, parse_page, parse_person, wanted_answers
from vqaudio.listening.key import Key
from vqaudio.listening.pages import Incomplete, finish, outcome, page_list, pass_gate, session_for_browser
from vqaudio.listening.people import Full, end, join, now_ms, people
from vqaudio.listening.store import SequenceTaken, Store
from vqaudio.listening.study import Platform, Study
from vqaudio.listening.texts import page_texts

MAX_BODY_BYTES = 1 << 16
MAX_KEYS = 10_000  # whose requests a rate limit counts at a time


class Api:
    """Answers requests; the token in the Authorization header identifies the listener.

    `platform` says who may join without a link, None that nobody may.
    """

    def __init__(
        self, key: Key, study: Study, store: Store, platform: Platform | None, *, preview: bool = False
    ) -> None:
        self.key, self.study, self.store, self.platform, self.preview = key, study, store, platform, preview
        self.unknown = RateLimit(per_second=0.5, burst=20)  # at this rate nobody can guess tokens of 128 bits
        self.joins = RateLimit(per_second=2, burst=50)  # a whole class may come from one address
        self.listeners = RateLimit(per_second=20, burst=100)

    async def about(self, _: Request) -> Response:
        """Return what the page needs before it knows the listener."""
        if self.platform is None:
            raise HTTPException(404, "this test has personal links only")
        return JSONResponse(
            {
                "parameters": self.platform.parameters,
                "required": self.platform.required,
                "title": self.study.title,
                "language": self.study.language,
                "texts": page_texts(self.study.language, self.study.texts),
            }
        )

    async def join(self, request: Request) -> Response:
        """Return the token of a listener who opened the common address."""
        if self.platform is None:
            raise HTTPException(404, "this test has personal links only")
        self._allow(self.joins, request)
        data = await _json_body(request)
        person, token = _checked(parse_person, data.get("person")), data.get("token")
        if person is None and self.platform.required:
            raise HTTPException(422, f"the address has no {' or '.join(self.platform.parameters)}")
        try:
            token = join(self.store, self.key, self.platform, person, token if isinstance(token, str) else None)
        except Full:
            ending = outcome(self.study, "full")
            return JSONResponse({"full": True, "code": ending["code"], "url": ending["url"]}, status_code=409)
        return JSONResponse({"token": token})

    async def session(self, request: Request) -> Response:
        """Return the listener's pages, trials and answers."""
        listener = self._listener(request)
        return JSONResponse(session_for_browser(self.key, self.study, self.store, listener, preview=self.preview))

    async def events(self, request: Request) -> Response:
        """Save answers; the response means that they are on disk."""
        listener = self._listener(request)
        data = await _json_body(request)
        wanted = wanted_answers(self.key, self.study, self.store.session(listener))
        events = _checked(parse_events, data.get("events"), wanted)
        try:
            self.store.save(listener, events, now_ms())
        except SequenceTaken:
            return JSONResponse({"next_seq": self.store.next_seq(listener)}, status_code=409)
        return JSONResponse({"saved": len(events)})

    async def page(self, request: Request) -> Response:
        """Save that the listener has reached a page."""
        listener = self._listener(request)
        page = _checked(parse_page, (await _json_body(request)).get("page"), self._pages(listener))
        self.store.reach(listener, page, now_ms())
        return JSONResponse({"page": self.store.page(listener)})

    async def gate(self, request: Request) -> Response:
        """Return whether the listener may go on after a page."""
        listener = self._listener(request)
        page = _checked(parse_page, (await _json_body(request)).get("page"), self._pages(listener))
        return self._ended(listener, pass_gate, page)

    async def finish(self, request: Request) -> Response:
        """End the test for a listener who has answered everything, and return what they get for it."""
        listener = self._listener(request)
        await _json_body(request)
        return self._ended(listener, finish)

    def _ended(self, listener: str, decide: Any, *page: int) -> Response:
        """Return the outcome for a listener, which is saved; None while there is none."""
        known = people(self.store)[listener].outcome
        if known is None:
            try:
                known = decide(
                    self.key, self.study, self.store.session(listener), *page, final=self.store.final(listener)
                )
            except Incomplete as error:
                raise HTTPException(422, str(error)) from None
            if known is not None:
                end(self.store, listener, known)
        return JSONResponse(outcome(self.study, known) if known else {"outcome": None})

    def _pages(self, listener: str) -> int:
        return len(page_list(self.key, self.study, self.store.session(listener)))

    def _listener(self, request: Request) -> str:
        """Return the listener who sent a request.

        Raises:
            HTTPException: the token is unknown, or there are too many requests.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        listener = self.store.find(token) if scheme == "Bearer" else None
        if listener is None:
            self._allow(self.unknown, request)
            raise HTTPException(401, "this link is unknown")
        self._allow(self.listeners, request, listener)
        return listener

    def _allow(self, limit: "RateLimit", request: Request, name: str | None = None) -> None:
        """Raise HTTPException if there are too many requests of a listener, or from an address."""
        if not limit.allow(name or (request.client.host if request.client else "")):
            raise HTTPException(429, "too many requests; wait a moment", {"Retry-After": "5"})


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
        self.buckets[key] = (tokens - allowed, now)  # at the end: the first has been idle longest
        if len(self.buckets) > MAX_KEYS:
            del self.buckets[next(iter(self.buckets))]
        return allowed
