"""The two clients: the same methods, one answers and one is awaited."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import wraps
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

import httpx
import msgspec
import stamina

from nextreel import __version__
from nextreel.client import calls
from nextreel.client.calls import Call
from nextreel.client.errors import ApiError, NoAnswer, UnexpectedAnswer, api_error
from nextreel.client.shapes import Recommendations, Wanted

P = ParamSpec("P")
T = TypeVar("T")

KEY = "NEXTREEL_API_KEY"
AGAIN = frozenset({429, 502, 503, 504})  # statuses of a server, or of what stands before it, that is busy just now
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0  # seconds between two attempts; they double, with chance


class Operation(Generic[P, T]):
    """A method of both clients, from the function that builds its request."""

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        self._build = build

    @overload
    def __get__(self, client: Client, owner: type[Any]) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: type[Any]) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, client: None, owner: type[Any]) -> Callable[P, Call[T]]: ...
    def __get__(self, client: Client | AsyncClient | None, owner: type[Any]) -> Callable[P, Any]:
        """The method of a client; of the class, the function that builds the request."""
        if client is None:
            return self._build

        @wraps(self._build)
        def ask(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.send(self._build(*args, **kwargs))

        return ask


class _Operations:
    recommendations = Operation(calls.recommendations)
    recommend = Operation(calls.recommend)
    explain = Operation(calls.explain)
    similar = Operation(calls.similar)
    trending = Operation(calls.trending)
    feedback = Operation(calls.feedback)
    feedback_all = Operation(calls.feedback_all)
    upload = Operation(calls.upload)
    upload_all = Operation(calls.upload_all)
    withdraw = Operation(calls.withdraw)
    session_recommendations = Operation(calls.session_recommendations)
    merge = Operation(calls.merge)
    forget = Operation(calls.forget)
    health = Operation(calls.health)
    live = Operation(calls.live)
    ready = Operation(calls.ready)
    metrics = Operation(calls.metrics)
    models = Operation(calls.models)
    promote = Operation(calls.promote)
    rollback = Operation(calls.rollback)
    rollback_from = Operation(calls.rollback_from)
    features = Operation(calls.features)
    experiments = Operation(calls.experiments)
    ping = Operation(calls.ping)
    invocations = Operation(calls.invocations)


class Client(_Operations):
    """Asks and waits for the answer; to be closed, or used in a `with`. Threads may share one.

    A request that fails on its way, or that a busy server puts off, is sent up to `attempts` times where sending it
    again does no harm. `timeout` is in seconds, for each attempt. `transport` is for tests.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = 5.0,
        attempts: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._attempts = attempts
        self._http = httpx.Client(base_url=base_url, headers=_headers(api_key), timeout=timeout, transport=transport)

    def send(self, call: Call[T]) -> T:
        """The answer of the server; an `ApiError` where it is an error, `NoAnswer` where there is none."""
        for attempt in stamina.retry_context(**_retries(call, self._attempts)):
            with attempt:
                try:
                    response = self._http.send(_request(self._http, call))
                except httpx.TransportError as error:
                    raise _no_answer(call, error) from error
                return _read(call, response)
        raise AssertionError("the last attempt returns or raises")

    def pages(self, wanted: Wanted) -> Iterator[Recommendations]:
        """The pages of one list without repeats, each of `num_recommendations` videos, until it ends."""
        following: Wanted | None = msgspec.structs.replace(wanted, paged=True)
        while following is not None:
            page = self.recommend(following)
            yield page
            following = calls.next_page(wanted, page)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Operations):
    """The same to be awaited; to be closed by `aclose`, or used in an `async with`."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = 5.0,
        attempts: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._attempts = attempts
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=_headers(api_key), timeout=timeout, transport=transport
        )

    async def send(self, call: Call[T]) -> T:
        """The answer of the server; an `ApiError` where it is an error, `NoAnswer` where there is none."""
        async for attempt in stamina.retry_context(**_retries(call, self._attempts)):
            with attempt:
                try:
                    response = await self._http.send(_request(self._http, call))
                except httpx.TransportError as error:
                    raise _no_answer(call, error) from error
                return _read(call, response)
        raise AssertionError("the last attempt returns or raises")

    async def pages(self, wanted: Wanted) -> AsyncIterator[Recommendations]:
        """The pages of one list without repeats, each of `num_recommendations` videos, until it ends."""
        following: Wanted | None = msgspec.structs.replace(wanted, paged=True)
        while following is not None:
            page = await self.recommend(following)
            yield page
            following = calls.next_page(wanted, page)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _headers(api_key: str | None) -> dict[str, str]:
    key = os.environ.get(KEY, "") if api_key is None else api_key
    return {"User-Agent": f"nextreel-python/{__version__}"} | ({"X-API-Key": key} if key else {})


def _request(http: httpx.Client | httpx.AsyncClient, call: Call[Any]) -> httpx.Request:
    headers = {} if call.body is None else {"Content-Type": "application/json"}
    return http.build_request(call.method, call.path, params=call.query, content=call.body, headers=headers)


def _asked(call: Call[Any]) -> str:
    return f"{call.method} {call.path}"


def _no_answer(call: Call[Any], error: httpx.TransportError) -> NoAnswer:
    return NoAnswer(f"Expected an answer to {_asked(call)}, got {type(error).__name__}: {error}")


def _read(call: Call[T], response: httpx.Response) -> T:
    if not response.is_success and response.status_code not in call.also:
        raise api_error(_asked(call), response.status_code, response.headers, response.content)
    try:
        return call.read(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedAnswer(f"{_asked(call)} was answered by what this client cannot read: {error}") from error


def _retries(call: Call[Any], attempts: int) -> dict[str, Any]:
    """How often a call is tried: `ask_again` says which errors pass and, where the server says so, when."""

    def ask_again(error: Exception) -> bool | float:
        if isinstance(error, ApiError):
            wait = error.retry_after
            return error.status in AGAIN and (True if wait is None else min(wait, LONGEST_WAIT))
        return isinstance(error, NoAnswer)

    return {
        "on": ask_again,
        "attempts": attempts if call.repeatable else 1,
        "timeout": None,  # of each attempt is httpx'
        "wait_initial": FIRST_WAIT,
        "wait_max": LONGEST_WAIT,
    }
