"""What every key-value backend promises; a new backend adds one line to BACKENDS."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.backends import ClosableKeyValue, open_key_value
from nextreel.types import Conflict

BACKENDS = {
    "memory": "memory://",
    "sqlite": "sqlite://{folder}/{name}.db",
    "redis": "{redis_url}?prefix={name}",
    "dynamodb": "{dynamodb_url}&prefix={name}",
}
MOST = {"dynamodb": 100}  # keys of one write, where there is a bound that tests can meet
MANY = {"dynamodb": 250}  # keys that are more than it reads at once; its stand-in is slow


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def fresh_url(
    backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Makes URLs, each of an empty store."""
    servers = {
        name: request.getfixturevalue(name) for name in ("redis_url", "dynamodb_url") if name in BACKENDS[backend]
    }
    folder = tmp_path_factory.mktemp("stores")
    numbers = itertools.count()
    return lambda: BACKENDS[backend].format(folder=folder, name=f"{os.getpid()}-{next(numbers)}", **servers)


@pytest.fixture
def store(fresh_url: Callable[[], str]) -> Iterator[ClosableKeyValue]:
    store = open_key_value(fresh_url())
    yield store
    store.close()


def test_a_missing_key_is_none_and_order_is_that_of_the_keys(store: ClosableKeyValue) -> None:
    store.put_many([("a", b"1", None), ("b", b"2", None)])
    assert store.get_many(["b", "missing", "a", "b"]) == [(b"2", 1), None, (b"1", 1), (b"2", 1)]


def test_nothing_asked_is_nothing_answered(store: ClosableKeyValue) -> None:
    assert store.get_many([]) == []
    store.put_many([])
    assert store.delete([]) == 0


def test_a_version_starts_at_one_and_grows_by_one(store: ClosableKeyValue) -> None:
    for version in (1, 2, 3):
        store.put_many([("a", b"value %d" % version, None)])
        assert store.get_many(["a"]) == [(b"value %d" % version, version)]


def test_expected_zero_writes_only_what_is_not_there(store: ClosableKeyValue) -> None:
    store.put_many([("a", b"first", 0)])
    with pytest.raises(Conflict, match=r"Expected no value under 'a', got version 1.*Hint"):
        store.put_many([("a", b"second", 0)])
    assert store.get_many(["a"]) == [(b"first", 1)]


def test_an_expected_version_must_be_the_one_there(store: ClosableKeyValue) -> None:
    store.put_many([("a", b"1", None)])
    store.put_many([("a", b"2", 1)])
    with pytest.raises(Conflict, match="Expected version 1 under 'a', got version 2"):
        store.put_many([("a", b"3", 1)])
    with pytest.raises(Conflict, match="Expected version 4 under 'b', got no value"):
        store.put_many([("b", b"3", 4)])


def test_one_conflict_leaves_everything_as_it_was(store: ClosableKeyValue) -> None:
    store.put_many([("a", b"1", None)])
    with pytest.raises(Conflict):
        store.put_many([("a", b"2", 1), ("b", b"2", None), ("a", b"3", 1)])
    assert store.get_many(["a", "b"]) == [(b"1", 1), None]
    store.put_many([("a", b"2", 1), ("a", b"3", 2)])
    assert store.get_many(["a"]) == [(b"3", 3)]


def test_deleted_keys_are_counted_and_start_again_at_one(store: ClosableKeyValue) -> None:
    store.put_many([("a", b"1", None), ("a", b"2", None)])
    assert store.delete(["a", "missing"]) == 1
    assert store.get_many(["a"]) == [None]
    store.put_many([("a", b"new", 0)])
    assert store.get_many(["a"]) == [(b"new", 1)]


def test_many_keys_and_odd_keys_are_kept(backend: str, store: ClosableKeyValue) -> None:
    keys = [f"user/{i}" for i in range(MANY.get(backend, 1500))] + ["", "nul\0inside", "ключ 🎬", "%_'\""]
    for start in range(0, len(keys), 100):
        store.put_many([(key, key.encode(), 0) for key in keys[start : start + 100]])
    assert store.get_many(keys) == [(key.encode(), 1) for key in keys]


def test_what_is_written_for_some_time_is_there_for_so_long_and_then_as_if_it_had_never_been(
    store: ClosableKeyValue,
) -> None:
    started = time.monotonic()
    store.put_many([("short", b"1", None), ("short", b"2", 1), ("kept", b"1", 0), ("again", b"1", 0)], seconds=0.5)
    store.put_many([("kept", b"2", 1)])
    store.put_many([("again", b"2", 1)], seconds=1000)
    assert store.get_many(["short", "kept", "again"]) == [(b"2", 2), (b"2", 2), (b"2", 2)]
    while store.get_many(["short"])[0] is not None:
        assert time.monotonic() - started < 2.5
        time.sleep(0.02)
    assert time.monotonic() - started > 0.49
    assert store.get_many(["short", "kept", "again"]) == [None, (b"2", 2), (b"2", 2)]
    assert store.delete(["short"]) == 0
    with pytest.raises(Conflict, match="Expected version 2 under 'short', got no value"):
        store.put_many([("short", b"3", 2)])
    store.put_many([("short", b"new", 0)])
    assert store.get_many(["short"]) == [(b"new", 1)]


@pytest.mark.parametrize("expected", [0, None])
def test_what_has_expired_is_in_nobodys_way(store: ClosableKeyValue, expected: int | None) -> None:
    store.put_many([("a", b"old", 0)], seconds=0.01)
    time.sleep(1.2)
    store.put_many([("b", b"1", 0), ("a", b"new", expected)])
    assert store.get_many(["a", "b"]) == [(b"new", 1), (b"1", 1)]


