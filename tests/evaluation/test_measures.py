"""What lists are worth, counted by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nextreel.evaluation import trials
from nextreel.evaluation.measures import CUTS, measure
from nextreel.evaluation.trials import EvaluationError
from nextreel.types import Events, FloatArray

Grade = Callable[[Events], FloatArray]
EACH_ITS_OWN = np.eye(10, dtype=np.float32)  # no two videos share a category


def test_metrics_of_lists_are_those_counted_by_hand(tiny: Events, watches: Grade) -> None:
    lists = np.full((2, 100), -1, np.int32)
    lists[0, :3] = [9, 2, 5]  # truth 2 and 5
    lists[1, :2] = [1, 3]  # truth 1 and 9
    found = measure(lists, trials.frozen(tiny, watches, 10), EACH_ITS_OWN)
    assert found.each["recall@10"].tolist() == [1.0, 0.5]
    assert found.mean["recall@10"] == 0.75
    assert found.mean["precision@5"] == pytest.approx((2 / 5 + 1 / 5) / 2)
    assert found.mean["hit_rate@10"] == 1.0
    assert found.mean["mrr"] == pytest.approx((1 / 2 + 1) / 2)
    ideal = 1 + 1 / np.log2(3)
    assert found.mean["ndcg@10"] == pytest.approx(((1 / np.log2(3) + 1 / 2) / ideal + 1 / ideal) / 2)
    assert found.mean["map@100"] == pytest.approx(((1 / 2 + 2 / 3) / 2 + 1 / 2) / 2)
    assert found.mean["coverage@10"] == pytest.approx(5 / 7)  # 9 2 5 1 3 of the seven videos with an event
    assert found.mean["diversity@10"] == 1.0
    shares = np.array([31, 11, 11, 21, 21, 1, 1, 1, 1, 1]) / 100  # 90 watches and one more for each of 10 videos
    bits = -np.log2(shares)
    assert found.mean["novelty@10"] == pytest.approx((bits[[9, 2, 5]].mean() + bits[[1, 3]].mean()) / 2)


def test_where_one_video_is_right_the_hit_rate_is_the_recall(tiny: Events, watches: Grade) -> None:
    trial = trials.live(tiny, watches, 10)
    lists = np.full((5, 100), -1, np.int32)
    lists[:, :3] = [[2, 5, 9], [3, 1, 5], [9, 2, 5], [0, 4, 3], [5, 3, 9]]
    lists[2, 1] = 6  # user 0 has met video 2 by then
    found = measure(lists, trial, EACH_ITS_OWN)
    gains = [1.0, 1 / np.log2(3), 1 / 2, 0.0, 1 / 2]  # the right ones: 2, 1, 5, 1, 9
    assert found.each["ndcg@10"].tolist() == pytest.approx(gains)
    assert found.each["hit_rate@10"].tolist() == [1, 1, 1, 0, 1]
    for k in CUTS:
        np.testing.assert_array_equal(found.each[f"recall@{k}"], found.each[f"hit_rate@{k}"])
    np.testing.assert_array_equal(found.each["map@100"], found.each["mrr"])


def test_a_list_with_a_watched_video_is_refused(tiny: Events, watches: Grade) -> None:
    lists = np.full((2, 100), -1, np.int32)
    lists[1, 0] = 4
    with pytest.raises(EvaluationError, match="row 4 for user 'u1'"):
        measure(lists, trials.frozen(tiny, watches, 10), EACH_ITS_OWN)
