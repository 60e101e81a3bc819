"""What every vector index that changes promises; a new kind adds one word to KINDS."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Protocol

import numpy as np
import pytest

from nextreel.retrieval import index as indexes
from nextreel.retrieval import live_index
from nextreel.retrieval.index import IndexKind, IndexParams, VectorIndexError
from nextreel.retrieval.live_index import LiveIndex
from nextreel.types import FloatArray, VectorIndex

KINDS: tuple[IndexKind, ...] = ("flat", "hnsw", "ivf", "sq8")
N = 400


class Sized(VectorIndex, Protocol):
    """An index of which a test asks how many rows are there."""

    def __len__(self) -> int: ...


def _vectors(n: int, seed: int = 0) -> FloatArray:
    vectors = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _live(kind: IndexKind) -> LiveIndex:
    """Searched so widely that what is asked for is found: what these tests look for are the changes."""
    return LiveIndex(indexes.build(_vectors(N), IndexParams(kind=kind, recall_at_least=1.0)))


@pytest.fixture(params=KINDS)
def local(request: pytest.FixtureRequest) -> LiveIndex:
    return _live(request.param)


@pytest.fixture(params=[*KINDS, "milvus"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sized]:
    if request.param != "milvus":
        yield _live(request.param)
        return
    pytest.importorskip("milvus_lite")
    from nextreel.retrieval.milvus import open_milvus  # noqa: PLC0415

    with closing(open_milvus(str(tmp_path / "milvus.db"), 8)) as remote:
        remote.add(_vectors(N))
        yield remote


def _exact(vectors: dict[int, FloatArray], query: FloatArray, k: int) -> list[int]:
    return sorted(vectors, key=lambda row: -float(vectors[row] @ query))[:k]


def test_a_search_answers_what_exact_search_does_with_the_inner_products(index: Sized) -> None:
    vectors = _vectors(N)
    for query in _vectors(20, seed=1):
        rows, scores = index.search(query, 10)
        assert rows.tolist() == np.argsort(-(vectors @ query))[:10].tolist()
        assert scores == pytest.approx(vectors[rows] @ query, abs=1e-5)


def test_an_index_that_changes_keeps_the_protocol(index: Sized) -> None:
    assert isinstance(index, VectorIndex)


def test_answers_after_many_changes_are_those_of_a_plain_search_over_what_is_left(index: Sized) -> None:
    now: dict[int, FloatArray] = dict(enumerate(_vectors(N)))
    rng = np.random.default_rng(7)
    for step in range(30):
        match step % 3:
            case 0:
                new = _vectors(5, seed=100 + step)
                now |= dict(zip(index.add(new).tolist(), new, strict=True))
            case 1:
                rows = rng.choice(sorted(now), 4, replace=False)
                moved = _vectors(4, seed=200 + step)
                index.update(rows, moved)
                now |= dict(zip(rows.tolist(), moved, strict=True))
            case _:
                rows = rng.choice(sorted(now), 12, replace=False)
                assert index.remove(rows) == 12
                for row in rows.tolist():
                    del now[row]
        query = _vectors(1, seed=300 + step)[0]
        exclude = np.asarray(_exact(now, query, 3), np.int32)
        assert index.search(query, 8)[0].tolist() == _exact(now, query, 8)
        assert index.search(query, 8, exclude)[0].tolist() == _exact(now, query, 11)[3:]


def test_an_added_vector_is_found_at_once_and_gets_the_next_row(index: Sized) -> None:
    query = _vectors(1, seed=1)[0]
    assert index.add(np.stack([2 * query, 3 * query])).tolist() == [N, N + 1]
    rows, scores = index.search(query, 2)
    assert rows.tolist() == [N + 1, N]
    assert scores == pytest.approx([3.0, 2.0], abs=1e-5)


def test_a_removed_row_is_not_found_and_its_number_is_not_given_again(index: Sized) -> None:
    query = _vectors(1, seed=1)[0]
    best = index.search(query, 5)[0]
    assert index.remove(best[:2]) == 2
    assert index.search(query, 3)[0].tolist() == best[2:].tolist()
    assert index.remove(best[:3]) == 1
    (added,) = index.add(query[None]).tolist()
    assert index.remove(np.array([added])) == 1
    assert index.add(query[None]).tolist() == [added + 1]


def test_a_row_that_was_removed_comes_back_with_a_new_vector(index: Sized) -> None:
    query = _vectors(1, seed=1)[0]
    index.remove(np.array([4]))
    index.update(np.array([4]), 2 * query[None])
    rows, scores = index.search(query, 1)
    assert rows.tolist() == [4]
    assert scores[0] == pytest.approx(2.0, abs=1e-5)


def test_an_index_from_which_everything_was_removed_finds_nothing(index: Sized) -> None:
    assert index.remove(np.arange(N)) == N
    assert len(index) == 0
    assert len(index.search(_vectors(1)[0], 5)[0]) == 0
    assert index.add(_vectors(1)).tolist() == [N]
    assert index.search(_vectors(1)[0], 5)[0].tolist() == [N]


def test_most_of_the_rows_can_be_removed_and_the_rest_is_found(index: Sized) -> None:
    left = np.arange(0, N, 20)
    index.remove(np.setdiff1d(np.arange(N), left))
    query = _vectors(1, seed=1)[0]
    expected = left[np.argsort(-(_vectors(N)[left] @ query))]
    assert index.search(query, 10)[0].tolist() == expected[:10].tolist()


def test_changes_are_there_when_the_index_is_read_again(local: LiveIndex, tmp_path: Path) -> None:
    local.save(tmp_path)
    query = _vectors(1, seed=1)[0]
    local.add(_vectors(3, seed=2))
    local.update(np.array([0, N]), np.stack([2 * query, 3 * query]))
    local.remove(np.array([1, 2, N + 2]))
    local.save(tmp_path)
    loaded = live_index.load(tmp_path)
    assert len(loaded) == len(local) == N
    assert loaded.search(query, 30)[0].tolist() == local.search(query, 30)[0].tolist()
    assert loaded.search(query, 2)[0].tolist() == [N, 0]
    assert loaded.add(query[None]).tolist() == [N + 3]  # a number is not given again after a restart


@pytest.mark.parametrize("rows", [[-1], [N]])
def test_rows_that_were_never_given_out_are_refused_and_change_nothing(index: Sized, rows: list[int]) -> None:
    with pytest.raises(VectorIndexError, match=f"from 0 to {N - 1}; got {rows[0]}"):
        index.remove(np.array([0, *rows]))
    with pytest.raises(VectorIndexError, match=f"from 0 to {N - 1}; got {rows[0]}"):
        index.update(np.array(rows), _vectors(1))
    assert len(index) == N


def test_vectors_that_do_not_fit_are_refused_and_change_nothing(index: Sized) -> None:
    with pytest.raises(VectorIndexError, match="8 dimensions; got 3"):
        index.add(np.ones((1, 3), np.float32))
    with pytest.raises(VectorIndexError, match="row 0 is not"):
        index.add(np.full((1, 8), np.nan, np.float32))
    with pytest.raises(VectorIndexError, match="no row twice"):
        index.update(np.array([1, 1]), _vectors(2))
    with pytest.raises(VectorIndexError, match="shape"):
        index.search(np.ones(3, np.float32), 1)
    assert len(index) == N


def test_rows_in_milvus_are_there_when_it_is_opened_again(tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite")
    from nextreel.retrieval.milvus import open_milvus  # noqa: PLC0415

    query, path = _vectors(1, seed=1)[0], str(tmp_path / "milvus.db")
    with closing(open_milvus(path, 8)) as remote:
        remote.add(np.stack([query, 2 * query, 3 * query]))
        remote.remove(np.array([2]))
    with closing(open_milvus(path, 8)) as again:
        assert again.search(query, 5)[0].tolist() == [1, 0]
        assert again.add(query[None]).tolist() == [3]  # the number of the removed row is not given again
    with pytest.raises(VectorIndexError, match=r"of 4 dimensions in the collection 'videos'; got 8.*Hint"):
        open_milvus(path, 4)


def test_searches_beside_changes_never_see_half_of_one(local: LiveIndex) -> None:
    # two rows are always given equal vectors together: a search that finds them with two scores saw half a change
    query = _vectors(1, seed=1)[0]
    pair = local.add(np.stack([9 * query, 9 * query]))
    done = Event()

    def change() -> None:
        for step in range(150):
            local.update(pair, np.repeat((10 + step) * query[None], 2, axis=0))
        done.set()

    def watch() -> list[float]:
        seen: list[float] = []
        while not done.is_set() or not seen:
            rows, scores = local.search(query, 2)
            assert rows.tolist() == pair.tolist()
            assert scores[0] == scores[1]
            seen.append(float(scores[0]))
        return seen

    with ThreadPoolExecutor(3) as pool:
        watchers = [pool.submit(watch) for _ in range(2)]
        pool.submit(change).result()
        for watcher in watchers:
            seen = watcher.result()
            assert seen == sorted(seen)
    assert local.search(query, 1)[1][0] == pytest.approx(159, rel=1e-5)


def test_threads_that_add_at_once_get_rows_of_their_own(index: Sized) -> None:
    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(lambda seed: index.add(_vectors(3, seed)), range(40)))
    assert sorted(np.concatenate(given).tolist()) == list(range(N, N + 120))
    for seed, rows in enumerate(given):
        vectors = _vectors(3, seed)
        for row, vector in zip(rows.tolist(), vectors, strict=True):
            found, scores = index.search(vector, 2)
            assert row in found[scores > 1 - 1e-5].tolist()
