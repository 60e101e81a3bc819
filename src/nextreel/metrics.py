"""Formulas of evaluation: arrays in, numbers out.

Lists are (users, k) rows, best first, padded at the end with -1. The truth of each user is a set of rows, kept as one
compressed array (`Truth`). `judge` compares the two once; every list metric then reads its answer. All arithmetic is
done in float64 and without a loop over users. A value that a user cannot have (no truth, too short a list) is NaN, so
that a mean over users who should not be there shows itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nextreel.types import UNKNOWN, BoolArray, FloatArray, NextreelError, RowArray

Values: TypeAlias = NDArray[np.float64]  # (users,)

BOOTSTRAP_CELLS = 4_000_000  # most resampled values held at a time: 32 MB


class MetricError(NextreelError):
    """Arrays that a metric cannot be computed from."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The rows that were right for each user: user u has `rows[offsets[u]:offsets[u + 1]]`, ascending, each once."""

    offsets: NDArray[np.int64]  # (users + 1,)
    rows: RowArray  # (truths,)

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many rows are right for each user: (users,)."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, user: NDArray[Any], row: NDArray[Any], n_users: int) -> Truth:
        """The truth held by parallel columns of user positions (0 .. n_users - 1) and rows; repeats count once.

        >>> Truth.of(np.array([1, 0, 1, 1]), np.array([7, 3, 2, 7]), 2)
        Truth(offsets=array([0, 1, 3]), rows=array([3, 2, 7], dtype=int32))
        """
        stride = int(row.max()) + 1 if len(row) else 1
        keys = np.unique(user.astype(np.int64) * stride + row)
        offsets = np.searchsorted(keys, np.arange(n_users + 1, dtype=np.int64) * stride)
        return cls(offsets.astype(np.int64), (keys % stride).astype(np.int32))


@dataclass(frozen=True, slots=True)
class Judged:
    """Which places of each list were right, and how many rows could have been."""

    found: BoolArray  # (users, k)
    counts: NDArray[np.int64]  # (users,) truths of each user

    def top(self, k: int) -> BoolArray:
        """The first k places, (users, k). Raises MetricError when the lists are shorter than k."""
        if not 1 <= k <= self.found.shape[1]:
            raise MetricError(
                f"Expected a cut between 1 and {self.found.shape[1]}, the length of the lists; got {k}. "
                "Hint: ask the model for longer lists or lower k."
            )
        return self.found[:, :k]


def judge(lists: RowArray, truth: Truth) -> Judged:
    """Which places of each list hold a row of that user's truth.

    Raises MetricError when the users differ in number or a list repeats a row (a repeat would be counted twice).

    >>> judge(np.array([[4, 1, -1]]), Truth.of(np.array([0, 0]), np.array([1, 9]), 1))
    Judged(found=array([[False,  True, False]]), counts=array([2]))
    """
    lists = np.asarray(lists)
    if lists.ndim != 2 or len(lists) != len(truth):
        raise MetricError(
            f"Expected one list for each of the {len(truth)} users with a truth, as an array (users, k); "
            f"got shape {lists.shape}. Hint: lists and truth must be built from the same users, in the same order."
        )
    ordered = np.sort(lists, axis=1)
    repeats = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != UNKNOWN)
    if repeats.any():
        user = int(np.flatnonzero(repeats.any(axis=1))[0])
        raise MetricError(
            f"Expected lists without repeats; the list of user {user} holds row "
            f"{int(ordered[user, 1:][repeats[user]][0])} twice. Hint: remove repeats before judging."
        )
    stride = 1 + max(int(lists.max(initial=0)), int(truth.rows.max(initial=0)))
    right = np.repeat(np.arange(len(truth), dtype=np.int64), truth.counts) * stride + truth.rows  # ascending
    keys = np.arange(len(truth), dtype=np.int64)[:, None] * stride + lists
    where = np.minimum(np.searchsorted(right, keys), max(len(right) - 1, 0))
    found = (right[where] == keys) & (lists != UNKNOWN) if len(right) else np.zeros(lists.shape, np.bool_)
    return Judged(found, truth.counts)


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> Values:
    """above / below, NaN where below is 0."""
    out: Values = np.full(np.shape(below), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def recall(judged: Judged, k: int) -> Values:
    """Recall@k of each user: truths among the first k, divided by all truths.

    Source: Manning, Raghavan, Schütze, Introduction to Information Retrieval (2008), section 8.3.

    >>> two_of_three = Judged(np.array([[True, False, True]]), np.array([3]))
    >>> recall(two_of_three, 1), recall(two_of_three, 3)
    (array([0.33333333]), array([0.66666667]))
    """
    return _ratio(judged.top(k).sum(axis=1), judged.counts)


def precision(judged: Judged, k: int) -> Values:
    """Precision@k of each user: truths among the first k, divided by k (also where the list is shorter).

    Source: Manning, Raghavan, Schütze, Introduction to Information Retrieval (2008), section 8.4.

    >>> precision(Judged(np.array([[True, False, True, False]]), np.array([3])), 4)
    array([0.5])
    """
    return np.asarray(judged.top(k).sum(axis=1) / k, np.float64)


def hit_rate(judged: Judged, k: int) -> Values:
    """HitRate@k of each user: 1 where any of the first k is right, else 0.

    Source: Deshpande, Karypis, Item-based top-N recommendation algorithms, ACM TOIS 22(1) (2004).

    >>> hit_rate(Judged(np.array([[False, True], [False, False]]), np.array([3, 1])), 2)
    array([1., 0.])
    """
    return np.asarray(judged.top(k).any(axis=1), np.float64)


def ndcg(judged: Judged, k: int) -> Values:
    """NDCG@k of each user with binary gains: sum of 1 / log2(place + 1) over right places, divided by the best sum.

    The best list has min(k, truths) right places at its head, so 1.0 can be reached by every user with a truth.
    Source: Järvelin, Kekäläinen, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4) (2002).

    >>> ndcg(Judged(np.array([[True, False, True]]), np.array([2])), 3).round(4)
    array([0.9197])
    """
    found = judged.top(k)
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(judged.counts, k)]
    return _ratio(found @ discount, ideal)


