"""What holds for every request: an id, a limit on the body, a measured latency, and no error without an answer."""

from __future__ import annotations

import re
import uuid
from time import perf_counter

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nextreel.serving.problems import problem
from nextreel.telemetry import get_logger, observe_request, request_came, request_left

HEADER = b"x-request-id"
GIVEN_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")  # other bytes do not belong in headers and logs
LONGEST_NUMBER = 19  # digits of a content-length that is taken for one
CLIENT_LEFT = 499  # not a standard status; metrics tell these requests from failures by it

log = get_logger(__name__)


def request_id() -> str:
    """The id of the request being answered in this task or thread."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


class Edge:
    """The outermost layer of the app, as plain ASGI: it costs microseconds."""

    def __init__(self, app: ASGIApp, max_body: int) -> None:
        self._app = app
        self._max_body = max_body  # bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        number = _id(scope)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=number)
        request_came()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, number.encode())]
            await send(message)

        try:
            await self._app(scope, _limited(receive, self._max_body, _length(scope)), send_with_id)
        except Exception:
            log.exception("request failed", method=scope["method"], route=_route(scope))
            if status:  # half an answer is out; the server closes the connection
                raise
            answer = problem(500, f"An error on our side; its record has request_id {number}.", scope["path"])
            await answer(scope, receive, send_with_id)
        finally:
            request_left()
            observe_request(scope["method"], _route(scope), status or CLIENT_LEFT, perf_counter() - started)


def _id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == HEADER and GIVEN_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid.uuid4().hex


def _route(scope: Scope) -> str:
    """The template that matched; paths nobody serves share one name."""
    return getattr(scope.get("route"), "path_format", "unmatched")


def _length(scope: Scope) -> int:
    """The bytes that the body is said to have, 0 where nothing honest is said: they are counted anyway."""
    said = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(said) if said.isdigit() and len(said) < LONGEST_NUMBER else 0


def _limited(receive: Receive, most: int, said: int) -> Receive:
    """Refuses a body that is said to be too long before any of it is read, and counts the bytes that really come."""
    size = 0

    async def counting() -> Message:
        nonlocal size
        if said <= most:
            message = await receive()
            size += len(message.get("body", b""))
        if max(said, size) > most:
            raise HTTPException(413, f"Expected a body of at most {most} bytes, got more.")
        return message

    return counting
