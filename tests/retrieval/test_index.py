from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.retrieval import index as indexes
from nextreel.retrieval.index import IndexKind, IndexParams, VectorIndexError
from nextreel.types import FloatArray, VectorIndex

KINDS: tuple[IndexKind, ...] = ("flat", "hnsw", "ivf")


def _vectors(n: int, seed: int = 0) -> FloatArray:
    vectors = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _params(kind: IndexKind) -> IndexParams:
    return IndexParams(kind=kind, probes=32)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_finds_what_exact_search_finds(kind: IndexKind) -> None:
    vectors = _vectors(600)
    index = indexes.build(vectors, _params(kind))
    found = 0
    for query in vectors[:20]:
        rows, scores = index.search(query, 10)
        assert scores == pytest.approx(vectors[rows] @ query, abs=1e-5)
        assert (np.diff(scores) <= 0).all()
        found += len(set(rows.tolist()) & set(np.argsort(-(vectors @ query))[:10].tolist()))
    assert found >= 180  # recall 0.9
    assert isinstance(index, VectorIndex)


@pytest.mark.parametrize("kind", KINDS)
def test_excluded_rows_are_replaced_by_the_next_best(kind: IndexKind) -> None:
    vectors = _vectors(300)
    index = indexes.build(vectors, _params(kind))
    best, _ = index.search(vectors[5], 10)
    rows, _ = index.search(vectors[5], 10, exclude=best[:4])
    assert len(rows) == 10
    assert not set(rows.tolist()) & set(best[:4].tolist())
    assert rows[:6].tolist() == best[4:].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_index_answers_the_same_from_mapped_memory(kind: IndexKind, tmp_path: Path) -> None:
    index = indexes.build(_vectors(300), _params(kind))
    index.save(tmp_path)
    loaded = indexes.load(tmp_path)
    query = _vectors(1, seed=9)[0]
    assert loaded.search(query, 20)[0].tolist() == index.search(query, 20)[0].tolist()
    assert isinstance(loaded.vectors.base, np.memmap)


def test_the_kind_follows_the_size() -> None:
    params = IndexParams()
    assert [params.kind_for(n) for n in (100, 20_001, 1_000_000)] == ["flat", "hnsw", "ivf"]


def test_an_empty_index_finds_nothing() -> None:
    rows, scores = indexes.build(np.empty((0, 4), np.float32)).search(np.ones(4, np.float32), 5)
    assert len(rows) == len(scores) == 0


def test_vectors_that_are_not_numbers_are_refused_with_their_row() -> None:
    vectors = _vectors(4)
    vectors[2, 1] = np.nan
    with pytest.raises(VectorIndexError, match="row 2"):
        indexes.build(vectors)


def test_a_query_of_another_length_is_refused() -> None:
    with pytest.raises(VectorIndexError, match="shape"):
        indexes.build(_vectors(4)).search(np.ones(3, np.float32), 1)


def test_a_folder_of_two_builds_is_refused(tmp_path: Path) -> None:
    indexes.build(_vectors(50), _params("hnsw")).save(tmp_path)
    np.save(tmp_path / "vectors.npy", _vectors(40))
    with pytest.raises(VectorIndexError, match="Hint"):
        indexes.load(tmp_path)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 50), st.sets(st.integers(0, 39)))
def test_a_flat_search_never_repeats_or_invents_a_row(n: int, k: int, exclude: set[int]) -> None:
    rows, _ = indexes.build(_vectors(n)).search(_vectors(1, 3)[0], k, np.array(sorted(exclude), np.int64))
    left = set(range(n)) - exclude
    assert len(rows) == min(k, len(left))
    assert len(set(rows.tolist())) == len(rows)
    assert set(rows.tolist()) <= left
