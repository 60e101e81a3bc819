"""A key-value store in one DynamoDB table, which needs no server of one's own.

An item holds `key`, `value`, `version` and `writer`, the name of the write that left it: a write whose answer was lost
is sent again by boto3, finds its own name there, and is done. Reads are strongly consistent. One that is not there for
good also holds `expires`, seconds since 1970: the service deletes it within days, and until then it counts as absent.
"""

from __future__ import annotations

import math
import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import SplitResult

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from nextreel.backends import urls
from nextreel.backends.errors import InvalidKey, InvalidUrl, TooLarge, Unreachable
from nextreel.backends.memory import conflict
from nextreel.backends.urls import PREFIX, TIMEOUTS, shown, split

ITEM_BYTES = 400 * 1024  # DynamoDB's bound of an item: the names and values of all its attributes
KEY_BYTES = 2048
WRITE_BYTES = 4 * 1024 * 1024  # of all items of one transaction
KEYS_PER_READ, KEYS_PER_WRITE = 100, 100
ATTEMPTS = 10  # of a read that was answered in part, or of a write that met another one; boto3 repeats the rest
_OVERHEAD = len("keyvalueversionwriterexpires") + 16 + 2 * 21  # bytes of names, of the writer and of two numbers
_NAMES = {"#value": "value", "#version": "version", "#writer": "writer", "#expires": "expires"}
_AGAIN = {"TransactionConflict", "TransactionConflictException", "ThrottlingError", "ProvisionedThroughputExceeded"}
_FAILED = {"ConditionalCheckFailed", "ConditionalCheckFailedException"}

Item: TypeAlias = dict[str, Any]


