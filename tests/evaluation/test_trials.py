"""The protocols as data: who is asked, when, what is known then, and what was right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.evaluation import trials
from nextreel.evaluation.trials import EvaluationError, Met, Trial
from nextreel.types import UNKNOWN, Events, FloatArray, Kind

Grade = Callable[[Events], FloatArray]
EventsOf = Callable[..., Events]
Lines = Sequence[tuple[int, ...]]

IMPRESSION, WATCH, HIDE, SUBSCRIBE = int(Kind.IMPRESSION), int(Kind.WATCH), int(Kind.HIDE), int(Kind.SUBSCRIBE)


def truths(trial: Trial) -> list[list[int]]:
    ends = trial.truth.offsets.tolist()
    return [trial.truth.rows[start:end].tolist() for start, end in pairwise(ends)]


# --- Frozen ----------------------------------------------------------------------------------------------------------


def test_frozen_is_cut_by_rows_and_time_stands_just_after_the_last_known_event(tiny: Events, watches: Grade) -> None:
    trial = trials.frozen(tiny, watches, 10)
    assert (int(trial.train.sum()), len(trial.history)) == (80, 90)
    assert trial.train[:80].all()
    assert ((trial.at > 89.0) & (trial.at < 89.001)).all()
    assert trial.after.tolist() == [90, 90]
    assert trial.stream is trial.history


def test_frozen_truth_is_what_is_new_to_people_who_have_a_history(tiny: Events, watches: Grade) -> None:
    trial = trials.frozen(tiny, watches, 10)
    # user 2 watches only what they know, user 3 has no history
    assert trial.user.tolist() == [0, 1]
    assert truths(trial) == [[2, 5], [1, 9]]
    assert np.flatnonzero(trial.videos).tolist() == [0, 1, 2, 3, 4, 5, 9]


def test_an_impression_neither_hides_a_video_nor_makes_it_right(events_of: EventsOf, watches: Grade) -> None:
    lines = [(0, 0), (1, 0), (0, 5, IMPRESSION), *[(0, 1)] * 6]
    trial = trials.frozen(events_of([*lines, (0, 5)]), watches, 6)
    assert truths(trial) == [[5]]
    for protocol in (trials.frozen, trials.live, trials.leave_last_out):
        with pytest.raises(EvaluationError, match="got none"):
            protocol(events_of([*lines, (0, 4, IMPRESSION)]), watches, 6)


def test_other_fractions_cut_elsewhere(tiny: Events, watches: Grade) -> None:
    trial = trials.frozen(tiny, watches, 10, fractions=(0.5, 0.3, 0.2))
    assert (int(trial.train.sum()), len(trial.history)) == (50, 80)
    trial = trials.live(tiny, watches, 10, fractions=(0.5, 0.3, 0.2))
    assert (int(trial.train.sum()), len(trial.history), int(trial.after[0])) == (50, 80, 80)


def test_without_time_stamps_each_persons_rows_are_cut_by_their_order(events_of: EventsOf, watches: Grade) -> None:
    # one person's rows after the other's, as many files without times are sorted
    world = events_of([(user, video) for user in (0, 1) for video in range(user, user + 10)])
    trial = trials.frozen(world, watches, 11, timed=False)
    assert (int(trial.train.sum()), len(trial.history)) == (16, 18)
    assert trial.user.tolist() == [0, 1]
    assert truths(trial) == [[9], [10]]
    assert (np.diff(trial.history.at) > 0).all()
    assert (trial.at > trial.history.at[-1]).all()


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("protocol", [trials.frozen, trials.leave_last_out])
def test_known_events_keep_all_their_columns(protocol: Callable[..., Trial], timed: bool, tiny: Events) -> None:
    number = np.arange(len(tiny), dtype=np.int32)
    world = replace(tiny, value=number.astype(np.float32), device=number, position=number, devices=("phone",))
    history = protocol(world, lambda some: np.ones(len(some), np.float32), 10, timed=timed).history
    assert history.devices == ("phone",)
    assert history.device.tolist() == history.position.tolist() == history.value.astype(int).tolist()
    assert history.user.tolist() == world.user[history.device].tolist()


# --- Live ------------------------------------------------------------------------------------------------------------


def test_live_asks_at_each_new_video_of_the_test_part_and_knows_all_earlier_rows(tiny: Events, watches: Grade) -> None:
    trial = trials.live(tiny, watches, 10)
    # rows 92 and 95 are of videos known before the split, 96 and 97 and 99 of ones met by then; user 3 is new
    assert trial.after.tolist() == [90, 91, 93, 94, 98]
    assert trial.at.tolist() == [90.0, 91.0, 93.0, 94.0, 98.0]
    assert trial.user.tolist() == [0, 1, 0, 3, 1]
    assert truths(trial) == [[2], [1], [5], [1], [9]]


def test_live_models_are_those_of_the_split_while_the_stream_goes_on(tiny: Events, watches: Grade) -> None:
    trial = trials.live(tiny, watches, 10)
    assert (int(trial.train.sum()), len(trial.history), len(trial.stream)) == (80, 90, 100)
    assert trial.history.at.tolist() == list(range(90))
    assert len(trial.watched) == len(trial.train) == 90
    assert len(trial.seen) == 100


def test_live_may_ask_at_every_nth_row_of_the_test_part_alone(tiny: Events, watches: Grade) -> None:
    assert trials.live(tiny, watches, 10, every=2).after.tolist() == [91, 93]
    assert trials.live(tiny, watches, 10, every=5).after.tolist() == [94]


def test_live_does_not_ask_where_nothing_was_watched(events_of: EventsOf, watches: Grade) -> None:
    lines = [(0, 0)] * 9 + [(1, 0)] * 9 + [(0, 1, HIDE), (0, 2)]
    trial = trials.live(events_of(lines), watches, 3)
    assert trial.after.tolist() == [19]
    channel = [(0, 0)] * 9 + [(1, 0)] * 9 + [(0, UNKNOWN, SUBSCRIBE), (0, 2)]
    assert trials.live(events_of(channel), watches, 3).after.tolist() == [19]


# --- Leave-last-out --------------------------------------------------------------------------------------------------

# Row:   0       1       2       3       4       5       6       7       8       9       10      11
LEFT = [(0, 0), (3, 5), (1, 4), (2, 0), (0, 1), (2, 1), (3, 6), (2, 0), (0, 2), (0, 3), (1, 5), (3, 7)]


def test_leave_last_out_asks_for_each_persons_last_video(events_of: EventsOf, watches: Grade) -> None:
    trial = trials.leave_last_out(events_of(LEFT), watches, 8)
    # user 1 watches two videos, and so does user 2, one of them twice
    assert trial.user.tolist() == [0, 3]
    assert truths(trial) == [[3], [7]]
    assert trial.at.tolist() == [9.0, 11.0]


def test_leave_last_out_counts_only_rows_that_are_no_test_rows(events_of: EventsOf, watches: Grade) -> None:
    trial = trials.leave_last_out(events_of(LEFT), watches, 8)
    assert trial.history.at.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]
    assert trial.after.tolist() == [9, 10]  # before row 11 all but row 9
    assert trial.history.at[~trial.train].tolist() == [6, 8]  # the last but one of users 3 and 0
    assert trial.stream is trial.history


def test_leave_last_out_is_about_the_last_new_video_and_hides_what_follows_it(
    events_of: EventsOf, watches: Grade
) -> None:
    # after the third video come one watched again, one hidden and one shown; a second person goes on meanwhile
    own = [(0, 0), (0, 1), (0, 3, IMPRESSION), (0, 2), (0, 0), (0, 4, HIDE), (0, 5, IMPRESSION)]
    trial = trials.leave_last_out(events_of([*own, (1, 2), (1, 3)]), watches, 6)
    assert (trial.user.tolist(), truths(trial), trial.after.tolist()) == ([0], [[2]], [3])
    assert trial.history.at.tolist() == [0, 1, 2, 7, 8]
    assert trial.history.at[~trial.train].tolist() == [1, 2]


def test_leave_last_out_without_time_stamps_goes_by_the_order_of_rows(events_of: EventsOf, watches: Grade) -> None:
    world = events_of([(user, video) for user in (0, 1) for video in range(user, user + 4)], at=[5.0] * 8)
    trial = trials.leave_last_out(world, watches, 5, timed=False)
    assert trial.at.tolist() == [3.0, 7.0]
    assert trial.after.tolist() == [3, 6]


# --- Promises of every protocol --------------------------------------------------------------------------------------

LINES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 7), st.sampled_from([WATCH, WATCH, WATCH, HIDE, IMPRESSION])),
    min_size=3,
    max_size=80,
)
KNOWN_PARTS = {"frozen": 0.9, "live": 0.9}


def numbered(lines: Lines, gaps: Sequence[int], events_of: EventsOf) -> Events:
    """Events that carry the number of their row as value, at times that may be the same."""
    at = np.cumsum(np.resize(np.array(gaps, np.float64), len(lines)))
    return replace(events_of(lines, at), value=np.arange(len(lines), dtype=np.float32))


def left_out(events: Events, protocol: str) -> set[int]:
    """The rows of the test part, worked out one by one."""
    n = len(events)
    if protocol in KNOWN_PARTS:
        return set(range(int(n * 0.9 + 1e-9), n))
    found: set[int] = set()
    for user in set(events.user.tolist()):
        met, new = set(), []
        own = [row for row in range(n) if events.user[row] == user]
        for row in own:
            video, kind = int(events.video[row]), int(events.kind[row])
            new += [row] if kind == WATCH and video not in met else []
            met |= {video} if kind != IMPRESSION else set()
        found |= {row for row in own if len(new) >= 3 and row >= new[-1]}
    return found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(lines=LINES, gaps=st.lists(st.integers(0, 2), min_size=1, max_size=9), every=st.integers(1, 3))
@pytest.mark.parametrize("protocol", ["frozen", "live", "leave-last-out"])
def test_nothing_of_the_future_is_known_at_a_request(
    protocol: str, lines: Lines, gaps: Sequence[int], every: int, events_of: EventsOf, watches: Grade
) -> None:
    events = numbered(lines, gaps, events_of)
    try:
        trial = {
            "frozen": lambda: trials.frozen(events, watches, 8),
            "live": lambda: trials.live(events, watches, 8, every=every),
            "leave-last-out": lambda: trials.leave_last_out(events, watches, 8),
        }[protocol]()
    except EvaluationError:
        return
    test = left_out(events, protocol)
    history, stream = (set(part.value.astype(int).tolist()) for part in (trial.history, trial.stream))
    assert history == set(range(len(events))) - test
    assert (trial.stream.value[1:] > trial.stream.value[:-1]).all()
    assert (np.diff(trial.after) >= 0).all()
    for user, at, after, right in zip(trial.user, trial.at, trial.after, truths(trial), strict=True):
        known = trial.stream.take(slice(0, after))
        assert (known.at <= at).all()
        own = sorted(row for row in test if events.user[row] == user)
        asked = int(after) if protocol == "live" else own[0]  # the row that the request stands before
        assert known.value.max(initial=-1) < asked or protocol == "leave-last-out"
        assert not set(known.value.astype(int).tolist()) & {row for row in own if row >= asked}
        met = {
            row
            for row, kind in zip(known.video[known.user == user], known.kind[known.user == user], strict=True)
            if kind != IMPRESSION
        }
        assert right
        assert not met & set(right)
        watched = {int(events.video[row]) for row in own if row >= asked and events.kind[row] == WATCH}
        assert right == (sorted(watched - met) if protocol == "frozen" else [int(events.video[asked])])
    if protocol == "leave-last-out":
        assert stream == history
        assert set(trial.user.tolist()) == {int(events.user[row]) for row in test}
        assert len(set(trial.user.tolist())) == len(trial)


def test_no_request_is_missed(events_of: EventsOf, watches: Grade) -> None:
    # everybody watches only what is new to them: each test row is a request
    lines = [(video % 5, video) for video in range(60)]
    events = events_of(lines)
    assert trials.live(events, watches, 60).after.tolist() == list(range(54, 60))
    assert trials.live(events, watches, 60, every=2).after.tolist() == [55, 57, 59]
    assert truths(trials.leave_last_out(events, watches, 60)) == [[video] for video in range(55, 60)]
    assert sorted(chain.from_iterable(truths(trials.frozen(events, watches, 60)))) == list(range(54, 60))


# --- What was met ----------------------------------------------------------------------------------------------------


def test_a_video_is_met_from_its_first_event_on(events_of: EventsOf) -> None:
    events = events_of([(0, 2), (1, 2), (0, 2), (0, 1), (0, 3, IMPRESSION)])
    met = Met.of(events, np.array([True, True, True, True, False]), 4)
    user, after = np.array([0, 0, 0, 1], np.int32), np.array([0, 1, 5, 1], np.int64)
    rows = np.tile(np.array([2, 1, 3, UNKNOWN], np.int32), (4, 1))
    assert met.before(user, rows, after).tolist() == [
        [False, False, False, False],
        [True, False, False, False],
        [True, True, False, False],
        [False, False, False, False],
    ]


def test_before_any_event_nothing_was_met(events_of: EventsOf) -> None:
    events = events_of([(0, 1)])
    met = Met.of(events, np.array([False]), 2)
    assert not met.before(np.zeros(1, np.int32), np.ones((1, 3), np.int32), np.ones(1, np.int64)).any()
