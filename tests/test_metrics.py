from __future__ import annotations

import math
from typing import Any

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG

from nextreel import metrics
from nextreel.metrics import Judged, MetricError, Truth, judge
from nextreel.types import BoolArray, RowArray

USERS, VIDEOS, K = 40, 60, 20


def random_world(seed: int, most_truths: int = 15) -> tuple[RowArray, Truth]:
    """Lists without repeats, some short, and truths of every size from 1 up."""
    rng = np.random.default_rng(seed)
    lists = np.stack([rng.permutation(VIDEOS)[:K] for _ in range(USERS)]).astype(np.int32)
    for user in range(0, USERS, 5):
        lists[user, int(rng.integers(1, K)) :] = -1
    pairs = [(user, row) for user in range(USERS) for row in rng.permutation(VIDEOS)[: rng.integers(2, most_truths)]]
    users, rows = np.array(pairs).T
    return lists, Truth.of(users, rows, USERS)


def truths(truth: Truth, user: int) -> set[int]:
    return set(truth.rows[truth.offsets[user] : truth.offsets[user + 1]].tolist())


def assert_agree(lists: RowArray, truth: Truth) -> dict[Any, metrics.Values]:
    """Our metrics of each user, after they were found to be those of an independent implementation."""
    judged = judge(lists, truth)
    qrels = {str(user): {str(row): 1 for row in truths(truth, user)} for user in range(USERS)}
    run = {
        str(user): {str(row): float(K - place) for place, row in enumerate(lists[user].tolist()) if row >= 0}
        for user in range(USERS)
    }
    ours = {
        R @ 10: metrics.recall(judged, 10),
        nDCG @ 10: metrics.ndcg(judged, 10),
        Success @ 10: metrics.hit_rate(judged, 10),
        P @ 10: metrics.precision(judged, 10),
        RR: metrics.reciprocal_rank(judged),
        AP @ 20: metrics.average_precision(judged, 20),  # nobody has more than 20 truths: one definition
    }
    theirs = np.full((len(ours), USERS), np.nan)
    places = {str(measure): place for place, measure in enumerate(ours)}
    for found in ir_measures.iter_calc(list(ours), qrels, run):
        theirs[places[str(found.measure)], int(found.query_id)] = found.value
    np.testing.assert_allclose(np.stack(list(ours.values())), theirs, atol=1e-9)
    return ours


def test_list_metrics_agree_with_an_independent_implementation() -> None:
    assert_agree(*random_world(0))


def test_with_one_right_video_they_agree_too_and_several_are_one_number() -> None:
    lists, _ = random_world(1)
    rng = np.random.default_rng(1)
    right = np.where(rng.random(USERS) < 0.7, lists[np.arange(USERS), rng.integers(0, K, USERS)], VIDEOS)
    right[right < 0] = VIDEOS  # in no list
    ours = assert_agree(lists, Truth.of(np.arange(USERS), right, USERS))
    assert 3 < ours[Success @ 10].sum() < 30
    np.testing.assert_array_equal(ours[R @ 10], ours[Success @ 10])
    np.testing.assert_allclose(ours[P @ 10], ours[R @ 10] / 10)
    np.testing.assert_allclose(ours[AP @ 20], ours[RR])


@given(st.integers(0, 10_000), st.integers(1, K))
@settings(max_examples=30, deadline=None)
def test_list_metrics_agree_with_their_plain_definition(seed: int, k: int) -> None:
    lists, truth = random_world(seed, most_truths=30)
    judged = judge(lists, truth)
    for user in range(USERS):
        right, shown = truths(truth, user), lists[user, :k].tolist()
        places = [place for place, row in enumerate(shown, 1) if row in right]
        ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(right)) + 1))
        assert metrics.recall(judged, k)[user] == pytest.approx(len(places) / len(right))
        assert metrics.precision(judged, k)[user] == pytest.approx(len(places) / k)
        assert metrics.hit_rate(judged, k)[user] == bool(places)
        assert metrics.ndcg(judged, k)[user] == pytest.approx(sum(1 / math.log2(p + 1) for p in places) / ideal)
        assert metrics.reciprocal_rank(judged, k)[user] == pytest.approx(1 / places[0] if places else 0)
        precisions = sum(hits / place for hits, place in enumerate(places, 1))
        assert metrics.average_precision(judged, k)[user] == pytest.approx(precisions / min(k, len(right)))


def test_a_perfect_list_scores_one_also_with_more_truths_than_places() -> None:
    truth = Truth.of(np.zeros(50, np.int64), np.arange(50), 1)
    judged = judge(np.arange(10, dtype=np.int32)[None], truth)
    assert metrics.ndcg(judged, 10)[0] == pytest.approx(1)
    assert metrics.average_precision(judged, 10)[0] == pytest.approx(1)
    assert metrics.recall(judged, 10)[0] == pytest.approx(0.2)


def test_a_user_without_truth_has_no_recall() -> None:
    judged = judge(np.array([[1, 2], [1, 2]]), Truth.of(np.array([1]), np.array([2]), 2))
    assert np.isnan(metrics.recall(judged, 2)).tolist() == [True, False]
    assert np.isnan(metrics.ndcg(judged, 2)).tolist() == [True, False]


def test_padding_is_never_right_even_for_the_neighbouring_user() -> None:
    truth = Truth.of(np.array([0, 1]), np.array([9, 0]), 2)
    assert not judge(np.array([[-1, -1], [-1, -1]]), truth).found.any()


def test_a_list_with_a_repeat_is_refused() -> None:
    with pytest.raises(MetricError, match="list of user 1 holds row 7 twice"):
        judge(np.array([[1, 2, -1, -1], [7, 3, 7, -1]]), Truth.of(np.array([0, 1]), np.array([1, 1]), 2))


