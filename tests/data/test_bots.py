"""People who do more within a minute than a person can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextreel.data import World, bots, load
from nextreel.types import Events, Kind, NextreelError


def events_of(rows: list[tuple[int, float]], kind: Kind = Kind.WATCH) -> Events:
    """Events of (user, time), oldest first."""
    rows = sorted(rows, key=lambda row: row[1])
    n = len(rows)
    return Events(
        user_ids=np.arange(10),
        user=np.array([user for user, _ in rows], np.int32),
        video=np.zeros(n, np.int32),
        at=np.array([at for _, at in rows], np.float64),
        kind=np.full(n, kind, np.int8),
        value=np.full(n, np.nan, np.float32),
        watch_seconds=np.full(n, np.nan, np.float32),
    )


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 300).map(float)), max_size=40), limit=st.integers(1, 5)
)
def test_the_peak_is_that_of_every_window_looked_at_one_by_one(rows: list[tuple[int, float]], limit: int) -> None:
    expected = {}
    for user in {user for user, _ in rows}:
        times = [at for who, at in rows if who == user]
        peak = max(sum(start <= at <= start + 60 for at in times) for start in times)
        if peak > limit:
            expected[user] = (peak, len(times))
    found = bots.find(events_of(rows), limit)
    told = {u: (p, n) for u, p, n in zip(found.users.tolist(), found.peak.tolist(), found.events.tolist(), strict=True)}
    assert told == expected
    assert (np.diff(found.peak) <= 0).all()
    for user, peak, at in zip(found.users.tolist(), found.peak.tolist(), found.at.tolist(), strict=True):
        assert sum(at <= when <= at + 60 for who, when in rows if who == user) == peak


def test_what_a_person_was_shown_is_not_what_they_did() -> None:
    assert len(bots.find(events_of([(1, 0.0)] * 100, Kind.IMPRESSION), 5)) == 0


def test_a_limit_or_window_that_cannot_be_is_refused() -> None:
    for limit, window in ((0, 60.0), (5, 0.0), (5, float("nan"))):
        with pytest.raises(NextreelError, match="Expected a limit of at least 1 event and a window above 0"):
            bots.find(events_of([(1, 0.0)]), limit, window)


def test_nobody_has_a_rate_in_data_without_times(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,video_id\n1,2\n")
    with pytest.raises(NextreelError, match="Expected data with timestamps"):
        bots.suspects(load(tmp_path), 5)


def test_those_who_are_left_out_take_their_events_along_and_change_the_version() -> None:
    dataset = World.make(20, 15, 400, seed=1).dataset()
    busiest = np.array([np.bincount(dataset.events.user).argmax()], np.int32)
    less = dataset.without(busiest)
    assert not np.isin(less.events.user, busiest).any()
    assert len(less.events) == len(dataset.events) - int((dataset.events.user == busiest[0]).sum())
    assert (np.diff(less.events.at) >= 0).all()
    assert less.manifest.version != dataset.manifest.version
    assert less.manifest.counts["users_left_out"] == 1
    assert dataset.without(busiest[:0]) is dataset
