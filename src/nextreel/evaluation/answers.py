"""Formulas for scores of what people were shown: how well they order it, and whether probabilities keep their word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nextreel.metrics import Values

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Rows that were told about the same probability: what was told, and what came true."""

    predicted: float
    observed: float
    rows: int


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> list[Bin]:
    """At most so many bins of about as many rows each, of ascending probability; labels are from 0 to 1.

    A row is in bin floor(bins × (place − 1/2) / rows), where equals have their mean place: they stay together, so that
    the order of the rows changes nothing, and there are fewer bins where many rows have one probability.
    Source: Nixon et al., Measuring calibration in deep learning, CVPR workshops (2019), adaptive bins.

    >>> reliability([0, 1, 1, 1], [0.1, 0.3, 0.8, 1.0], bins=2)
    [Bin(predicted=0.2, observed=0.5, rows=2), Bin(predicted=0.9, observed=1.0, rows=2)]
    """
    truth, told = np.asarray(labels, np.float64), np.asarray(probabilities, np.float64)
    n = len(told)
    if n == 0:
        return []
    _, equal, many = np.unique(told, return_inverse=True, return_counts=True)
    middle = np.cumsum(many) - many / 2  # mean place of equals, less a half
    number = np.minimum((bins * middle / n).astype(np.int64), bins - 1)[equal]
    rows = np.bincount(number, minlength=bins)
    sums = np.bincount(number, told, bins), np.bincount(number, truth, bins)
    return [
        Bin(float(sums[0][one] / rows[one]), float(sums[1][one] / rows[one]), int(rows[one]))
        for one in np.flatnonzero(rows)
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """ECE: the distance of what was told from what came true, mean over bins weighted by rows; NaN without a bin.

    Source: Naeini, Cooper, Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI (2015).

    >>> round(calibration_error([Bin(0.2, 0.5, 2), Bin(0.9, 1.0, 2)]), 6)
    0.2
    """
    rows = sum(one.rows for one in bins)
    return sum(one.rows * abs(one.predicted - one.observed) for one in bins) / rows if rows else float("nan")


def ndcg_by_group(labels: ArrayLike, scores: ArrayLike, group: NDArray[np.int64], n: int, k: int = 10) -> Values:
    """NDCG@k within each of n groups (n,) whose rows are ordered by score; NaN where no row is positive.

    The gain is 1 for a positive label. Equal scores share the mean gain of their places, as if every order of them were
    as likely, so that a score which says little is not helped by the order of the rows.
    Source: McSherry, Najork, Computing information retrieval performance measures efficiently in the presence of tied
    scores, ECIR (2008).

    >>> ndcg_by_group([0, 1, 1, 0, 0], [0.9, 0.8, 0.5, 0.5, 0.1], np.array([0, 0, 1, 1, 2]), 3).round(4)
    array([0.6309, 0.8155,    nan])
    """
    truth, values = np.asarray(labels) > 0, np.asarray(scores, np.float64)
    order = np.lexsort((-values, group))
    of_group, ordered = group[order], values[order]
    place = np.arange(len(order)) - np.searchsorted(of_group, np.arange(n))[of_group]
    discounts = np.where(place < k, 1.0 / np.log2(place + 2.0), 0.0)
    new = np.concatenate([[True], (of_group[1:] != of_group[:-1]) | (ordered[1:] != ordered[:-1])])[: len(order)]
    run = np.cumsum(new) - 1  # equal scores of a group
    mean = np.bincount(run, discounts) / np.bincount(run)
    found = np.bincount(of_group, mean[run] * truth[order], n)
    best = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))])
    ideal = best[np.minimum(np.bincount(group, truth, n).astype(np.int64), k)]
    out: Values = np.full(n, np.nan)
    np.divide(found, ideal, out=out, where=ideal > 0)
    return out