class DynamoKeyValue:
    """A key-value store of one table; safe between threads. Who may use the table is found by boto3's own chain."""

    def __init__(self, url: str) -> None:
        parts, options = split(url, ("region", "endpoint", "prefix", *TIMEOUTS))
        self._table = _table(url, parts)
        self._shown = shown(url)
        self._prefix = options.get("prefix", PREFIX) + ":"
        endpoint = options.get("endpoint")
        if endpoint is not None and (not endpoint.startswith(("http://", "https://")) or "@" in endpoint):
            raise InvalidUrl(
                f"Expected an endpoint that starts with http:// or https:// and has no user, got another "
                f"for {self._shown}. Hint: write it like '?endpoint=http://localhost:8000', or leave it out for AWS."
            )
        connect, read = urls.seconds(options)
        config = Config(
            connect_timeout=connect,
            read_timeout=read,
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=50,
        )
        with self._reached():
            self._client: Any = boto3.session.Session().client(
                "dynamodb", region_name=options.get("region"), endpoint_url=endpoint, config=config
            )

    def __repr__(self) -> str:
        return f"DynamoKeyValue({self._shown!r})"

    def get_many(self, keys: Sequence[str]) -> list[tuple[bytes, int] | None]:
        """Value and version for each key, None where there is none."""
        found = {key: item for key, item in self._items(keys).items() if not _expired(item)}
        return [(item["value"]["B"], int(item["version"]["N"])) if (item := found.get(key)) else None for key in keys]

    def _items(self, keys: Sequence[str]) -> dict[str, Item]:
        """What lies under those of the keys that are there, expired or not."""
        names = {self._key(key): key for key in keys}
        waiting = list(names)
        found: dict[str, Item] = {}
        failures = 0
        while waiting:
            page = [{"key": {"S": name}} for name in waiting[:KEYS_PER_READ]]
            asked = {self._table: {"Keys": page, "ConsistentRead": True}}
            with self._reached():
                answer = self._client.batch_get_item(RequestItems=asked)
            for item in answer["Responses"].get(self._table, ()):
                found[names[item["key"]["S"]]] = item
            left = [one["key"]["S"] for one in answer["UnprocessedKeys"].get(self._table, {}).get("Keys", ())]
            waiting = left + waiting[KEYS_PER_READ:]
            if left:  # more than 16 MB, or more than the table's throughput
                failures = failures + 1 if len(left) == len(page) else 0
                self._wait(failures, "unprocessed keys")
        return found

    def put_many(self, items: Sequence[tuple[str, bytes, int | None]], seconds: float | None = None) -> None:
        """Writes all or none; `Conflict` when a version differs from the expected one. At most 100 keys."""
        if not items:
            return
        writer = uuid.uuid4().bytes
        updates = self._updates(items, writer, None if seconds is None else math.ceil(time.time() + seconds))
        failures = 0
        while (code := self._sent(updates)) is not None:
            if code in _FAILED:
                there = self._living([key for key, _, _ in items])
                if there and all(item["writer"]["B"] == writer for item in there.values()):
                    return  # an earlier attempt was written, only its answer was lost
                _check(items, there)  # passes where what was met has expired, and is deleted by now
            failures += 1
            self._wait(failures, code)

    def _living(self, keys: Sequence[str]) -> dict[str, Item]:
        """What lies under those of the keys that are there; what has expired is deleted."""
        there = self._items(keys)
        for key in [key for key, item in there.items() if _expired(item)]:
            del there[key]
            self._delete(self._key(key), expired=True)
        return there

    def _updates(
        self, items: Sequence[tuple[str, bytes, int | None]], writer: bytes, expires: int | None
    ) -> list[Item]:
        """One conditional update for each key: a transaction takes a key once, however often it is written."""
        last = {key: bytes(value) for key, value, _ in items}
        if len(last) > KEYS_PER_WRITE:
            raise TooLarge(
                f"Expected at most {KEYS_PER_WRITE} keys in one write, got {len(last):,}: DynamoDB writes no more "
                "all or none. Nothing was written. Hint: write them in parts, each of which is all or none."
            )
        size = sum(map(self._size, last, last.values()))
        if size > WRITE_BYTES:
            raise TooLarge(
                f"Expected at most {WRITE_BYTES:,} bytes in one write, got {size:,} under {len(last)} keys. "
                "Nothing was written. Hint: write them in parts, each of which is all or none."
            )
        writes = dict.fromkeys(last, 0)
        before: dict[str, int] = {}  # the version under the key before the first write, as far as one is expected
        for key, _, expected in items:
            if expected is not None:
                before.setdefault(key, expected - writes[key])
                if before[key] != expected - writes[key]:  # two that cannot both be there
                    _check(items, self._living([one for one, _, _ in items]))
            writes[key] += 1
        return [self._update(key, value, writes[key], before.get(key), writer, expires) for key, value in last.items()]

    def _size(self, key: str, value: bytes) -> int:
        """Bytes of the item, which the bound of one item and that of a write are about."""
        size = len(self._key(key).encode()) + len(value) + _OVERHEAD
        if size > ITEM_BYTES:
            raise TooLarge(
                f"Expected an item of at most {ITEM_BYTES:,} bytes under {key!r}, got {size:,}: DynamoDB keeps no "
                "larger one. Nothing was written. Hint: keep fewer events of a person, or use redis:// or sqlite://."
            )
        return size

    def _update(
        self, key: str, value: bytes, writes: int, before: int | None, writer: bytes, expires: int | None
    ) -> Item:
        values: Item = {":value": {"B": value}, ":writer": {"B": writer}, ":writes": {"N": str(writes)}, **_now()}
        until = " REMOVE #expires"
        if expires is not None:
            until, values[":expires"] = ", #expires = :expires", {"N": str(expires)}
        if before is None:
            condition = "attribute_not_exists(#writer) OR #writer <> :writer"
        elif before == 0:
            condition = "attribute_not_exists(#version)"
        else:
            condition, values[":before"] = "#version = :before", {"N": str(before)}
        return {
            "TableName": self._table,
            "Key": {"key": {"S": self._key(key)}},
            "UpdateExpression": f"SET #value = :value, #writer = :writer{until} ADD #version :writes",
            "ConditionExpression": f"({condition}) AND (attribute_not_exists(#expires) OR #expires > :now)",
            "ExpressionAttributeNames": _NAMES,
            "ExpressionAttributeValues": values,
        }

    def _sent(self, updates: list[Item]) -> str | None:
        """None once the updates are written; why they are not where that can be looked into, or sent again."""
        try:
            with self._reached():
                if len(updates) == 1:  # costs half of what a transaction does
                    self._client.update_item(**updates[0])
                else:
                    self._client.transact_write_items(TransactItems=[{"Update": update} for update in updates])
        except Unreachable as error:
            codes = _codes(error.__cause__)
            for known in (_FAILED, _AGAIN):
                if met := codes & known:
                    return met.pop()
            raise
        return None

    def delete(self, keys: Sequence[str]) -> int:
        """How many of the keys were there; each is deleted by itself."""
        return sum(self._delete(self._key(key)) for key in keys)

    def erase(self, items: Sequence[tuple[str, int | None]]) -> int:
        """How many of the keys were there, at the version where one is given; each is deleted by itself."""
        return sum(self._delete(self._key(key), version=version) for key, version in items)

    def keys(self, prefix: str) -> list[str]:
        """Every key that starts with the prefix, sorted; the whole table is read."""
        asked: Item = {
            "TableName": self._table,
            "FilterExpression": "begins_with(#key, :prefix) AND (attribute_not_exists(#expires) OR #expires > :now)",
            "ProjectionExpression": "#key",
            "ExpressionAttributeNames": {"#key": "key", "#expires": "expires"},
            "ExpressionAttributeValues": {":prefix": {"S": self._prefix + prefix}, **_now()},
            "ConsistentRead": True,
        }
        found: list[str] = []
        while True:
            with self._reached():
                answer = self._client.scan(**asked)
            found += [item["key"]["S"].removeprefix(self._prefix) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                return sorted(found)
            asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _delete(self, name: str, *, expired: bool = False, version: int | None = None) -> bool:
        """Whether something was there; with `expired` or a version, only what has expired or is of it is deleted."""
        asked: Item = {"TableName": self._table, "Key": {"key": {"S": name}}, "ReturnValues": "ALL_OLD"}
        if version is not None:
            asked |= {
                "ConditionExpression": "#version = :version",
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":version": {"N": str(version)}},
            }
        if expired:
            asked |= {
                "ConditionExpression": "#expires <= :now",
                "ExpressionAttributeNames": {"#expires": "expires"},
                "ExpressionAttributeValues": _now(),
            }
        failures = 0
        while True:
            try:
                with self._reached():
                    there: Item = self._client.delete_item(**asked).get("Attributes", {})
            except Unreachable as error:
                codes = _codes(error.__cause__)
                if (expired or version is not None) and codes & _FAILED:  # it is deleted, or written anew
                    return False
                if not codes & _AGAIN:
                    raise
                failures += 1
                self._wait(failures, "a write to the same key")
            else:
                return bool(there) and not _expired(there)

    def create_table(self) -> None:
        """Creates the table, paid by request, and waits until it can be used."""
        with self._reached():
            self._client.create_table(
                TableName=self._table,
                AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
            self._client.get_waiter("table_exists").wait(
                TableName=self._table, WaiterConfig={"Delay": 2, "MaxAttempts": 60}
            )
            self._client.update_time_to_live(
                TableName=self._table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
            )

    def close(self) -> None:
        """Closes all connections; a store that is used again opens new ones."""
        self._client.close()

    def _key(self, key: str) -> str:
        name = self._prefix + key  # never empty, which DynamoDB would refuse
        if len(name.encode()) > KEY_BYTES:
            raise InvalidKey(
                f"Expected a key of at most {KEY_BYTES:,} bytes with its prefix, got {len(name.encode()):,}: "
                f"{key!r:.80}. Hint: DynamoDB takes no longer ones; shorten the id."
            )
        return name

    def _wait(self, failures: int, why: str) -> None:
        """Sleeps longer with each failure in a row, up to a tenth of a second; gives up after too many."""
        if failures >= ATTEMPTS:
            raise Unreachable(
                f"Expected {self._shown} to take what was asked in {ATTEMPTS} attempts, got {why} each time. "
                "Hint: the table's throughput is too low, or too many write the same keys."
            )
        time.sleep(random.SystemRandom().uniform(0, min(0.1, 0.005 * 2**failures)))

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise Unreachable(
                f"Expected an answer of {self._shown}, got {type(error).__name__}: {error}. Hint: check that the table "
                "exists, the region ('?region=eu-west-1'), and the credentials that boto3 finds."
            ) from error


def create_table(url: str) -> None:
    """Creates the table of a `dynamodb://` URL, paid by request, and waits until it can be used."""
    store = DynamoKeyValue(url)
    try:
        store.create_table()
    finally:
        store.close()


def _table(url: str, parts: SplitResult) -> str:
    name = parts.netloc  # `hostname` would be in small letters
    if not name or "@" in name or ":" in name or parts.path.strip("/"):
        raise InvalidUrl(
            f"Expected dynamodb://table, got {shown(url)!r}. Hint: write it like 'dynamodb://states?region=eu-west-1'; "
            "credentials are never part of it, boto3 finds them."
        )
    return name


def _check(items: Sequence[tuple[str, bytes, int | None]], there: Mapping[str, Item]) -> None:
    """Raises `Conflict` for the first write that expects another version than the one it would find."""
    now = {key: int(item["version"]["N"]) for key, item in there.items()}
    for key, _, expected in items:
        found = now.get(key, 0)
        if expected is not None and expected != found:
            raise conflict(key, expected, found)
        now[key] = found + 1


def _now() -> Item:
    return {":now": {"N": str(int(time.time()))}}


def _expired(item: Item) -> bool:
    return "expires" in item and int(item["expires"]["N"]) <= time.time()


def _codes(error: BaseException | None) -> set[str]:
    """What the service calls the error, and each reason for which it cancelled a transaction."""
    if not isinstance(error, ClientError):
        return set()
    response: Mapping[str, Any] = error.response
    reasons = response.get("CancellationReasons", ())
    return {response["Error"]["Code"], *(reason.get("Code", "None") for reason in reasons)}