def test_lists_of_other_users_than_the_truth_are_refused() -> None:
    with pytest.raises(MetricError, match="one list for each of the 2 users"):
        judge(np.array([[1, 2]]), Truth.of(np.array([0, 1]), np.array([1, 1]), 2))


def test_a_cut_beyond_the_list_is_refused() -> None:
    with pytest.raises(MetricError, match="between 1 and 2"):
        metrics.recall(Judged(np.zeros((1, 2), np.bool_), np.array([1])), 3)


def test_aggregates_agree_with_their_plain_definition() -> None:
    lists, _ = random_world(3)
    rng = np.random.default_rng(3)
    categories = (rng.random((VIDEOS, 6)) < 0.3).astype(np.float32)
    categories[:3] = 0
    counts = rng.integers(0, 50, VIDEOS)
    shown = metrics.exposure(lists, 10, VIDEOS)
    flat = lists[:, :10][lists[:, :10] >= 0]
    assert metrics.coverage(shown) == pytest.approx(len(set(flat.tolist())) / VIDEOS)
    differences = np.abs(shown[:, None] - shown[None]).sum() / (2 * VIDEOS**2 * shown.mean())
    assert metrics.gini(shown) == pytest.approx(differences)
    diversity, novelty = metrics.diversity(lists, 10, categories), metrics.novelty(lists, 10, counts)
    share = (counts + 1) / (counts.sum() + VIDEOS)
    for user in range(USERS):
        rows = lists[user, :10][lists[user, :10] >= 0]
        assert novelty[user] == pytest.approx(-np.log2(share[rows]).mean())
        cosines = [
            float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))
            for i, a in enumerate(categories[rows])
            for b in categories[rows][i + 1 :]
        ]
        if cosines:
            assert diversity[user] == pytest.approx(1 - np.mean(cosines), abs=1e-6)
        else:
            assert np.isnan(diversity[user])


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_auc_and_gauc_agree_with_counting_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, scores, groups = rng.integers(0, 2, 60), rng.integers(0, 8, 60) / 7, rng.integers(0, 6, 60)

    def pairs(which: BoolArray) -> float:
        up, down = scores[which & (labels == 1)], scores[which & (labels == 0)]
        if not len(up) or not len(down):
            return math.nan
        return float(((up[:, None] > down) + 0.5 * (up[:, None] == down)).mean())

    assert metrics.auc(labels, scores) == pytest.approx(pairs(np.ones(60, np.bool_)), nan_ok=True)
    each = [(pairs(groups == g), (groups == g).sum()) for g in range(6)]
    judged = [(area, int(size)) for area, size in each if not math.isnan(area)]
    expected = sum(a * n for a, n in judged) / sum(n for _, n in judged) if judged else math.nan
    assert metrics.gauc(labels, scores, groups) == pytest.approx(expected, nan_ok=True)


def test_auc_of_one_class_is_nan_and_nan_scores_are_refused() -> None:
    assert math.isnan(metrics.auc([1, 1], [0.1, 0.2]))
    with pytest.raises(MetricError, match="finite scores"):
        metrics.auc([1, 0], [0.1, math.nan])


def test_log_loss_of_certain_and_wrong_is_large_but_finite() -> None:
    assert metrics.log_loss([1], [0.0]) == pytest.approx(-math.log(1e-7))


def test_the_bootstrap_interval_covers_the_true_difference_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        hard = rng.normal(0, 1, 120)  # shared by both: pairing takes it out
        low, high = metrics.paired_bootstrap(hard + rng.normal(0.2, 0.3, 120), hard, trial, rounds=400)[1:]
        covered += low < 0.2 < high
    assert covered >= 88


def test_the_bootstrap_is_the_same_for_the_same_seed() -> None:
    a, b = np.random.default_rng(1).random((2, 50))
    assert metrics.paired_bootstrap(a, b, seed=5) == metrics.paired_bootstrap(a, b, seed=5)
    with pytest.raises(MetricError, match="same users"):
        metrics.paired_bootstrap(a, b[:-1], seed=5)


def test_a_bootstrap_of_people_with_one_request_each_is_the_plain_one() -> None:
    a, b = np.random.default_rng(1).random((2, 50))
    plain = metrics.paired_bootstrap(a, b, seed=5)
    named = np.array([f"person {number:02}" for number in range(50)])
    for groups in (np.arange(50), named):
        assert metrics.paired_bootstrap(a, b, seed=5, groups=groups) == pytest.approx(plain, abs=1e-12)


def test_requests_that_are_copies_of_each_other_make_no_interval_narrower() -> None:
    a, b = np.random.default_rng(2).random((2, 60))
    people = np.repeat(np.arange(60), 9)
    one = metrics.paired_bootstrap(a, b, seed=5)
    copied = metrics.paired_bootstrap(a[people], b[people], seed=5, groups=people)
    assert copied == pytest.approx(one, abs=1e-12)
    as_if_alone = metrics.paired_bootstrap(a[people], b[people], seed=5)
    assert copied[2] - copied[1] > 2 * (as_if_alone[2] - as_if_alone[1])


def test_people_with_more_requests_weigh_more() -> None:
    # one person's three requests are all better, three others' one request each worse: the mean is that of requests
    difference, low, high = metrics.paired_bootstrap(
        [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], 0, groups=np.array([7, 7, 7, 1, 2, 3])
    )
    assert difference == 0
    assert (low, high) == (-1, 0.8)  # without the one person; with them three times: (9 - 1) / 10


def test_groups_of_other_requests_are_refused() -> None:
    with pytest.raises(MetricError, match="whose each of the 3 values is; got shape"):
        metrics.paired_bootstrap([1, 2, 3], [0, 0, 0], 0, groups=np.array([1, 2]))
