"""How trials are asked: the state stands just before each request, and everybody who is asked sees the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from nextreel.evaluation import trials
from nextreel.evaluation.asking import ask, refuse_met
from nextreel.evaluation.trials import EvaluationError, Trial
from nextreel.pipeline import Recommender
from nextreel.relevance import Relevance
from nextreel.store import MemoryStore
from nextreel.types import Catalogue, Events, FloatArray, Request, RowArray, Trace

Grade = Callable[[Events], FloatArray]


@dataclass
class Answer:
    """What of a slate a trial reads."""

    rows: RowArray
    trace: Trace = field(default_factory=Trace)


@dataclass
class Spy:
    """A recommender that writes down what stands in the store when it is asked."""

    store: MemoryStore
    rows: tuple[int, ...] = (7, 8)
    failures: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[Any, ...]] = field(default_factory=list)

    def recommend(self, request: Request) -> Answer:
        counters, history = self.store.counters, self.store.user(request.user_id).history
        plays, newest = int(counters.plays.sum()), float(counters.newest_at)
        self.seen.append((request.user_id, request.at, request.k, len(history), plays, newest))
        return Answer(np.array(self.rows, np.int32), Trace(failures=self.failures))


def asked(trial: Trial, catalogue: Catalogue, **spies: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Spy]]:
    store = MemoryStore(catalogue, Relevance())
    made = {name: Spy(store, **given) for name, given in spies.items()}
    return ask(trial, store, cast("dict[str, Recommender]", made), 4), made


def trial_of(protocol: str, events: Events, watches: Grade) -> Trial:
    by: dict[str, Callable[..., Trial]] = {
        "frozen": trials.frozen,
        "live": trials.live,
        "leave-last-out": trials.leave_last_out,
    }
    return by[protocol](events, watches, 10)


@pytest.mark.parametrize("protocol", ["frozen", "live", "leave-last-out"])
def test_the_store_stands_just_before_each_request(
    protocol: str, tiny: Events, tiny_catalogue: Catalogue, watches: Grade
) -> None:
    trial = trial_of(protocol, tiny, watches)
    _, spies = asked(trial, tiny_catalogue, spy={})
    expected = []
    for user, at, after in zip(trial.user.tolist(), trial.at.tolist(), trial.after.tolist(), strict=True):
        known = trial.stream.take(slice(0, after))
        expected.append((f"u{user}", at, 4, int((known.user == user).sum()), after, float(known.at[-1])))
    assert spies["spy"].seen == expected
    assert all(newest <= at for _, at, _, _, _, newest in spies["spy"].seen)


def test_a_live_request_knows_the_row_before_it_and_not_its_own(
    tiny: Events, tiny_catalogue: Catalogue, watches: Grade
) -> None:
    _, spies = asked(trials.live(tiny, watches, 10), tiny_catalogue, spy={})
    # user 0 has 40 rows before the split; at row 93 also row 90. User 3 is new
    assert [(one[0], one[3], one[4], one[5]) for one in spies["spy"].seen] == [
        ("u0", 40, 90, 89.0),
        ("u1", 30, 91, 90.0),
        ("u0", 41, 93, 92.0),
        ("u3", 0, 94, 93.0),
        ("u1", 33, 98, 97.0),
    ]


def test_all_recommenders_see_the_same(tiny: Events, tiny_catalogue: Catalogue, watches: Grade) -> None:
    trial = trials.live(tiny, watches, 10)
    answers, spies = asked(trial, tiny_catalogue, one={}, other={"rows": (6,)})
    assert spies["one"].seen == spies["other"].seen
    assert len(spies["one"].seen) == len(trial)
    assert answers["one"].lists.tolist() == [[7, 8, -1, -1]] * 5  # a short slate is padded
    assert answers["other"].lists.tolist() == [[6, -1, -1, -1]] * 5
    assert answers["one"].seconds > 0


def test_whoever_watches_is_told_of_each_request_before_the_state_moves_on(
    tiny: Events, tiny_catalogue: Catalogue, watches: Grade
) -> None:
    store = MemoryStore(tiny_catalogue, Relevance())
    told = []

    def watch(number: int, request: Request) -> None:
        told.append((number, request.user_id, int(store.counters.plays.sum())))

    ask(trials.live(tiny, watches, 10), store, {}, 4, watch=watch)
    assert told == [(0, "u0", 90), (1, "u1", 91), (2, "u0", 93), (3, "u3", 94), (4, "u1", 98)]


def test_numbers_stay_plain_numbers_as_ids_of_people(tiny: Events, tiny_catalogue: Catalogue, watches: Grade) -> None:
    trial = trials.frozen(tiny, watches, 10)
    object.__setattr__(trial.stream, "user_ids", np.array([10, 20, 30, 40]))
    _, spies = asked(trial, tiny_catalogue, spy={})
    assert [one[0] for one in spies["spy"].seen] == [10, 20]
    assert {type(one[0]) for one in spies["spy"].seen} == {int}


def test_an_answer_that_a_part_failed_in_is_no_result(tiny: Events, tiny_catalogue: Catalogue, watches: Grade) -> None:
    with pytest.raises(EvaluationError, match=r"spy.*request 0.*als.*ValueError"):
        asked(trials.live(tiny, watches, 10), tiny_catalogue, spy={"failures": {"als": "ValueError('bad')"}})


def one_row(trial: Trial, request: int, row: int) -> RowArray:
    lists = np.full((len(trial), 4), -1, np.int32)
    lists[request, 1] = row
    return lists


def test_a_list_with_a_video_met_before_is_refused(tiny: Events, watches: Grade) -> None:
    trial = trials.frozen(tiny, watches, 10)
    with pytest.raises(EvaluationError, match=r"got 1 .* row 4 for user 'u1'"):
        refuse_met(one_row(trial, 1, 4), trial)
    refuse_met(one_row(trial, 0, 9), trial)


def test_in_live_a_video_met_only_after_the_request_is_allowed(tiny: Events, watches: Grade) -> None:
    trial = trials.live(tiny, watches, 10)
    # requests 0 and 2 are user 0's at rows 90 and 93; row 90 is of video 2 and row 93 of video 5
    refuse_met(one_row(trial, 0, 2), trial)
    refuse_met(one_row(trial, 0, 5), trial)
    refuse_met(one_row(trial, 2, 5), trial)
    with pytest.raises(EvaluationError, match="row 2 for user 'u0'"):
        refuse_met(one_row(trial, 2, 2), trial)
