"""What holds for every request: an id, a limit on the body, a measured latency, and no error without an answer."""

from __future__ import annotations

import re
import uuid
from time import perf_counter

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nextreel.serving.problems import problem
from nextreel.telemetry import get_logger, observe_request

MAX_BODY = 64 * 1024  # bytes
HEADER = b"x-request-id"
GIVEN_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")  # other bytes do not belong in headers and logs
CLIENT_LEFT = 499  # not a standard status; metrics tell these requests from failures by it

log = get_logger(__name__)


def request_id() -> str:
    """The id of the request being answered in this task or thread."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


class Edge:
    """The outermost layer of the app, as plain ASGI: it costs microseconds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        number = _id(scope)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=number)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, number.encode())]
            await send(message)

        try:
            await self._app(scope, _limited(receive), send_with_id)
        except Exception:
            log.exception("request failed", method=scope["method"], route=_route(scope))
            if status:  # half an answer is out; the server closes the connection
                raise
            answer = problem(500, f"An error on our side; its record has request_id {number}.", scope["path"])
            await answer(scope, receive, send_with_id)
        finally:
            observe_request(scope["method"], _route(scope), status or CLIENT_LEFT, perf_counter() - started)


def _id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == HEADER and GIVEN_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid.uuid4().hex


def _route(scope: Scope) -> str:
    """The template that matched; paths nobody serves share one name."""
    return getattr(scope.get("route"), "path_format", "unmatched")


def _limited(receive: Receive) -> Receive:
    """Counts the bytes that really come: a header about their number may be missing or wrong."""
    size = 0

    async def counting() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY:
            raise HTTPException(413, f"Expected a body of at most {MAX_BODY} bytes, got more.")
        return message

    return counting
