"""AWS Lambda: `nextreel.serving.lambda_handler.handler` answers events of API Gateway and Function URLs.

The app of `nextreel serve` runs behind it, on an event loop that lives as long as the process. On the platform it is
made ready while this module is imported, before the first event; elsewhere by the first call.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from concurrent.futures import Future
from typing import Any

from fastapi import FastAPI
from starlette.types import Message

from nextreel.serving import gateway, run
from nextreel.serving.app import create_app
from nextreel.serving.gateway import Asked, InvalidEvent, Payload, RawHeaders
from nextreel.serving.problems import problem
from nextreel.serving.security import UnsafeHost
from nextreel.settings import Settings, get_settings
from nextreel.telemetry import configure_logging, get_logger

PLATFORM = "AWS_LAMBDA_RUNTIME_API"  # set where Lambda, or something that behaves like it, runs this process
GRACE = 5  # seconds for the app to close; the platform itself waits less

log = get_logger(__name__)


class Door:
    """An app on an event loop of its own, in a thread: it starts once, answers many requests, and closes once."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="nextreel-app", daemon=True)
        self._thread.start()
        started.result()

    def _run(self, started: Future[None]) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live(started))

    async def _live(self, started: Future[None]) -> None:
        try:
            async with self._app.router.lifespan_context(self._app):
                started.set_result(None)
                await self._stop.wait()
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    def ask(self, asked: Asked) -> tuple[int, RawHeaders, bytes]:
        """Status, headers and body of the app's answer."""
        return asyncio.run_coroutine_threadsafe(_answer(self._app, asked), self._loop).result()

    def close(self) -> None:
        """Shuts the app down and waits until it is; once it is, nothing happens."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(GRACE)


async def _answer(app: FastAPI, asked: Asked) -> tuple[int, RawHeaders, bytes]:
    """One request by ASGI: the body comes in one piece, and the answer is collected."""
    bodies = [asked.body]
    finished = asyncio.Event()
    status, headers, parts = 0, [], []

    async def receive() -> Message:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        await finished.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
        else:
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                finished.set()

    await app(asked.scope, receive, send)
    if not finished.is_set():
        raise RuntimeError("the app ended without a whole answer")
    return status, headers, b"".join(parts)


_opening = threading.Lock()
_door: Door | None = None


def handler(event: Any, context: Any) -> dict[str, Any]:
    """The answer to the event, in the shape of its payload; what fails is a problem document, never an exception."""
    payload: Payload = 2
    try:
        payload = gateway.payload_of(event)
        door = _opened()
        return gateway.answer(payload, *door.ask(gateway.read(event, get_settings().base_path)))
    except InvalidEvent as error:
        return _problem(payload, 400, str(error))
    except Exception:
        number = getattr(context, "aws_request_id", "")
        log.exception("request failed", request_id=number)
        return _problem(payload, 500, f"An error on our side; its record has request_id {number}.")


def _problem(payload: Payload, status: int, detail: str) -> dict[str, Any]:
    told = problem(status, detail, "")
    return gateway.answer(payload, status, told.raw_headers, bytes(told.body))


def _opened() -> Door:
    """The door of this process, opened by whoever comes first; where that fails, the next one tries again."""
    global _door  # noqa: PLW0603  one for the process, as the platform knows one handler
    with _opening:
        if _door is None:
            configure_logging("INFO", "json")  # what is wrong in the settings is told without the values of locals
            settings = get_settings()
            configure_logging(settings.log_level, settings.log_format)
            require_keys(settings)
            _door = Door(create_app(run.opened(settings, settings.nextreel_home), settings))
        return _door


def require_keys(settings: Settings) -> None:
    """Returns when strangers are kept out by keys, or by the gateway; nobody is on this machine as on loopback."""
    if settings.admin_on_loopback or not (settings.api_keys or settings.gateway_authenticates):
        raise UnsafeHost(
            "Expected API_KEYS, and ADMIN_ON_LOOPBACK to be unset: whoever finds a function's URL may call it. Hint: "
            "set API_KEYS, or GATEWAY_AUTHENTICATES=true where API Gateway or IAM lets nobody in whom it does not know."
        )


def _close_when_told(told: socket.socket) -> None:
    """Waits for SIGTERM, closes the app and ends the process, whose main thread may wait in the runtime's C code."""
    while told.recv(1) != bytes([signal.SIGTERM]):
        pass
    if _door is not None:
        _door.close()
    os._exit(0)


def _start() -> None:
    """Opens the door before the first event; a failure is told in the log, and again to whoever asks."""
    for name, value in run.ONE_THREAD.items():
        os.environ.setdefault(name, value)
    told, tell = socket.socketpair()
    tell.setblocking(False)
    signal.set_wakeup_fd(tell.detach())  # written to whatever the main thread does; a handler has to wait for it
    signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=_close_when_told, args=(told,), name="nextreel-sigterm", daemon=True).start()
    try:
        _opened()
    except Exception:
        log.exception("could not start")


if PLATFORM in os.environ:
    _start()