def reciprocal_rank(judged: Judged, k: int | None = None) -> Values:
    """1 / place of each user's first right row within the first k (all by default), 0 without one; its mean is MRR.

    Source: Voorhees, The TREC-8 question answering track report (1999).

    >>> reciprocal_rank(Judged(np.array([[False, True], [False, False]]), np.array([1, 1])))
    array([0.5, 0. ])
    """
    found = judged.top(judged.found.shape[1] if k is None else k)
    return np.asarray(np.where(found.any(axis=1), 1.0 / (1.0 + found.argmax(axis=1)), 0.0), np.float64)


def average_precision(judged: Judged, k: int) -> Values:
    """Average precision@k of each user: precision at each right place up to k, summed, divided by min(k, truths).

    The mean over users is MAP@k. The divisor is what a perfect list of k reaches, so that 1.0 is possible for a user
    with more than k truths; other tools divide by all truths, which is the same while k is at least their number.
    Source: Buckley, Voorhees, Evaluating evaluation measure stability, SIGIR (2000).

    >>> average_precision(Judged(np.array([[True, False, True]]), np.array([2])), 3).round(4)
    array([0.8333])
    """
    found = judged.top(k)
    precisions = np.cumsum(found, axis=1) / np.arange(1, k + 1)
    return _ratio((precisions * found).sum(axis=1), np.minimum(judged.counts, k))


def exposure(lists: RowArray, k: int, n_videos: int) -> NDArray[np.int64]:
    """How often each video is among the first k of a list: (n_videos,).

    >>> exposure(np.array([[0, 2], [2, -1]]), 2, 4)
    array([1, 0, 2, 0])
    """
    shown = lists[:, :k]
    return np.bincount(shown[shown != UNKNOWN], minlength=n_videos)


def coverage(shown: NDArray[Any]) -> float:
    """Share of the catalogue that is in anyone's list, from `exposure`.

    Source: Ge, Delgado-Battenfeld, Jannach, Beyond accuracy: coverage and serendipity, RecSys (2010).

    >>> coverage(np.array([1, 0, 2, 0]))
    0.5
    """
    return float(np.count_nonzero(shown) / len(shown)) if len(shown) else float("nan")


def gini(shown: NDArray[Any]) -> float:
    """Gini coefficient of exposure: 0 when every video is shown equally often, near 1 when one takes all.

    With x ascending: sum of (2 i - n - 1) x_i / (n sum of x), i from 1.
    Source: Gini (1912), as used by Fleder, Hosanagar, Management Science 55(5) (2009).

    >>> gini(np.array([1, 1, 1, 1])), gini(np.array([0, 0, 0, 4]))
    (0.0, 0.75)
    """
    n, total = len(shown), float(shown.sum())
    if total == 0:
        return float("nan")
    return float(((2 * np.arange(1, n + 1) - n - 1) * np.sort(shown)).sum() / (n * total))


