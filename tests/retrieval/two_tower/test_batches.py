from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextreel.retrieval.two_tower.batches import Batch, Disliked, Sampler, disliked, returns, windows
from nextreel.retrieval.two_tower.inputs import IntArray, Sequences, gap_codes, gaps, sequences, tokens
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.trends import snapshots
from nextreel.store import Counters
from nextreel.types import Events


def _events(user: list[int], video: list[int], kind: list[int] | None = None) -> Events:
    n = len(user)
    missing = np.full(n, np.nan, np.float32)
    kinds = np.full(n, 2, np.int8) if kind is None else np.array(kind, np.int8)
    at = np.arange(n, dtype=np.float64) * 60
    users = np.arange(max(user) + 1)
    return Events(users, np.array(user, np.int32), np.array(video, np.int32), at, kinds, missing, missing)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=10), st.integers(1, 12), st.integers(0, 5))
def test_windows_cover_every_position_once_and_are_never_too_long(lengths: list[int], size: int, seed: int) -> None:
    user, low, high = windows(np.array(lengths, np.int64), size, np.random.default_rng(seed))
    covered = [(u, i) for u, a, b in zip(user, low, high, strict=True) for i in range(a, b)]
    assert sorted(covered) == [(u, i) for u, n in enumerate(lengths) for i in range(n)]
    assert (high - low <= size).all()


def test_a_run_of_events_about_one_video_is_one_token_with_its_largest_weight() -> None:
    rows, at, weights = tokens(
        np.array([4, 4, 5, 4, 9], np.int32), np.arange(5.0), np.array([0.2, 1, 0.5, -1, 1], np.float32), 6
    )
    assert rows.tolist() == [4, 5]
    assert at.tolist() == [0, 2]
    assert weights.tolist() == [1, 0.5]


def test_sequences_of_all_users_are_what_each_history_says_alone() -> None:
    rng = np.random.default_rng(0)
    events = _events(rng.integers(0, 5, 200).tolist(), rng.integers(0, 4, 200).tolist())
    weights = rng.integers(-1, 3, 200).astype(np.float32)
    together = sequences(events, weights, 4)
    for place, user in enumerate(together.users):
        mine = events.user == user
        alone = tokens(events.video[mine], events.at[mine], weights[mine], 4)
        part = slice(together.starts[place], together.starts[place + 1])
        assert alone[0].tolist() == together.rows[part].tolist()
        assert alone[1].tolist() == together.at[part].tolist()
        assert alone[2].tolist() == together.weights[part].tolist()


def test_explicit_negatives_are_the_disliked_and_the_shown_but_never_a_positive() -> None:
    events = _events([0, 0, 0, 0, 1, 1], [1, 2, 3, 2, 1, 3], kind=[2, 4, 0, 2, 0, 1])
    weights = np.array([1, -1, 0, 1, 0, 0], np.float32)  # user 0 later liked video 2; user 1 only clicked video 3
    found = disliked(events, weights, np.array([0, 1], np.int32), 5)
    assert found.starts.tolist() == [0, 1, 2]
    assert found.rows.tolist() == [3, 1]


def _sampler(**changes: float | bool) -> tuple[Sampler, Sequences]:
    """Thirty people of twenty events each, a minute apart: one visit, unless the parameters say otherwise."""
    rng = np.random.default_rng(1)
    events = _events(np.repeat(np.arange(30), 20).tolist(), rng.integers(0, 50, 600).tolist())
    params = TwoTowerParams.model_validate({"length": 7, "batch": 64, "negatives": 40, "horizon": 1, **changes})
    ones = np.ones(600, np.float32)
    histories = sequences(events, ones, 50)
    none = Disliked(np.zeros(len(histories) + 1, np.int64), np.empty(0, np.int32))
    codes = np.zeros((len(histories), 4), np.int64)
    known = snapshots(Counters(50), events, ones, params.trends, 50)
    return Sampler(histories, histories.starts[1:], codes, none, known, params), histories


def _grid(batch: Batch) -> tuple[IntArray, IntArray]:
    """Window and place in the window of each position."""
    row, column = np.divmod(batch.place, batch.inputs.shape[1] + 1)
    return row, column


def test_a_batch_asks_each_position_for_the_video_that_follows_it() -> None:
    sampler, histories = _sampler()
    seen = 0
    for batch in sampler.epoch():
        row, column = _grid(batch)
        inner = column < batch.inputs.shape[1]
        there = np.zeros((len(batch.inputs), batch.inputs.shape[1] + 1), bool)
        there[row, column] = True
        inner &= there[row, np.minimum(column + 1, batch.inputs.shape[1])]  # behind the last one is padding
        assert (batch.targets[inner] == batch.inputs[row[inner], column[inner]]).all()
        seen += len(batch.targets)
    assert seen == len(histories.rows)


