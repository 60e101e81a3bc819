"""An app behind the door of a function starts once, answers many at once, and closes once."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response, StreamingResponse

from lambda_runtime import http_api, rest_api
from nextreel.serving import gateway
from nextreel.serving.lambda_handler import Door


@pytest.fixture
def lived() -> list[str]:
    """What happened to the app."""
    return []


@pytest.fixture
def app(lived: list[str]) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        lived.append(f"started in {threading.current_thread().name}")
        yield
        lived.append(f"closed in {threading.current_thread().name}")

    return FastAPI(lifespan=lifespan)


@pytest.fixture
def opened(app: FastAPI) -> Iterator[Callable[[], Door]]:
    doors: list[Door] = []

    def opened() -> Door:
        doors.append(Door(app))
        return doors[-1]

    yield opened
    for door in doors:
        door.close()


def ask(door: Door, event: Any) -> dict[str, Any]:
    asked = gateway.read(event)
    return gateway.answer(asked.payload, *door.ask(asked))


def test_an_app_starts_before_the_first_answer_and_closes_once(
    app: FastAPI, opened: Callable[[], Door], lived: list[str]
) -> None:
    app.add_api_route("/here", lambda: "yes")
    door = opened()
    assert lived == ["started in nextreel-app"]
    assert [ask(door, event("GET", "/here"))["body"] for event in (http_api, rest_api, http_api)] == ['"yes"'] * 3
    assert lived == ["started in nextreel-app"]
    door.close()
    assert lived == ["started in nextreel-app", "closed in nextreel-app"]


def test_an_app_that_cannot_start_says_so_to_whoever_opens_it() -> None:
    def lifespan(_: FastAPI) -> AbstractAsyncContextManager[None]:
        raise ConnectionError("the state is out of reach")

    with pytest.raises(ConnectionError, match="out of reach"):
        Door(FastAPI(lifespan=lifespan))


def test_many_threads_are_answered_at_once(app: FastAPI, opened: Callable[[], Door]) -> None:
    together = threading.Barrier(8, timeout=10)

    def meet(number: int) -> int:
        together.wait()  # passes when all eight are being answered
        return number

    app.add_api_route("/meet/{number}", meet)
    door = opened()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: ask(door, http_api("GET", f"/meet/{number}"))["body"], range(8)))
    assert answers == [str(number) for number in range(8)]


def test_an_answer_in_parts_is_collected_and_what_is_no_text_is_base64(
    app: FastAPI, opened: Callable[[], Door]
) -> None:
    app.add_api_route("/parts", lambda: StreamingResponse(iter([b"\xff", b"a", b""]), headers={"x-one": "1"}))
    answer = ask(opened(), rest_api("GET", "/parts"))
    assert (answer["body"], answer["isBase64Encoded"], answer["headers"]["x-one"]) == ("/2E=", True, "1")


def test_a_body_is_read_once_and_then_the_caller_stays(app: FastAPI, opened: Callable[[], Door]) -> None:
    async def told(request: Request) -> Response:
        body = await request.body()
        return Response(json.dumps([len(body), await request.is_disconnected(), request.url.path]))

    app.add_api_route("/told/{rest:path}", told, methods=["POST"])
    answer = ask(opened(), http_api("POST", "/told/a%b/c", body="é" * 1000))
    assert json.loads(answer["body"]) == [2000, False, "/told/a%b/c"]


def test_an_error_of_the_app_is_raised_and_the_next_is_answered(app: FastAPI, opened: Callable[[], Door]) -> None:
    def broken() -> None:
        raise ZeroDivisionError("by nobody")

    app.add_api_route("/broken", broken)
    app.add_api_route("/here", lambda: "yes")
    door = opened()
    with pytest.raises(ZeroDivisionError, match="by nobody"):
        ask(door, http_api("GET", "/broken"))
    assert ask(door, http_api("GET", "/here"))["statusCode"] == 200
