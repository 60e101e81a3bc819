"""For whom, and with which videos, a model is good: counted by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nextreel.evaluation import trials
from nextreel.evaluation.measures import measure
from nextreel.evaluation.segments import Segment, segments
from nextreel.evaluation.trials import Trial
from nextreel.types import Events, FloatArray

Grade = Callable[[Events], FloatArray]
VIDEOS = 30


def found(trial: Trial, places: list[tuple[int, int, int]]) -> dict[tuple[str, str], Segment]:
    """The segments of a model whose lists hold a row at a place, for (request, place, row), and nothing right else."""
    lists = np.full((len(trial), 100), -1, np.int32)
    lists[:, :20] = np.arange(10, 30)  # nobody watches these
    for request, place, row in places:
        lists[request, place] = row
    parts = segments(trial, {"model": measure(lists, trial, np.ones((VIDEOS, 1), np.float32))})
    return {(one.by, one.name): one for one in parts}


def test_live_requests_are_parted_by_what_was_known_at_each(tiny: Events, watches: Grade) -> None:
    trial = trials.live(tiny, watches, VIDEOS)
    # the right ones are 2 1 5 1 9, after 40, 30, 41, 0 and 33 events; models know 10 watches of 1 and of 2, none of 5
    parts = found(trial, [(0, 0, 2), (2, 15, 5), (3, 1, 1)])
    assert [(*name, one.many) for name, one in parts.items()] == [
        ("events of the person", "0", 1),
        ("events of the person", "10 to 49", 4),
        ("events of the right video", "0", 2),
        ("events of the right video", "10 to 99", 3),
    ]
    cold = parts["events of the person", "0"].metrics["model"]
    assert cold == pytest.approx({"ndcg@10": 1 / np.log2(3), "hit_rate@10": 1, "recall@100": 1})
    warm = parts["events of the person", "10 to 49"].metrics["model"]
    assert warm == pytest.approx({"ndcg@10": 1 / 4, "hit_rate@10": 1 / 4, "recall@100": 2 / 4})
    assert parts["events of the right video", "0"].metrics["model"] == {"recall@10": 0, "recall@100": 1 / 2}
    known = parts["events of the right video", "10 to 99"].metrics["model"]
    assert known == pytest.approx({"recall@10": 2 / 3, "recall@100": 2 / 3})


def test_right_videos_of_one_list_fall_into_several_parts(tiny: Events, watches: Grade) -> None:
    trial = trials.frozen(tiny, watches, VIDEOS)
    parts = found(trial, [(0, 3, 5), (1, 0, 1), (1, 12, 9)])  # right: 2 and 5, 1 and 9
    people = parts["events of the person", "10 to 49"]
    assert people.many == 2
    assert people.metrics["model"]["recall@100"] == pytest.approx((1 / 2 + 1) / 2)
    assert parts["events of the right video", "0"].metrics["model"] == {"recall@10": 1 / 2, "recall@100": 1}
    assert parts["events of the right video", "10 to 99"].metrics["model"] == {"recall@10": 1 / 2, "recall@100": 1 / 2}


def test_padding_counts_as_no_video(tiny: Events, watches: Grade) -> None:
    trial = trials.live(tiny, watches, 10)  # row -1 is row 9, which is right for the last request
    lists = np.full((len(trial), 100), -1, np.int32)
    parts = segments(trial, {"model": measure(lists, trial, np.ones((10, 1), np.float32))})
    assert all(value == 0 for one in parts for value in one.metrics["model"].values())


def test_parts_together_hold_every_request_and_every_right_video(tiny: Events, watches: Grade) -> None:
    for trial in (trials.live(tiny, watches, VIDEOS), trials.frozen(tiny, watches, VIDEOS)):
        parts = found(trial, []).values()
        assert sum(one.many for one in parts if one.by == "events of the person") == len(trial)
        assert sum(one.many for one in parts if one.by == "events of the right video") == len(trial.truth.rows)