def diversity(lists: RowArray, k: int, categories: FloatArray) -> Values:
    """Intra-list diversity@k of each user: 1 - mean cosine of the category rows over all pairs of the first k.

    A video without any category has cosine 0 with every other; a list of fewer than two videos has NaN.
    Source: Ziegler et al., Improving recommendation lists through topic diversification, WWW (2005).

    >>> diversity(np.array([[0, 1], [0, 2]]), 2, np.array([[1, 0], [1, 0], [0, 1]], np.float32))
    array([0., 1.])
    """
    shown = lists[:, :k]
    norms = np.linalg.norm(categories.astype(np.float64), axis=1, keepdims=True)
    unit = np.divide(categories, norms, out=np.zeros(categories.shape), where=norms > 0)
    unit = np.vstack([unit, np.zeros(categories.shape[1])])  # the last row is what UNKNOWN points at
    vectors = unit[shown]  # (users, k, categories)
    n = (shown != UNKNOWN).sum(axis=1)
    # the cosines of all ordered pairs sum to |sum of vectors|^2 less each vector's cosine with itself
    pairs = (vectors.sum(axis=1) ** 2).sum(axis=1) - (vectors**2).sum(axis=(1, 2))
    return np.asarray(1.0 - _ratio(pairs, n * (n - 1)), np.float64)


def novelty(lists: RowArray, k: int, counts: NDArray[Any]) -> Values:
    """Novelty@k of each user: mean of -log2 of the popularity share of the first k, in bits.

    `counts` are the events of each video before the lists were made, (n_videos,). One is added to each, so that a
    video nobody has watched has a finite value.
    Source: Zhou et al., Solving the apparent diversity-accuracy dilemma of recommender systems, PNAS 107(10) (2010).

    >>> novelty(np.array([[0, 1]]), 2, np.array([1, 0, 0, 0, 0, 0]))  # shares 2/7 and 1/7
    array([2.30735492])
    """
    shown = lists[:, :k]
    bits = -np.log2((counts + 1.0) / (counts.sum() + len(counts)))
    bits = np.append(bits, 0.0)  # what UNKNOWN points at
    return _ratio(bits[shown].sum(axis=1), (shown != UNKNOWN).sum(axis=1))


