from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nextreel.retrieval import index as indexes
from nextreel.retrieval import live_index
from nextreel.retrieval.index import VectorIndexError
from nextreel.retrieval.live_index import LiveIndex


def _live(n: int = 5, rebuild_at: int = 20_000) -> LiveIndex:
    return LiveIndex(indexes.build(np.eye(n, 5, dtype=np.float32)), rebuild_at)


def test_many_vectors_beside_the_index_are_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    live = _live(rebuild_at=3)
    live.add(np.ones((3, 5), np.float32))
    assert caplog.text == ""
    live.add(np.ones((1, 5), np.float32))
    live.add(np.ones((1, 5), np.float32))
    assert caplog.text.count("4 vectors lie beside an index of 5") == 1
    assert "Hint" in caplog.text


def test_the_index_below_stays_as_it_was_built() -> None:
    live = _live()
    before = live.base.search(np.ones(5, np.float32), 5)[0].tolist()
    live.remove(np.array([0, 1]))
    live.update(np.array([2]), np.full((1, 5), 9, np.float32))
    assert live.base.search(np.ones(5, np.float32), 5)[0].tolist() == before


def test_an_index_without_changes_is_read_as_one(tmp_path: Path) -> None:
    _live().base.save(tmp_path)
    assert len(live_index.load(tmp_path)) == 5


def test_changes_of_another_index_are_refused(tmp_path: Path) -> None:
    _live(5).save(tmp_path / "five")
    _live(4).save(tmp_path / "four")
    (tmp_path / "five" / "changes.npz").replace(tmp_path / "four" / "changes.npz")
    with pytest.raises(VectorIndexError, match=r"4 rows in .*; got those of one of 5.*Hint"):
        live_index.load(tmp_path / "four")


def test_a_file_of_changes_that_was_cut_is_refused(tmp_path: Path) -> None:
    _live().save(tmp_path)
    path = tmp_path / "changes.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(VectorIndexError, match=r"Expected the changes of an index in .*Hint"):
        live_index.load(tmp_path)


def test_vectors_can_be_added_to_an_empty_index() -> None:
    live = _live(0)
    assert live.add(np.eye(2, 5, dtype=np.float32)).tolist() == [0, 1]
    assert live.search(np.eye(5, dtype=np.float32)[1], 5)[0].tolist() == [1, 0]


def _changed(live: LiveIndex) -> LiveIndex:
    """With a row added, one with another vector, one removed, and one that was changed and then removed."""
    live.add(np.full((2, 5), 0.5, np.float32))
    live.update(np.array([1, 2, 6]), np.full((3, 5), 0.25, np.float32))
    live.remove(np.array([2, 4, 6]))
    return live


def test_a_view_reads_like_an_index_of_the_vectors_that_there_are() -> None:
    view = _changed(_live()).view
    assert (len(view), view.kind, view.found) == (7, "flat", 4)
    expected = np.vstack([np.eye(5), np.full((2, 5), 0.5)]).astype(np.float32)
    expected[[1, 2, 6]] = 0.25
    np.testing.assert_array_equal(view.vectors, expected)
    np.testing.assert_array_equal(view.of(np.array([6, 0, 1, 5])), expected[[6, 0, 1, 5]])
    assert view.of(np.empty(0, np.int32)).shape == (0, 5)
    query = np.array([5, 4, 3, 2, 1], np.float32)
    np.testing.assert_allclose(view.scores(query), expected @ query, rtol=1e-6)
    for exclude in None, np.array([5, 0, 99]):
        rows, scores = view.best(view.scores(query), 9, exclude)
        searched = view.search(query, 9, exclude)
        assert rows.tolist() == searched[0].tolist() == ([5, 0, 1, 3] if exclude is None else [1, 3])
        np.testing.assert_allclose(scores, searched[1], rtol=1e-6)


def test_a_view_stays_as_it_was_and_so_does_what_was_forked() -> None:
    live = _live()
    view, fork = live.view, live.fork()
    _changed(live)
    assert (len(view), len(fork), len(live)) == (5, 5, 4)
    fork.remove(np.array([0]))
    assert (len(live), len(fork)) == (4, 4)
    assert live.search(np.eye(5, dtype=np.float32)[0], 1)[0].tolist() == [0]


def test_removed_rows_are_gone_and_keep_their_vectors_after_a_restart(tmp_path: Path) -> None:
    live = _changed(_live())
    live.save(tmp_path)
    again = live_index.load(tmp_path)
    np.testing.assert_array_equal(again.view.vectors, live.view.vectors)
    assert again.search(np.ones(5, np.float32), 9)[0].tolist() == live.search(np.ones(5, np.float32), 9)[0].tolist()
    assert again.add(np.ones((1, 5), np.float32)).tolist() == [7]
