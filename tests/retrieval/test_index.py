from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.retrieval import index as indexes
from nextreel.retrieval._faiss import Approximate, expected_bytes
from nextreel.retrieval.index import IndexKind, IndexParams, VectorIndexError
from nextreel.types import FloatArray

KINDS: tuple[IndexKind, ...] = ("flat", "hnsw", "ivf", "sq8")


def _vectors(n: int, seed: int = 0) -> FloatArray:
    vectors = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _params(kind: IndexKind) -> IndexParams:
    return IndexParams(kind=kind)


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
    assert [params.kinds_for(n, 64)[0] for n in (100, 20_001, 1_000_000)] == ["flat", "hnsw", "ivf"]


def test_memory_decides_whether_vectors_or_codes_are_kept() -> None:
    kinds = [IndexParams(memory_limit_mb=mb).kinds_for(1_000_000, 64) for mb in (600, 500, 100, 10)]
    assert kinds == [("ivf", "hnsw", "flat"), ("ivf", "flat"), ("sq8", "flat"), ("flat",)]


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "sq8"])
def test_an_index_takes_about_as_many_bytes_as_were_expected(kind: Approximate, tmp_path: Path) -> None:
    index = indexes.build(_vectors(3000), IndexParams(kind=kind))
    index.save(tmp_path)
    assert index.measured is not None
    assert index.measured.bytes == (tmp_path / "index.faiss").stat().st_size
    assert index.measured.bytes == pytest.approx(expected_bytes(kind, 3000, 8, IndexParams()), rel=0.1)


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "sq8"])
def test_a_search_is_as_wide_as_the_wanted_recall_needs_and_says_what_it_finds(kind: IndexKind, tmp_path: Path) -> None:
    vectors, queries = _vectors(4000), _vectors(60, seed=5)
    loose, strict = (
        indexes.build(vectors, IndexParams(kind=kind, recall_at_least=least, recall_at=10, links=4, lists=64), queries)
        for least in (0.5, 0.99)
    )
    assert loose.measured is not None
    assert strict.measured is not None
    assert 0.5 <= loose.measured.recall < 0.99 <= strict.measured.recall
    assert loose.width < strict.width
    hits = 0
    for query in queries:  # counted again here, from what the index answers
        hits += len(set(strict.search(query, 10)[0].tolist()) & set(np.argsort(-(vectors @ query))[:10].tolist()))
    assert hits / 600 == pytest.approx(strict.measured.recall, abs=1e-9)
    strict.save(tmp_path)
    assert indexes.load(tmp_path).about() == strict.about()
    assert strict.about()["recall"] == strict.measured.recall


def test_a_kind_that_finds_too_little_is_left_for_the_next_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    # one list of ten, a tenth of the vectors, cannot hold the best hundred
    params = IndexParams(flat_up_to=10, hnsw_up_to=20, lists=10, probes=1)
    assert indexes.build(_vectors(2000), params).kind == "hnsw"
    assert "ivf finds 0." in caplog.text
    assert "at width 1, and hnsw is taken" in caplog.text


def test_when_no_approximate_kind_finds_enough_search_is_exact(caplog: pytest.LogCaptureFixture) -> None:
    params = IndexParams(flat_up_to=10, lists=10, probes=1, links=2, build_width=1, search_width=1)
    index = indexes.build(_vectors(2000), params)
    assert (index.kind, index.measured) == ("flat", None)
    assert "ivf is taken" in caplog.text
    assert "flat is taken" in caplog.text


def test_a_kind_that_was_asked_for_is_kept_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    kept = indexes.build(_vectors(2000), IndexParams(kind="ivf", lists=10, probes=1))
    assert kept.kind == "ivf"
    assert kept.measured is not None
    assert kept.measured.recall < 0.98
    assert "is kept" in caplog.text


def test_equal_vectors_are_as_good_as_each_other_when_recall_is_measured() -> None:
    vectors = np.repeat(_vectors(10), 50, axis=0)
    index = indexes.build(vectors, IndexParams(kind="ivf", lists=10, probes=1, recall_at=10), _vectors(10))
    assert index.measured is not None
    assert index.measured.recall == 1.0


def test_an_index_of_a_release_made_before_recall_was_measured_is_read(tmp_path: Path) -> None:
    index = indexes.build(_vectors(400), IndexParams(kind="ivf", probes=7))
    index.save(tmp_path)
    about = json.loads((tmp_path / "index.json").read_text())
    del about["width"], about["measured"]
    (tmp_path / "index.json").write_text(json.dumps(about))
    loaded = indexes.load(tmp_path)
    assert (loaded.width, loaded.measured) == (7, None)


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