def test_positions_are_sorted_by_what_was_known_of_popularity_when_they_were_asked() -> None:
    sampler, _ = _sampler(return_hours=0.001)
    for batch in sampler.epoch():
        assert batch.cuts[0] == 0
        assert batch.cuts[-1] == len(batch.targets)
        assert (np.diff(batch.cuts) > 0).all()
        assert batch.trends.shape == (len(batch.cuts) - 1, len(batch.rows), 4)


def test_the_popularity_a_position_reads_counts_nothing_at_or_after_what_it_foretells() -> None:
    sampler, histories = _sampler()
    known = sampler.trends.at[sampler.snapshot]
    assert (known < histories.at).all()
    newest = sampler.trends.at[np.minimum(sampler.snapshot + 1, len(sampler.trends.at) - 1)]
    assert ((newest >= histories.at) | (sampler.snapshot == len(sampler.trends.at) - 1)).all()


@pytest.mark.parametrize("own", [True, False])
def test_a_persons_own_videos_can_be_spared_and_the_target_always_is(own: bool) -> None:
    sampler, _ = _sampler(spare_window=own)
    for batch in sampler.epoch():
        row, _ = _grid(batch)
        for position in range(len(row)):
            mine = set(batch.targets[row == row[position]].tolist()) if own else {int(batch.targets[position])}
            if own:  # what was watched before the window's first target is one of its inputs
                mine |= set(batch.inputs[row[position]].tolist())
            assert batch.spared[position].tolist() == [one in mine for one in batch.negatives.tolist()]


def test_sampled_negatives_are_corrected_by_how_likely_they_were() -> None:
    sampler, _ = _sampler()
    batch = next(sampler.epoch())
    assert np.allclose(batch.bias, -np.log(40 * sampler.chance[batch.rows[batch.negatives]]), atol=1e-5)
    plain, _ = _sampler(log_q=False)
    assert not next(plain.epoch()).bias.any()


def test_popular_videos_are_drawn_more_often_and_every_video_sometimes() -> None:
    sampler, histories = _sampler(uniform_share=0.5)
    counts = np.bincount(histories.rows, minlength=50)
    assert np.corrcoef(sampler.chance, counts)[0, 1] > 0.95
    assert sampler.chance.min() >= 0.5 / 50
    assert np.isclose(sampler.chance.sum(), 1)


def test_who_comes_back_is_asked_for_one_of_the_next_events_of_the_same_history_and_others_for_the_next() -> None:
    sampler, histories = _sampler(return_hours=0.001, horizon=5)
    user = np.array([3])
    place = histories.starts[3] + np.arange(20)[None]
    place = np.minimum(place, histories.starts[4] - 1)
    ahead = np.concatenate([sampler._targets(user, place) - place for _ in range(50)])
    assert ahead.min() == 0
    assert ahead.max() == 4
    assert (place + ahead < histories.starts[4]).all()
    within, _ = _sampler(return_hours=12.0, horizon=5)
    first = within.back[place]  # everybody's first event is one of coming back
    assert first.sum() == 1
    assert (within._targets(user, place) == place)[~first].all()


def test_targets_of_who_comes_back_weigh_more() -> None:
    sampler, histories = _sampler(return_weight=3.0)
    weights = np.concatenate([batch.scale for batch in sampler.epoch()])
    assert np.unique(weights).tolist() == [1, 3]
    assert (weights == 3).sum() == len(histories)


@pytest.mark.parametrize("hours", [1.0, 100.0])
def test_a_return_is_an_event_after_so_long_a_break_and_everybodys_first(hours: float) -> None:
    histories = sequences(_events([0, 0, 0, 1], [1, 2, 3, 4]), np.ones(4, np.float32), 9)
    histories = replace(histories, at=np.array([0.0, 60.0, 60.0 + 7_200.0, 0.0]))
    assert returns(histories, hours).tolist() == [True, False, hours == 1.0, True]


def test_gaps_tell_the_time_since_the_event_before_and_until_one_asked() -> None:
    at, asked = np.array([[0.0, 0.0, 3.0]]), np.array([[0.0, 3.0, np.nan]])
    since, until = np.moveaxis(gaps(at, asked), -1, 0)
    assert since[0, 0] == 0  # nothing is known of before
    assert since[0, 1] < since[0, 2]
    assert until[0, 0] < until[0, 1]
    assert until[0, 2] == until.min()  # nobody knows when one asks
    assert not set(since.ravel().tolist()) & set(until.ravel().tolist())


def test_longer_gaps_have_larger_codes_and_missing_ones_code_zero() -> None:
    codes = gap_codes(np.array([np.nan, -1.0, 0.5, 3600.0, 1e12]))
    assert codes.tolist() == [0, 1, 1, 12, 31]
