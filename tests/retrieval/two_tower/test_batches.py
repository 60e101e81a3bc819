from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextreel.retrieval.two_tower.batches import MASKED, Disliked, Sampler, disliked, windows
from nextreel.retrieval.two_tower.inputs import Sequences, gap_codes, sequences, tokens
from nextreel.retrieval.two_tower.params import TwoTowerParams
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
    rng = np.random.default_rng(1)
    events = _events(np.repeat(np.arange(30), 20).tolist(), rng.integers(0, 50, 600).tolist())
    params = TwoTowerParams.model_validate({"length": 7, "batch": 64, "negatives": 40, **changes})
    histories = sequences(events, np.ones(600, np.float32), 50)
    none = Disliked(np.zeros(len(histories) + 1, np.int64), np.empty(0, np.int32))
    codes = np.zeros((len(histories), 4), np.int64)
    return Sampler(histories, histories.starts[1:], codes, none, 50, params), histories


def test_a_batch_asks_each_position_for_the_video_that_follows_it() -> None:
    sampler, histories = _sampler()
    seen = 0
    for batch in sampler.epoch():
        real = batch.scale > 0
        assert (batch.targets[:, :-1][real[:, 1:]] == batch.inputs[real[:, 1:]]).all()
        seen += int(real.sum())
    assert seen == len(histories.rows)


def test_a_persons_own_videos_can_be_spared_and_others_are_corrected() -> None:
    sampler, _ = _sampler(spare_window=True)
    batch = next(sampler.epoch())
    for b in range(len(batch.targets)):
        own = np.isin(batch.negatives, batch.targets[b])
        assert (batch.bias[b][own] == np.float32(MASKED)).all()
        rows = batch.rows[batch.negatives[~own]]
        expected = -np.log(40 * sampler.chance[rows])
        assert np.allclose(batch.bias[b][~own], expected, atol=1e-5)


def test_popular_videos_are_drawn_more_often_and_every_video_sometimes() -> None:
    sampler, histories = _sampler(uniform_share=0.5)
    counts = np.bincount(histories.rows, minlength=50)
    assert np.corrcoef(sampler.chance, counts)[0, 1] > 0.95
    assert sampler.chance.min() >= 0.5 / 50
    assert np.isclose(sampler.chance.sum(), 1)


def test_a_target_from_the_horizon_lies_ahead_within_the_same_history() -> None:
    sampler, histories = _sampler(horizon_share=1.0, horizon=5)
    user = np.array([3])
    place = histories.starts[3] + np.arange(20)[None]
    for _ in range(20):
        target = sampler._targets(user, np.minimum(place, histories.starts[4] - 1))
        ahead = target - np.minimum(place, histories.starts[4] - 1)
        assert (ahead >= 0).all()
        assert (ahead < 5).all()
        assert (target < histories.starts[4]).all()


def test_longer_gaps_have_larger_codes_and_missing_ones_code_zero() -> None:
    codes = gap_codes(np.array([np.nan, -1.0, 0.5, 3600.0, 1e12]))
    assert codes.tolist() == [0, 1, 1, 12, 31]