def _binary(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], Values]:
    """Labels as booleans and scores as float64, of one length and finite, or MetricError."""
    truth, values = np.asarray(labels), np.asarray(scores, np.float64)
    if truth.shape != values.shape or truth.ndim != 1:
        raise MetricError(f"Expected labels and scores of one length; got shapes {truth.shape} and {values.shape}.")
    if not np.isfinite(values).all():
        raise MetricError("Expected finite scores; got NaN or infinity. Hint: leave out rows that have no score.")
    return truth > 0, values


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting one half.

    NaN unless both classes occur. Computed from mid-ranks (Mann-Whitney U).
    Source: Hanley, McNeil, The meaning and use of the area under a ROC curve, Radiology 143 (1982).

    >>> auc([1, 0, 1, 0], [0.9, 0.1, 0.4, 0.4])
    0.875
    """
    truth, values = _binary(labels, scores)
    return float(_grouped_auc(truth, values, np.zeros(len(truth), np.int64), 1)[0])


def gauc(labels: ArrayLike, scores: ArrayLike, groups: NDArray[Any]) -> float:
    """AUC within each group (user), averaged with the group's rows as weight; groups of one class are left out.

    NaN when every group has one class only.
    Source: Zhu et al., Optimized cost per click in Taobao display advertising, KDD (2017).

    >>> gauc([1, 0, 1, 0, 0], [0.9, 0.1, 0.2, 0.3, 0.1], np.array([1, 1, 2, 2, 2]))
    0.7
    """
    if len(np.asarray(groups)) == 0:
        return float("nan")
    names, group = np.unique(groups, return_inverse=True)
    areas = auc_by_group(labels, scores, group, len(names))
    sizes = np.bincount(group, minlength=len(names))
    judged = ~np.isnan(areas)
    return float(np.average(areas[judged], weights=sizes[judged])) if judged.any() else float("nan")


def auc_by_group(labels: ArrayLike, scores: ArrayLike, group: NDArray[np.int64], n: int) -> Values:
    """AUC within each of n groups (n,), `group` saying which of them each row is of; NaN where a class is missing.

    >>> auc_by_group([1, 0, 1, 1], [0.9, 0.1, 0.2, 0.3], np.array([0, 0, 1, 1]), 2)
    array([ 1., nan])
    """
    truth, values = _binary(labels, scores)
    return _grouped_auc(truth, values, group, n)


def _grouped_auc(truth: NDArray[np.bool_], values: Values, group: NDArray[np.int64], n: int) -> Values:
    """AUC of each of n groups, NaN where a class is missing: (n,)."""
    if len(truth) == 0:
        return np.full(n, np.nan)
    order = np.lexsort((values, group))
    g, v = group[order], values[order]
    new = np.concatenate([[True], (g[1:] != g[:-1]) | (v[1:] != v[:-1])])
    tie = np.cumsum(new) - 1  # the run of equal scores within a group that each place belongs to
    first = np.flatnonzero(new)
    size = np.diff(np.append(first, len(g)))
    start = np.searchsorted(g, np.arange(n))  # where each group begins
    mid = first + (size + 1) / 2.0  # mean 1-based place of each run
    rank = mid[tie] - start[g]
    positive = truth[order]
    total = np.bincount(g, minlength=n)
    positives = np.bincount(g, weights=positive, minlength=n)
    sums = np.bincount(g, weights=rank * positive, minlength=n)
    return _ratio(sums - positives * (positives + 1) / 2, positives * (total - positives))


def log_loss(labels: ArrayLike, probabilities: ArrayLike, epsilon: float = 1e-7) -> float:
    """Mean cross-entropy in nats: -(y ln p + (1 - y) ln(1 - p)), p kept within epsilon of 0 and 1; NaN without rows.

    A label y may also be a part between 0 and 1; the least loss is then that of p = y, and above 0.
    Source: Good, Rational decisions, Journal of the Royal Statistical Society B 14 (1952).

    >>> round(log_loss([1, 0], [0.8, 0.4]), 4)
    0.367
    >>> round(log_loss([0.5], [0.5]), 4)
    0.6931
    """
    _, values = _binary(labels, probabilities)
    y = np.asarray(labels, np.float64)
    if len(y) == 0:
        return float("nan")
    if not (0 <= y.min() <= y.max() <= 1):
        raise MetricError(f"Expected labels from 0 to 1, got {y.min()} to {y.max()}. Hint: leave out unlabelled rows.")
    p = np.clip(values, epsilon, 1.0 - epsilon)
    return float(-(y * np.log(p) + (1.0 - y) * np.log1p(-p)).mean())


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    seed: int,
    rounds: int = 2000,
    groups: NDArray[Any] | None = None,
    weights: ArrayLike | None = None,
) -> tuple[float, float, float]:
    """Mean of a - b over users, and the 2.5 % and 97.5 % quantiles of that mean under resampling of users.

    `a` and `b` hold one value per user, in the same order; the users are resampled together, so what makes a user
    hard for both does not widen the interval. Where they hold one value per request, `groups` (n,) says whose it is: a
    person is drawn with all of their requests. With `weights` (n,) all means are weighted. The percentile interval.
    Source: Efron, Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    >>> difference, low, high = paired_bootstrap([0.5, 0.7, 0.9, 0.4], [0.4, 0.6, 0.7, 0.4], seed=0)
    >>> round(difference, 3), bool(low < difference < high)
    (0.1, True)
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape or first.ndim != 1 or len(first) == 0:
        raise MetricError(
            f"Expected one value per user for both, of one length; got shapes {first.shape} and {second.shape}. "
            "Hint: compare models on the same users."
        )
    differences = first - second
    whose = np.arange(len(first)) if groups is None else np.asarray(groups)
    if whose.shape != first.shape:
        raise MetricError(f"Expected groups to say whose each of the {len(first)} values is; got shape {whose.shape}.")
    weight = np.ones(len(first)) if weights is None else np.asarray(weights, np.float64)
    _, group = np.unique(whose, return_inverse=True)
    sums, sizes = np.bincount(group, differences * weight), np.bincount(group, weight)
    n = len(sums)
    rng = np.random.default_rng(seed)
    means = np.empty(rounds)
    step = max(1, BOOTSTRAP_CELLS // n)
    for start in range(0, rounds, step):
        stop = min(start + step, rounds)
        drawn = rng.integers(0, n, (stop - start, n))
        means[start:stop] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.average(differences, weights=weight)), float(low), float(high)
