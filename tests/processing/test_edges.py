"""Data sets at the edge of what there is: one person, nothing liked, no times, no events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nextreel.processing import ProcessingError, ProcessingParams, ProcessingPipeline

if TYPE_CHECKING:
    import pyarrow as pa

    from nextreel.data import Dataset

Rows = Callable[[Path], "dict[str, pa.Table]"]


@dataclass(frozen=True)
class Odd:
    """A data set at the edge of what there is, and how many liked rows it has in all."""

    name: str
    change: Callable[[Dataset], Dataset]
    liked: bool = True


def _only(dataset: Dataset, which: Any) -> Dataset:
    return replace(dataset, events=dataset.events.take(np.flatnonzero(which)))


def _with(dataset: Dataset, **columns: Any) -> Dataset:
    return replace(dataset, events=replace(dataset.events, **columns))


def _about_channels(dataset: Dataset) -> Dataset:
    n = len(dataset.events)
    return _with(dataset, kind=np.full(n, 9, np.int8), video=np.full(n, -1, np.int32), channel=np.zeros(n, np.int32))


ODD = [
    Odd("one person", lambda one: _only(one, one.events.user == 2)),
    Odd("one event", lambda one: one.until(1), liked=False),
    Odd("three events", lambda one: one.until(3), liked=False),
    Odd("nothing liked", lambda one: _with(one, kind=np.zeros(len(one.events), np.int8)), liked=False),
    Odd("only channels", _about_channels, liked=False),
    Odd(
        "everybody with one event",
        lambda one: _only(one, np.isin(np.arange(len(one.events)), np.unique(one.events.user, return_index=True)[1])),
        liked=False,
    ),
    Odd("all at once", lambda one: _with(one, at=np.full(len(one.events), 1.7e9))),
    Odd("before 1970", lambda one: _with(one, at=one.events.at - 3e9)),
    Odd(
        "no video there",
        lambda one: replace(one, catalogue=replace(one.catalogue, available=np.zeros(len(one.catalogue), np.bool_))),
    ),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.name)
def test_a_data_set_at_the_edge_is_written_as_any_other(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    rows_in: Rows,
    tmp_path: Path,
    in_process: None,
    odd: Odd,
) -> None:
    del in_process
    done = ProcessingPipeline(tmp_path, params_of(), workers=1).run(odd.change(dirty(7)))
    found = rows_in(tmp_path)
    assert {name: table.num_rows for name, table in found.items()} == {
        f"{table}/{split}": n for table, of in done.rows.items() for split, n in of.items()
    }
    if odd.liked:
        assert done.sources["liked"] > 0
    assert sum(done.rows["two_tower"].values()) == done.sources.get("liked", 0)


def test_an_empty_part_is_a_file_without_rows(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    rows_in: Rows,
    tmp_path: Path,
    in_process: None,
) -> None:
    del in_process
    done = ProcessingPipeline(tmp_path, params_of(train=0.9, val=1e-6), workers=1).run(dirty(0))
    assert done.rows["ranker"]["val"] == done.rows["two_tower"]["val"] == 0
    found = rows_in(tmp_path)
    assert found["ranker/val"].schema == found["ranker/train"].schema


def test_data_without_times_have_rows_without_what_hangs_on_times(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    rows_in: Rows,
    tmp_path: Path,
    in_process: None,
) -> None:
    del in_process
    ProcessingPipeline(tmp_path, params_of(), workers=1).run(dirty(0, timed=False))
    found = rows_in(tmp_path)
    assert np.isnan(found["two_tower/train"]["hour_sin"].to_numpy()).all()
    assert "upload_age" not in found["ranker/train"].column_names
    assert found["ranker/train"].num_rows > 100


def test_data_without_events_are_refused(
    dirty: Callable[..., Dataset], params_of: Callable[..., ProcessingParams], tmp_path: Path
) -> None:
    with pytest.raises(ProcessingError, match="Expected events"):
        ProcessingPipeline(tmp_path / "out", params_of()).run(dirty(0).until(0))
    assert not (tmp_path / "out").exists()
