"""Which moments the ranker learns from, what is asked of them, and that none of them knows the future."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
import pytest

from nextreel.assembly import Config, MomentParams
from nextreel.data import Dataset
from nextreel.pipeline import Recommender
from nextreel.ranking.rows import Rows
from nextreel.store import MemoryStore
from nextreel.store.memory import relevance_of
from nextreel.training import Fitted
from nextreel.training.moments import Future, Plan, examples, labels, plan
from nextreel.types import DAY, Events, FloatArray, Kind, Moment, NextreelError, Request, RowArray, Trace, UserId

RecommenderOf = Callable[..., Recommender]


def told(*rows: tuple[int, int, float], graded: Sequence[float] | None = None) -> tuple[Events, FloatArray]:
    """Events of (user, video, days) and their relevance, 1 if not said."""
    user, video, days = zip(*rows, strict=True)
    nothing = np.full(len(rows), np.nan, np.float32)
    events = Events(
        user_ids=np.arange(max(user) + 1),
        user=np.array(user, np.int32),
        video=np.array(video, np.int32),
        at=np.array(days) * DAY,
        kind=np.full(len(rows), Kind.WATCH, np.int8),
        value=nothing,
        watch_seconds=nothing,
    )
    return events, np.array([1.0] * len(rows) if graded is None else graded, np.float32)


class Asked(NamedTuple):
    """What a recommender was asked during a replay and what it then knew."""

    request: Request
    rows: RowArray
    values: FloatArray


@dataclass(frozen=True)
class Listening(Recommender):
    """A recommender that writes down every moment it gathers."""

    asked: list[Asked] = field(default_factory=list)

    @classmethod
    def to(cls, recommender: Recommender) -> Listening:
        parts = {one.name: getattr(recommender, one.name) for one in fields(recommender)}
        return cls(**parts)

    def gather(self, request: Request, rows: RowArray | None = None, trace: Trace | None = None) -> Moment:
        moment = Recommender.gather(self, request, rows, trace)
        self.asked.append(Asked(request, moment.rows, self.matrix(moment).values))
        return moment


def with_moments(config: Config, **changed: int) -> Config:
    """The configuration with other moments."""
    return config.model_copy(update={"moments": config.moments.model_copy(update=changed)})


def replayed(recommender: Recommender, events: Events, first: int, config: Config) -> tuple[Rows, list[Asked], Plan]:
    """The rows, every moment of the replay in its order, and the plan."""
    listening = Listening.to(recommender)
    store = recommender.store
    assert isinstance(store, MemoryStore)
    rows = examples(events, store, listening, first, config.moments)
    graded = relevance_of(events, store.catalogue, store.rules)
    return rows, listening.asked, plan(events, first, graded, config.moments)


# --- What comes after a moment ---------------------------------------------------------------------------------------


def test_the_future_of_a_person_is_what_they_like_from_a_position_until_a_time() -> None:
    rows = [(0, 5, 0.0), (1, 6, 1.0), (0, 7, 2.0), (0, 8, 3.0), (0, 9, 4.0), (1, 5, 5.0)]
    events, graded = told(*rows, graded=[1, 1, 2, -1, 0.5, 3])
    future = Future(events, graded)
    assert future.of(0, 0, 9 * DAY)[0].tolist() == [5, 7, 9]  # 8 was disliked
    assert future.of(0, 0, 9 * DAY)[1].tolist() == [1, 2, 0.5]
    assert future.of(0, 1, 9 * DAY)[0].tolist() == [7, 9]
    assert future.of(0, 2, 3.5 * DAY)[0].tolist() == [7]
    assert future.of(0, 2, 4 * DAY)[0].tolist() == [7, 9]  # the last second of the horizon counts
    assert future.of(0, 5, 9 * DAY)[0].tolist() == []
    assert future.of(1, 1, 9 * DAY)[0].tolist() == [6, 5]


def test_a_label_is_one_for_what_is_played_and_for_the_active_less_with_every_play_before_it() -> None:
    rows = np.array([4, 1, 9, 2, 7], np.int32)
    played, grades = np.array([9, 4, 2, 9], np.int32), np.array([3.0, 0.5, 1.0, 1.0], np.float32)
    params = MomentParams(next_events=2)
    assert labels(rows, played, grades, params, near=False).tolist() == [0.5, 0.0, 1.0, 1.0, 0.0]
    # 9 is next, then 4 at half of its grade; 2 comes too late to be a positive, and is no negative
    np.testing.assert_array_equal(labels(rows, played, grades, params, near=True), [0.25, 0.0, 1.0, np.nan, 0.0])
    nothing = labels(rows, played[:0], grades[:0], params, near=True)
    assert nothing.tolist() == [0.0] * 5


# --- The plan --------------------------------------------------------------------------------------------------------


def test_a_plan_asks_in_order_among_the_new_events_only(tiny_dataset: Dataset, quick_config: Config) -> None:
    events = tiny_dataset.events
    graded = relevance_of(events, tiny_dataset.catalogue, quick_config.relevance)
    first, params = 3_000, MomentParams(active=50, idle=70, horizon_days=10.0)
    chosen = plan(events, first, graded, params)
    assert (np.diff(chosen.position) >= 0).all()
    assert chosen.position.min() >= first
    assert chosen.position.max() < len(events)
    assert chosen.active.sum() == 50
    assert 0 < (~chosen.active).sum() <= 70
    np.testing.assert_array_equal(chosen.at, events.at[chosen.position])
    # an active moment is just before an event that its person likes
    np.testing.assert_array_equal(chosen.user[chosen.active], events.user[chosen.position[chosen.active]])
    assert (graded[chosen.position[chosen.active]] > 0).all()
    idle = ~chosen.active
    for user, position, at in zip(chosen.user[idle], chosen.position[idle], chosen.at[idle], strict=True):
        before = events.at[:position][events.user[:position] == user]
        assert at - before.max() >= params.idle_days * DAY  # known, and away for long enough
        after = (events.user[position:] == user) & (graded[position:] > 0)
        assert (events.at[position:][after] <= at + params.horizon_days * DAY).any()


def test_the_same_seed_plans_the_same_moments(tiny_dataset: Dataset, quick_config: Config) -> None:
    events = tiny_dataset.events
    graded = relevance_of(events, tiny_dataset.catalogue, quick_config.relevance)
    one, two, other = (plan(events, 3_000, graded, MomentParams(active=50, idle=70, seed=seed)) for seed in (1, 1, 2))
    for name in ("position", "user", "at", "active"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert not np.array_equal(one.position, other.position)


def test_without_people_who_were_away_there_are_active_moments_only() -> None:
    events, graded = told(*[(0, row, 0.01 * row) for row in range(20)])
    assert plan(events, 10, graded, MomentParams(active=5, idle=5)).active.tolist() == [True] * 5


# --- The rows --------------------------------------------------------------------------------------------------------


def test_within_a_visit_the_next_plays_are_right_and_after_it_all_of_the_horizon(
    tiny_dataset: Dataset, quick: Fitted, quick_config: Config, recommender_of: RecommenderOf
) -> None:
    def right(visit_minutes: int) -> FloatArray:
        """What the labels of each moment sum to."""
        recommender = recommender_of(tiny_dataset, quick_config, quick.models, 3_000)
        config = with_moments(quick_config, visit_minutes=visit_minutes)
        rows, asked, _ = replayed(recommender, tiny_dataset.events, 3_000, config)
        return np.bincount(rows.groups, rows.labels, minlength=len(asked)).astype(np.float32)

    whole, coming = right(0), right(10**9)
    assert (coming <= whole + 1e-6).all()
    assert (coming < whole - 0.4).any()


def test_rows_hold_every_positive_among_the_candidates_and_a_sample_of_the_rest(
    tiny_dataset: Dataset, quick: Fitted, quick_config: Config, recommender_of: RecommenderOf
) -> None:
    first = 3_000
    recommender = recommender_of(tiny_dataset, quick_config, quick.models, first)
    quick_config = with_moments(quick_config, rejected_negatives=0)
    rows, asked, chosen = replayed(recommender, tiny_dataset.events, first, quick_config)
    graded = relevance_of(tiny_dataset.events, tiny_dataset.catalogue, quick_config.relevance)
    future = Future(tiny_dataset.events, graded)
    seen = 0
    for number, moment in enumerate(asked):
        until = moment.request.at + quick_config.moments.horizon_days * DAY
        played, _ = future.of(int(chosen.user[number]), int(chosen.position[number]), until)
        positives = int(np.isin(moment.rows, played).sum())
        own = rows.take(rows.groups == number)
        assert int((own.labels > 0).sum()) == positives
        if positives:
            seen += 1
            negatives = len(moment.rows) - positives
            assert int((own.labels == 0).sum()) == min(quick_config.moments.negatives, negatives)
            assert set(own.at.tolist()) == {moment.request.at}
            assert set(own.users.tolist()) == {int(chosen.user[number])}
            assert {tuple(row) for row in np.nan_to_num(own.values)} <= {
                tuple(row) for row in np.nan_to_num(moment.values)
            }
    assert seen == len(np.unique(rows.groups)) > 50
    right = np.array([np.count_nonzero(rows.labels[rows.groups == one]) for one in np.unique(rows.groups)])
    counted = np.minimum(right, quick_config.moments.counted)
    assert counted.min() < counted.max()
    np.testing.assert_allclose(rows.weights, np.repeat(counted / counted.mean(), rows.sizes()), rtol=1e-5)
    assert (np.diff(rows.groups) >= 0).all()  # the rows of a moment stand together


def test_negatives_are_candidates_videos_that_nothing_proposed_and_what_was_rejected(
    tiny_dataset: Dataset, quick: Fitted, quick_config: Config, recommender_of: RecommenderOf
) -> None:
    first = 3_000
    many = {"negatives": 5, "random_negatives": 7, "rejected_negatives": 3}
    recommender = recommender_of(tiny_dataset, quick_config, quick.models, first)
    config = with_moments(quick_config, **many)
    rows, asked, chosen = replayed(recommender, tiny_dataset.events, first, config)
    graded = relevance_of(tiny_dataset.events, tiny_dataset.catalogue, config.relevance)
    future, refused = Future(tiny_dataset.events, graded), Future(tiny_dataset.events, -graded)
    rejecting = unproposed = 0
    for number in np.unique(rows.groups).tolist():
        moment, own = asked[number], rows.take(rows.groups == number)
        until = moment.request.at + config.moments.horizon_days * DAY
        about = int(chosen.user[number]), int(chosen.position[number]), until
        played, rejected = future.of(*about)[0], np.setdiff1d(refused.of(*about)[0], future.of(*about)[0])
        positives = int(np.isin(moment.rows, played).sum())
        proposed = {tuple(row) for row in np.nan_to_num(moment.values)}
        inside = np.array([tuple(row) in proposed for row in np.nan_to_num(own.values)])
        assert (own.labels[~inside] == 0).all()
        assert (~inside).sum() <= 7 + min(3, len(rejected))
        unproposed += int((~inside).sum())
        most = positives + 5 + min(3, len(rejected))
        assert positives + min(5, len(moment.rows) - positives) <= inside.sum() <= most
        rejecting += len(rejected) > 0
    assert rejecting > 5
    assert unproposed > 3 * len(np.unique(rows.groups))


def test_a_replay_leaves_the_store_after_the_last_event(
    tiny_dataset: Dataset, quick: Fitted, quick_config: Config, recommender_of: RecommenderOf
) -> None:
    recommender = recommender_of(tiny_dataset, quick_config, quick.models, 3_000)
    replayed(recommender, tiny_dataset.events, 3_000, quick_config)
    whole = recommender_of(tiny_dataset, quick_config, quick.models, len(tiny_dataset.events))
    one, two = recommender.store, whole.store
    np.testing.assert_array_equal(one.counters.plays, two.counters.plays)
    for user_id in tiny_dataset.events.user_ids.tolist():
        np.testing.assert_array_equal(one.user(user_id).history.rows, two.user(user_id).history.rows)
        assert one.user(user_id).version == two.user(user_id).version


def test_moments_in_which_nothing_is_played_are_an_error_that_says_what_to_do(
    tiny_dataset: Dataset, quick: Fitted, quick_config: Config, recommender_of: RecommenderOf
) -> None:
    recommender = recommender_of(tiny_dataset, quick_config, quick.models, 3_999)
    config = quick_config.model_copy(update={"moments": MomentParams(active=0, idle=0)})
    with pytest.raises(NextreelError, match="Hint: more interactions"):
        replayed(recommender, tiny_dataset.events, 3_999, config)


@pytest.mark.parametrize("part", [None, 1, 97])
def test_replayed_feature_rows_equal_served_ones(
    part: int | None, tiny_dataset: Dataset, quick: Fitted, quick_config: Config, recommender_of: RecommenderOf
) -> None:
    first = 3_000
    recommender = recommender_of(tiny_dataset, quick_config, quick.models, first)
    _, asked, chosen = replayed(recommender, tiny_dataset.events, first, quick_config)
    assert len(asked) == len(chosen.position) > 150
    for number in np.linspace(0, len(asked) - 1, 2 if part == 1 else 8).astype(int):
        # a fresh store to which the same events came, all at once or as they come live
        served = recommender_of(tiny_dataset, quick_config, quick.models, int(chosen.position[number]), part)
        moment = served.gather(asked[number].request)
        np.testing.assert_array_equal(moment.rows, asked[number].rows)
        np.testing.assert_array_equal(served.matrix(moment).values, asked[number].values)


def liked_only(dataset: Dataset) -> Dataset:
    """The data set with every event a like, so that its relevance does not hang on the video it is about."""
    return replace(dataset, events=replace(dataset.events, kind=np.full(len(dataset.events), Kind.LIKE, np.int8)))


@pytest.mark.parametrize("change", ["permuted", "one video"])
def test_what_comes_after_a_moment_changes_no_feature_row(
    change: str, tiny_dataset: Dataset, quick: Fitted, quick_config: Config, recommender_of: RecommenderOf
) -> None:
    dataset = liked_only(tiny_dataset)
    first, cut = 3_000, 3_500
    video = dataset.events.video.copy()
    later = cut + np.flatnonzero(video[cut:] >= 0)  # an event about a channel stays one
    video[later] = np.random.default_rng(0).permutation(video[later]) if change == "permuted" else 7
    other = replace(dataset, events=replace(dataset.events, video=video))
    before: dict[str, list[Asked]] = {}
    for name, one in (("as it was", dataset), ("changed", other)):
        recommender = recommender_of(one, quick_config, quick.models, first)
        _, before[name], chosen = replayed(recommender, one.events, first, quick_config)
    early = chosen.position <= cut
    assert 20 < early.sum() < len(early) - 20
    differ = 0
    for known, was, now in zip(early, before["as it was"], before["changed"], strict=True):
        assert was.request == now.request
        same = np.array_equal(was.rows, now.rows) and np.array_equal(was.values, now.values, equal_nan=True)
        assert same or not known
        differ += not same
    assert differ > 10  # those later do change: the test can fail


def test_a_row_asked_for_has_the_features_that_the_candidate_has(tiny_dataset: Dataset, quick: Fitted) -> None:
    recommender = quick.recommender
    people: list[UserId | None] = [*tiny_dataset.events.user_ids[:12].tolist(), None, "somebody new"]
    rng = np.random.default_rng(1)
    for user_id in people:
        request = Request(user_id, float(tiny_dataset.events.at[-1]) + 60.0)
        moment = recommender.gather(request)
        whole = recommender.matrix(moment).values
        for chosen in (np.arange(len(moment)), rng.permutation(len(moment))[:7], np.array([len(moment) - 1])):
            again = recommender.gather(request, rows=moment.rows[chosen])
            np.testing.assert_array_equal(recommender.matrix(again).values, whole[chosen])


def test_a_moment_does_not_change_the_store(tiny_dataset: Dataset, quick: Fitted) -> None:
    user_id: Any = tiny_dataset.events.user_ids[0]
    request = Request(user_id, float(tiny_dataset.events.at[-1]))
    state = quick.store.user(user_id)
    before = (state.version, state.history.rows.copy(), quick.store.counters.plays.copy())
    quick.recommender.recommend(request)
    quick.recommender.gather(request, rows=np.arange(5, dtype=np.int32))
    assert state.version == before[0]
    np.testing.assert_array_equal(state.history.rows, before[1])
    np.testing.assert_array_equal(quick.store.counters.plays, before[2])
    stranger = Request("somebody new", request.at)
    quick.recommender.recommend(stranger)
    assert not quick.store.knows("somebody new")
