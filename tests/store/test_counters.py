"""Counters against a recomputation from the definitions, over random streams with gaps, ties and late events."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.store import Counters
from nextreel.store.counters import SURFACES, TREND_HALF_LIFE, WINDOWS, Answers
from nextreel.types import DAY, UNKNOWN, Events, FloatArray, Kind, NextreelError

VIDEOS = 4
START = 1_700_000_000.0
COUNTS = (
    "plays",
    "rejections",
    "impressions",
    "clicks",
    "likes",
    "comments",
    "shares",
    "subscribers",
    "value_count",
    "watches",
    "full_watches",
)
SUMS = ("value_sum", "watch_seconds", "first_at")

# seconds between two events: ties, neighbours in a bucket, borders of buckets, silence longer than a window
GAPS = st.sampled_from(
    [0, 0, 60, 200, 600, 3_600, DAY / 12, DAY / 2, 0.9 * DAY, DAY, 3 * DAY, 7 * DAY, 40 * DAY, 700 * DAY]
)
SOME = st.sampled_from([float("nan"), 0.0, 1.0, 3.5])
PAGES = ("home", "search")
ONE = st.tuples(
    st.integers(-1, VIDEOS - 1),
    st.sampled_from(list(Kind)),
    SOME,
    SOME,
    st.sampled_from([-1.0, 0, 1, 2]),
    st.integers(UNKNOWN, len(PAGES) - 1),
)


def events_of(
    video: list[int], at: list[float], rest: list[tuple[Kind, float, float]], surface: list[int] | None = None
) -> Events:
    n = len(video)
    kind, value, seconds = zip(*rest, strict=True) if rest else ((), (), ())
    return Events(
        np.array(["someone"], object),
        np.zeros(n, np.int32),
        np.array(video, np.int32),
        np.array(at, np.float64),
        np.array(kind, np.int8),
        np.array(value, np.float32),
        np.array(seconds, np.float32),
        surface=np.array(surface or [UNKNOWN] * n, np.int32),
        surfaces=PAGES,
    )


@st.composite
def streams(draw: st.DrawFn, late: bool = False) -> tuple[Events, FloatArray]:
    """Events in order of time (unless `late`) and the relevance of each."""
    drawn = draw(st.lists(st.tuples(GAPS, ONE), max_size=40))
    at = (START + np.cumsum([gap for gap, _ in drawn])).tolist()
    if late:
        at = draw(st.permutations(at))
    ones = [one for _, one in drawn]
    events = events_of([one[0] for one in ones], at, [one[1:4] for one in ones], [one[5] for one in ones])
    return events, np.array([one[4] for one in ones], np.float32)


def plays(events: Events, weights: FloatArray) -> list[tuple[int, float]]:
    return [(int(v), float(at)) for v, at, w in zip(events.video, events.at, weights, strict=True) if v >= 0 and w > 0]


def window(events: Events, weights: FloatArray, buckets: int, width: float) -> list[int]:
    """Plays in the newest bucket and the buckets - 1 before it, counted one at a time."""
    played = plays(events, weights)
    newest = max((int(at // width) for _, at in played), default=0)
    counts = [0] * VIDEOS
    for video, at in played:
        counts[video] += newest - int(at // width) < buckets
    return counts


def trend(events: Events, weights: FloatArray) -> FloatArray:
    played = plays(events, weights)
    newest = max((at for _, at in played), default=0.0)
    total = np.zeros(VIDEOS)
    for video, at in played:
        total[video] += 2.0 ** (-(newest - at) / TREND_HALF_LIFE)
    return (total / total.sum() if total.sum() else total).astype(np.float32)


@settings(max_examples=80, deadline=None)
@given(streams())
def test_every_column_is_what_its_definition_says(stream: tuple[Events, FloatArray]) -> None:
    events, weights = stream
    counters = Counters(VIDEOS)
    counters.add(events, weights)
    for video in range(VIDEOS):
        mine = events.video == video
        assert counters.plays[video] == (mine & (weights > 0)).sum()
        assert counters.rejections[video] == (mine & (weights < 0)).sum()
        assert counters.impressions[video] == (mine & (events.kind == Kind.IMPRESSION)).sum()
        assert counters.clicks[video] == (mine & (events.kind == Kind.CLICK)).sum()
        assert counters.likes[video] == (mine & (events.kind == Kind.LIKE)).sum()
        assert counters.comments[video] == (mine & (events.kind == Kind.COMMENT)).sum()
        assert counters.shares[video] == (mine & (events.kind == Kind.SHARE)).sum()
        assert counters.value_count[video] == (mine & ~np.isnan(events.value)).sum()
        assert counters.value_sum[video] == np.nansum(events.value[mine])
        assert counters.watches[video] == (mine & ~np.isnan(events.watch_seconds)).sum()
        assert counters.full_watches[video] == (mine & (events.kind == Kind.WATCH) & (weights > 0)).sum()
        assert counters.watch_seconds[video] == np.nansum(events.watch_seconds[mine])
        assert counters.first_at[video] == min(events.at[mine & (weights > 0)], default=np.inf)
        for page, name in enumerate(PAGES):
            there, answers = mine & (events.surface == page), counters.surfaces.get(name, Answers(VIDEOS))
            assert answers.impressions[video] == (there & (events.kind == Kind.IMPRESSION)).sum()
            assert answers.clicks[video] == (there & (events.kind == Kind.CLICK)).sum()
            assert answers.full_watches[video] == (there & (events.kind == Kind.WATCH) & (weights > 0)).sum()
            assert counters.answered(name, "clicks") == answers.clicks.sum()
    assert counters.newest_at == max(events.at, default=-np.inf)


@pytest.mark.parametrize("name", list(WINDOWS))
@settings(max_examples=60, deadline=None)
@given(stream=streams())
def test_a_window_holds_the_plays_of_its_newest_buckets(name: str, stream: tuple[Events, FloatArray]) -> None:
    counters = Counters(VIDEOS)
    counters.add(*stream)
    assert counters.windows[name].total.tolist() == window(*stream, *WINDOWS[name])


@pytest.mark.parametrize("name", list(WINDOWS))
@settings(max_examples=60, deadline=None)
@given(stream=streams(late=True), size=st.integers(1, 7))
def test_a_window_counts_late_events_once_where_they_belong(
    name: str, stream: tuple[Events, FloatArray], size: int
) -> None:
    events, weights = stream
    counters = Counters(VIDEOS)
    for start in range(0, len(events), size):
        part = slice(start, start + size)
        counters.add(events.take(part), weights[part])
    assert counters.windows[name].total.tolist() == window(events, weights, *WINDOWS[name])


def test_windows_reach_as_far_back_as_their_names_say() -> None:
    minutes = {name: buckets * width / 60 for name, (buckets, width) in WINDOWS.items()}
    assert minutes == {"5min": 5, "1h": 60, "1d": 1_440, "7d": 7 * 1_440, "30d": 30 * 1_440}


@settings(max_examples=60, deadline=None)
@given(streams())
def test_the_trend_halves_with_every_half_life_of_age(stream: tuple[Events, FloatArray]) -> None:
    counters = Counters(VIDEOS)
    counters.add(*stream)
    np.testing.assert_allclose(counters.share("trend"), trend(*stream), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(streams(), st.lists(st.integers(0, 40), max_size=6))
def test_batches_of_any_size_leave_the_same_counters(stream: tuple[Events, FloatArray], cuts: list[int]) -> None:
    events, weights = stream
    whole, parts = Counters(VIDEOS), Counters(VIDEOS)
    whole.add(events, weights)
    borders = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    for start, end in pairwise(borders):
        parts.add(events.take(slice(start, end)), weights[start:end])
    same(whole, parts)
    np.testing.assert_allclose(whole.share("trend"), parts.share("trend"), atol=1e-6)


def same(one: Counters, other: Counters) -> None:
    for name in (*COUNTS, *SUMS):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    for name, of_one in one.windows.items():
        np.testing.assert_array_equal(of_one.total, other.windows[name].total, name)
    assert list(one.surfaces) == list(other.surfaces)
    for name, answers in one.surfaces.items():
        for column, values in vars(answers).items():
            np.testing.assert_array_equal(values, getattr(other.surfaces[name], column), f"{column} on {name}")
    assert one.newest_at == other.newest_at


@settings(max_examples=30, deadline=None)
@given(streams())
def test_shares_sum_to_one_as_soon_as_somebody_played(stream: tuple[Events, FloatArray]) -> None:
    counters = Counters(VIDEOS)
    counters.add(*stream)
    for name in ("all", "trend", *WINDOWS):
        assert counters.share(name).dtype == np.float32
        assert float(counters.share(name).sum()) == pytest.approx(1.0 if plays(*stream) else 0.0)


@settings(max_examples=20, deadline=None)
@given(streams(), streams())
def test_saved_counters_come_back_and_count_on(one: tuple[Events, FloatArray], more: tuple[Events, FloatArray]) -> None:
    counters = Counters(VIDEOS)
    counters.add(*one)
    with TemporaryDirectory() as folder:
        counters.save(Path(folder) / "counters.npz")
        loaded = Counters.load(Path(folder) / "counters.npz")
    same(counters, loaded)
    np.testing.assert_array_equal(counters.trend, loaded.trend)
    counters.add(*more)
    loaded.add(*more)
    same(counters, loaded)
    np.testing.assert_array_equal(counters.trend, loaded.trend)


def test_surfaces_beyond_the_first_are_not_counted_apart() -> None:
    n = SURFACES + 5
    seen = [(Kind.IMPRESSION, np.nan, np.nan)] * n
    events = replace(
        events_of([0] * n, [START] * n, seen, list(range(n))[::-1]), surfaces=tuple(f"page {one}" for one in range(n))
    )
    counters = Counters(1)
    for part in (events, events):
        counters.add(part, np.zeros(n, np.float32))
    assert list(counters.surfaces) == [f"page {one}" for one in range(n - 1, 4, -1)]
    assert {int(answers.impressions[0]) for answers in counters.surfaces.values()} == {2}
    assert counters.answers("page 0") is None
    assert counters.impressions[0] == 2 * n


def test_the_trend_forgets_nothing_when_its_reference_moves() -> None:
    """Plays a day apart for ten years: the reference moves several times, the newest must keep the largest part."""
    counters = Counters(2)
    for day in range(3_650):
        counters.add(events_of([day % 2], [START + day * DAY], [(Kind.WATCH, np.nan, np.nan)]), np.ones(1, np.float32))
    expected = 2.0 ** (-DAY / TREND_HALF_LIFE)  # an infinite series of every second day, one day older
    even, odd = counters.share("trend")
    assert np.isfinite(counters.trend).all()
    assert even / odd == pytest.approx(expected, rel=1e-5)


def test_an_unknown_share_is_told_with_those_there_are() -> None:
    with pytest.raises(NextreelError, match=r"No counter '2d'.*all, trend, 5min, 1h, 1d, 7d, 30d"):
        Counters(1).share("2d")


def test_counters_of_an_older_version_are_refused(tmp_path: Path) -> None:
    Counters(VIDEOS).save(tmp_path / "counters.npz")
    with np.load(tmp_path / "counters.npz") as stored:
        older = {name: stored[name] for name in stored if not name.startswith("surface")}
    np.savez(tmp_path / "older.npz", allow_pickle=False, **older)
    with pytest.raises(NextreelError, match="train and publish"):
        Counters.load(tmp_path / "older.npz")


@settings(max_examples=60)
@given(one=streams(), more=streams())
def test_grown_counters_count_on_as_if_they_had_always_been_larger(
    one: tuple[Events, FloatArray], more: tuple[Events, FloatArray]
) -> None:
    small, large = Counters(VIDEOS, 2), Counters(VIDEOS + 3, 4)
    for counters in small, large:
        counters.add(*one)
    before = small.plays.copy()
    grown = small.grown(VIDEOS + 3, 4)
    extra = replace(more[0], at=more[0].at + 10 * DAY)
    for counters in grown, large:
        counters.add(extra, more[1])
        counters.add(replace(extra, video=np.where(extra.video >= 0, VIDEOS + 1, UNKNOWN).astype(np.int32)), more[1])
    same(grown, large)
    np.testing.assert_array_equal(small.plays, before)  # whoever reads the old ones goes on with them
