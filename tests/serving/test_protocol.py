"""A head longer than the limit is refused while it comes, however it comes; all else is answered as before."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from nextreel.serving.run import PROTOCOL
from nextreel.settings import get_settings

LIMIT = 2_048
TIMEOUT = 10.0


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells how many bytes of headers and of a body it was sent."""
    body, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + len(message.get("body", b"")), message.get("more_body", False)
    told = json.dumps([len(scope["path"]), len(scope["headers"]), body]).encode()
    length = str(len(told)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": told})


@contextmanager
def serving() -> Iterator[int]:
    """The port of a server with the limit of the settings."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=PROTOCOL, loop="uvloop", lifespan="off", ws="none", log_config=None
    )
    server = uvicorn.Server(config)
    bound = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    until = time.monotonic() + TIMEOUT
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(TIMEOUT)
        bound.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAX_HEAD_BYTES", str(LIMIT))
        get_settings.cache_clear()
        with serving() as port:
            yield port
    get_settings.cache_clear()


def talk(port: int, *parts: bytes) -> bytes:
    """Everything that comes back for the parts, sent one after another, until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as line:
        got = b""
        try:
            for part in parts:
                line.sendall(part)
            while piece := line.recv(65_536):
                got += piece
        except (BrokenPipeError, ConnectionResetError):  # closed while we were sending
            return got
        return got


def statuses(answer: bytes) -> list[int]:
    return [int(part.split(b" ", 1)[0]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def head(size: int, method: bytes = b"GET") -> bytes:
    """A whole head of so many bytes."""
    start = method + b" / HTTP/1.1\r\nhost: x\r\nconnection: close\r\npad: "
    return start + b"a" * (size - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize("size", [100, LIMIT - 1, LIMIT])
def test_a_head_up_to_the_limit_is_answered(port: int, size: int) -> None:
    assert len(head(size)) == size
    assert statuses(talk(port, head(size))) == [200]


@pytest.mark.parametrize(
    "long",
    [
        head(LIMIT + 1),
        b"GET /" + b"u" * LIMIT + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"name" * LIMIT + b": x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"n%d: x\r\n" % n for n in range(LIMIT)) + b"\r\n",
        b"\r\n" * LIMIT + b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["value", "path", "name", "many", "empty lines"],
)
@pytest.mark.parametrize("pieces", [1, 7])
def test_a_longer_head_is_refused_with_a_problem_document(port: int, long: bytes, pieces: int) -> None:
    step = -(-len(long) // pieces)
    answer = talk(port, *(long[at : at + step] for at in range(0, len(long), step)))
    if answer:  # nothing where the connection was closed before all was sent
        assert statuses(answer) == [431]
        top, _, body = answer.partition(b"\r\n\r\n")
        assert b"connection: close" in top
        assert b"content-type: application/problem+json" in top
        assert json.loads(body)["detail"] == f"Expected at most {LIMIT} bytes of line and headers, got more."


def test_who_stops_in_time_reads_why(port: int) -> None:
    assert statuses(talk(port, head(LIMIT + 1))) == [431]


def test_a_head_of_a_hundred_megabytes_is_neither_read_nor_kept(port: int) -> None:
    rest = b"a" * 100_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as line:
        line.sendall(b"GET / HTTP/1.1\r\npad: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            line.sendall(rest)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB
    assert statuses(talk(port, head(100))) == [200]


def test_bodies_are_no_part_of_the_head(port: int) -> None:
    body = b"b" * (20 * LIMIT)
    plain = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    assert talk(port, plain + body).endswith(b"[1, 3, %d]" % len(body))
    assert talk(port, plain, body[:1], body[1:]).endswith(b"[1, 3, %d]" % len(body))


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    top = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    return top + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def test_many_small_chunks_are_a_body(port: int) -> None:
    assert talk(port, chunked(*[b"c"] * LIMIT)).endswith(b"[1, 3, %d]" % LIMIT)


@pytest.mark.parametrize(
    "endless",
    [
        chunked(b"c", end=b"0\r\ntrailer: " + b"t" * (3 * LIMIT) + b"\r\n\r\n"),
        chunked(b"c", end=b"1;" + b"e" * (3 * LIMIT) + b"\r\nc\r\n0\r\n\r\n"),
    ],
    ids=["trailer", "extension"],
)
def test_what_lies_between_bodies_is_limited_too(port: int, endless: bytes) -> None:
    assert statuses(talk(port, endless)) == []  # the connection is closed: its answer had begun


def test_one_connection_asks_again_and_again(port: int) -> None:
    one = b"GET /" + b"u" * (LIMIT // 2) + b" HTTP/1.1\r\nhost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as line:
        for _ in range(5):
            line.sendall(one)
            assert line.recv(65_536).startswith(b"HTTP/1.1 200")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(100, LIMIT), min_size=1, max_size=6), st.integers(1, 3 * LIMIT))
def test_requests_in_a_row_are_all_answered_however_they_are_cut(port: int, sizes: list[int], step: int) -> None:
    keep = [head(size).replace(b"connection: close", b"connection: alive") for size in sizes]
    sent = b"".join([*keep, head(100)])
    answer = talk(port, *(sent[at : at + step] for at in range(0, len(sent), step)))
    assert statuses(answer) == [200] * (len(sizes) + 1)
