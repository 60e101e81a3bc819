"""What every key-value backend promises; a new backend adds one line to BACKENDS."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.backends import ClosableKeyValue, open_key_value
from nextreel.types import Conflict

BACKENDS = {
    "memory": "memory://",
    "sqlite": "sqlite://{folder}/state.db",
}


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClosableKeyValue]:
    store = open_key_value(BACKENDS[request.param].format(folder=tmp_path))
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


def test_many_keys_and_odd_keys_are_kept(store: ClosableKeyValue) -> None:
    keys = [f"user/{i}" for i in range(1500)] + ["", "nul\0inside", "ключ 🎬", "%_'\""]
    store.put_many([(key, key.encode(), 0) for key in keys])
    assert store.get_many(keys) == [(key.encode(), 1) for key in keys]


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


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=25, deadline=None)
@given(
    items=st.lists(
        st.tuples(st.sampled_from("abc"), st.binary(max_size=4), st.sampled_from([None, 0, 1, 2])), max_size=6
    )
)
def test_it_agrees_with_a_dictionary_of_versions(backend: str, items: list[tuple[str, bytes, int | None]]) -> None:
    model: dict[str, tuple[bytes, int]] = {}
    with TemporaryDirectory() as folder, closing(open_key_value(BACKENDS[backend].format(folder=folder))) as store:
        for key, value, expected in items:
            version = model.get(key, (b"", 0))[1]
            if expected is not None and expected != version:
                with pytest.raises(Conflict):
                    store.put_many([(key, value, expected)])
            else:
                store.put_many([(key, value, expected)])
                model[key] = (value, version + 1)
        assert store.get_many(["a", "b", "c"]) == [model.get(key) for key in "abc"]
