"""Formulas for scores of exposures, beside plain definitions that share no code with them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import rankdata

from nextreel import metrics
from nextreel.evaluation.answers import Bin, calibration_error, ndcg_by_group, reliability


def plain_ndcg(labels: list[int], scores: list[float], k: int) -> float:
    """The mean NDCG@k over every order that the scores allow; NaN without a positive."""
    gains = []
    for order in itertools.permutations(range(len(labels))):
        ordered = [scores[one] for one in order]
        if ordered == sorted(scores, reverse=True):
            gains.append(sum(labels[one] / math.log2(place + 2) for place, one in enumerate(order[:k])))
    best = sum(1 / math.log2(place + 2) for place in range(min(k, sum(labels))))
    return sum(gains) / len(gains) / best if best else math.nan


@pytest.mark.parametrize("seed", range(5))
def test_ndcg_with_equal_scores_is_the_mean_over_all_their_orders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(6), rng.integers(1, 6, 6))
    labels, scores = rng.integers(0, 2, len(group)), rng.integers(0, 3, len(group)).astype(float)
    for k in (1, 3, 10):
        found = ndcg_by_group(labels, scores, group, 6, k)
        for one in range(6):
            own = group == one
            expected = plain_ndcg(labels[own].tolist(), scores[own].tolist(), k)
            assert found[one] == pytest.approx(expected, nan_ok=True)


def test_groups_may_stand_in_any_order_and_be_empty() -> None:
    found = ndcg_by_group([1, 0, 0, 1], [0.2, 0.9, 0.1, 0.8], np.array([2, 0, 2, 0]), 4)
    assert found.tolist() == pytest.approx([1 / math.log2(3), math.nan, 1.0, math.nan], nan_ok=True)
    assert np.isnan(ndcg_by_group([], [], np.array([], np.int64), 2)).all()


@pytest.mark.parametrize("seed", range(5))
def test_auc_of_each_group_is_that_of_counting_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group, labels = rng.integers(0, 5, 60), rng.integers(0, 2, 60)
    scores = rng.integers(0, 8, 60).astype(float)
    found = metrics.auc_by_group(labels, scores, group, 6)
    for one in range(6):
        good, bad = (scores[(group == one) & (labels == label)] for label in (1, 0))
        pairs = (good[:, None] > bad).mean() + (good[:, None] == bad).mean() / 2 if len(good) and len(bad) else math.nan
        assert found[one] == pytest.approx(pairs, nan_ok=True)


def test_bins_are_those_of_mean_places_whatever_the_order_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    told, true = np.round(rng.random(500), 2), rng.random(500)
    bins = reliability(true, told, 15)
    number = np.minimum(((rankdata(told) - 0.5) / 500 * 15).astype(int), 14)
    expected = [
        Bin(told[number == one].mean(), true[number == one].mean(), int((number == one).sum())) for one in range(15)
    ]
    assert [one.rows for one in bins] == [one.rows for one in expected]
    for found, one in zip(bins, expected, strict=True):
        assert (found.predicted, found.observed) == pytest.approx((one.predicted, one.observed))
    shuffled = rng.permutation(500)
    assert [one.rows for one in reliability(true[shuffled], told[shuffled], 15)] == [one.rows for one in bins]


def test_the_calibration_error_without_equals_is_that_of_parts_of_one_size() -> None:
    rng = np.random.default_rng(2)
    told, true = rng.random(450), rng.integers(0, 2, 450)
    parts = np.array_split(np.argsort(told), 15)
    expected = sum(len(part) * abs(told[part].mean() - true[part].mean()) for part in parts) / 450
    assert calibration_error(reliability(true, told)) == pytest.approx(expected)


def test_one_probability_for_all_is_one_bin_and_no_rows_have_no_error() -> None:
    assert reliability([0, 0, 1, 1], [0.25] * 4) == [Bin(0.25, 0.5, 4)]
    assert math.isnan(calibration_error(reliability([], [])))


def test_log_loss_of_parts_is_the_cross_entropy_and_other_labels_are_refused() -> None:
    labels, told = [0.25, 1.0, 0.0], [0.5, 0.9, 0.2]
    by_hand = -(math.log(0.5) + math.log(0.9) + math.log(0.8)) / 3
    assert metrics.log_loss(labels, told) == pytest.approx(by_hand)
    for wrong in ([2.0], [-0.5], [math.nan]):
        with pytest.raises(metrics.MetricError, match="labels from 0 to 1"):
            metrics.log_loss(wrong, [0.5])


def test_a_weight_in_the_bootstrap_is_as_many_rows_of_the_same_person() -> None:
    rng = np.random.default_rng(3)
    a, b, weights = rng.random(40), rng.random(40), rng.integers(1, 5, 40)
    people = np.repeat(np.arange(40), weights)
    weighted = metrics.paired_bootstrap(a, b, seed=1, weights=weights)
    assert weighted == pytest.approx(metrics.paired_bootstrap(a[people], b[people], seed=1, groups=people))
    assert weighted[0] == pytest.approx(np.average(a - b, weights=weights))