def test_writers_who_read_the_same_version_cannot_both_win(store: ClosableKeyValue) -> None:
    store.put_many([("count", b"0", None)])

    def add_one(_: int) -> None:
        while True:
            ((value, version),) = [pair for pair in store.get_many(["count"]) if pair]
            try:
                store.put_many([("count", b"%d" % (int(value) + 1), version)])
            except Conflict:
                continue
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_one, range(60)))
    assert store.get_many(["count"]) == [(b"60", 61)]


@settings(max_examples=25, deadline=None)
@given(
    items=st.lists(
        st.tuples(st.sampled_from("abc"), st.binary(max_size=4), st.sampled_from([None, 0, 1, 2])), max_size=6
    )
)
def test_it_agrees_with_a_dictionary_of_versions(
    fresh_url: Callable[[], str], items: list[tuple[str, bytes, int | None]]
) -> None:
    model: dict[str, tuple[bytes, int]] = {}
    with closing(open_key_value(fresh_url())) as store:
        for key, value, expected in items:
            version = model.get(key, (b"", 0))[1]
            if expected is not None and expected != version:
                with pytest.raises(Conflict):
                    store.put_many([(key, value, expected)])
            else:
                store.put_many([(key, value, expected)])
                model[key] = (value, version + 1)
        assert store.get_many(["a", "b", "c"]) == [model.get(key) for key in "abc"]


@settings(max_examples=25, deadline=None)
@given(
    there=st.lists(st.sampled_from("abc"), max_size=3),
    items=st.lists(
        st.tuples(st.sampled_from("abc"), st.binary(max_size=4), st.sampled_from([None, 0, 1, 2])), max_size=6
    ),
)
def test_many_writes_at_once_do_what_they_do_one_after_another_or_nothing(
    fresh_url: Callable[[], str], there: list[str], items: list[tuple[str, bytes, int | None]]
) -> None:
    with closing(open_key_value(fresh_url())) as store, closing(open_key_value("memory://")) as model:
        for one in (store, model):
            one.put_many([(key, b"old", None) for key in there])
        messages = []
        for one in (store, model):
            try:
                one.put_many(items)
            except Conflict as error:
                messages.append(str(error))
        assert messages in ([], messages[:1] * 2)
        assert store.get_many(["a", "b", "c"]) == model.get_many(["a", "b", "c"])


def test_as_many_keys_as_the_backend_takes_are_written_all_or_none(backend: str, store: ClosableKeyValue) -> None:
    keys = [f"user/{i}" for i in range(MOST.get(backend, 1500))]
    store.put_many([(keys[-1], b"there", None)])
    with pytest.raises(Conflict, match=f"'{keys[-1]}', got version 1"):
        store.put_many([(key, b"new", 0) for key in keys])
    assert store.get_many(keys) == [None] * (len(keys) - 1) + [(b"there", 1)]
    store.put_many([(key, b"new", None) for key in keys])
    assert store.get_many(keys) == [(b"new", 1)] * (len(keys) - 1) + [(b"new", 2)]


def test_of_many_threads_that_expect_one_version_exactly_one_wins_each_round(store: ClosableKeyValue) -> None:
    threads, rounds = 8, 6
    barrier = threading.Barrier(threads, timeout=30)

    def race(number: int) -> list[int]:
        won = []
        for version in range(rounds):
            barrier.wait()
            try:
                store.put_many([("race", b"%d" % number, version), (f"of {number}", b"", version)])
            except Conflict:
                # the other key must be as it was, and go on with the next round
                assert store.get_many([f"of {number}"]) == [(b"", version) if version else None]
                store.put_many([(f"of {number}", b"", version)])
            else:
                won.append(version)
            barrier.wait()
        return won

    with ThreadPoolExecutor(threads) as pool:
        won = list(pool.map(race, range(threads)))
    assert sorted(itertools.chain(*won)) == list(range(rounds))
    last = next(number for number, versions in enumerate(won) if rounds - 1 in versions)
    assert store.get_many(["race"]) == [(b"%d" % last, rounds)]


def test_keys_are_found_by_what_they_start_with(store: ClosableKeyValue) -> None:
    keys = ["user/i/7", "user/s/7", "user/s/*", "user/s/ü?[a]", "users", "User/s/7", "a"]
    store.put_many([(key, b"x", None) for key in keys])
    store.put_many([("user/short", b"x", None)], seconds=0.01)
    time.sleep(1.1)
    assert store.keys("user/s/") == sorted(["user/s/7", "user/s/*", "user/s/ü?[a]"])
    assert store.keys("user/s/*") == ["user/s/*"]
    assert store.keys("user/s/ü?[") == ["user/s/ü?[a]"]
    assert store.keys("") == sorted(keys)
    assert store.keys("nothing") == []


def test_a_key_is_erased_at_any_version_or_at_the_given_one_alone(store: ClosableKeyValue) -> None:
    store.put_many([("a", b"1", None), ("b", b"1", None), ("c", b"1", None)])
    store.put_many([("b", b"2", None)])
    assert store.erase([("a", 1), ("b", 1), ("c", None), ("missing", None), ("missing", 1)]) == 2
    assert store.get_many(["a", "b", "c"]) == [None, (b"2", 2), None]
    assert (store.erase([("b", 2)]), store.erase([("b", None)]), store.erase([])) == (1, 0, 0)
    store.put_many([("a", b"again", 0)])
    assert store.get_many(["a"]) == [(b"again", 1)]
