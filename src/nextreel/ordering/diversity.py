"""Orders that make a list diverse: maximal marginal relevance, and a determinantal point process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nextreel.ordering.params import DppParams, OrderParams
from nextreel.ordering.values import by_value, standardised
from nextreel.types import UNKNOWN, FloatArray, Moment, Order, Orderer

_EPSILON = 1e-8  # a squared distance below this, of unit vectors, is rounding: nothing new is left in such a candidate


def diverse(params: OrderParams) -> Orderer:
    """An orderer by maximal marginal relevance over categories (Carbonell & Goldstein 1998).

    Each place goes to the candidate with the highest (1 − diversity) × value − diversity × likeness, where likeness
    is the mean cosine of its categories to those already placed; values are standardised over the k × depth best.
    """

    def by_diversity(moment: Moment, value: FloatArray, k: int) -> Order:
        pool = by_value(moment, value, k * params.depth).positions
        k = min(k, len(pool))
        rows = moment.rows[pool]
        length = np.maximum(moment.catalogue.category_length[rows], np.float32(1e-9))
        categories = moment.catalogue.categories[rows] / length[:, None]
        cosines = np.asarray(categories @ categories.T, np.float32)
        gain = (1 - params.diversity) * standardised(value[pool])
        likeness = np.zeros(len(pool), np.float32)  # sum of the cosines to those already placed
        chosen = np.empty(k, np.intp)
        for place in range(k):
            best = int((gain - likeness * np.float32(params.diversity / max(place, 1))).argmax())
            chosen[place] = best
            likeness += cosines[best]
            gain[best] = -np.inf
        return Order(pool[chosen], np.ones(k, np.float32))

    return by_diversity


def dpp(params: DppParams) -> Orderer:
    """An orderer by greedy MAP of a determinantal point process over categories and channels.

    Each place goes to the candidate that adds most to log det L of those placed, L = diag(q) S diag(q), where
    q = exp(strength × standardised value), S has ones on its diagonal and elsewhere
    likeness × ((1 − channel) × cosine of the categories + channel × [same known channel]).
    Source: Chen, Zhang & Zhou, Fast Greedy MAP Inference for Determinantal Point Process, NeurIPS 2018, algorithm 1.
    """

    def by_dpp(moment: Moment, value: FloatArray, k: int) -> Order:
        pool = by_value(moment, value, k * params.depth).positions
        k = min(k, len(pool))
        rows = moment.rows[pool]
        catalogue = moment.catalogue
        unit = catalogue.categories[rows].astype(np.float64)  # single precision would leave distances of 1e-7
        unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-9)
        # log det L = Σ 2 log q + log det S: q stays a logarithm, so no strength is too large for a float
        quality = 2.0 * params.strength * standardised(value[pool]).astype(np.float64)
        chosen = _greedy_map(quality, unit, catalogue.channel[rows], params, k)
        return Order(pool[chosen], np.ones(k, np.float32))

    return by_dpp


def _greedy_map(
    quality: NDArray[np.float64],
    unit: NDArray[np.float64],
    channel: NDArray[np.int32],
    params: DppParams,
    k: int,
) -> NDArray[np.intp]:
    """The k of n candidates, which come best first, that greedily make log det L largest; O(k² n).

    A row of `factor` per place is the incremental Cholesky factor of S, and `left` what is left of its diagonal: the
    squared distance of each candidate from the span of those placed. Once that is rounding for all, S is used up and
    the best by value follow.
    """
    n = len(quality)
    factor = np.empty((k, n))
    left = np.ones(n)
    free = np.ones(n, np.bool_)
    chosen = np.empty(k, np.intp)
    for place in range(k):
        usable = free & (left > _EPSILON)
        if not usable.any():
            chosen[place:] = np.flatnonzero(free)[: k - place]
            break
        best = int(np.where(usable, quality + np.log(np.maximum(left, _EPSILON)), -np.inf).argmax())
        chosen[place], free[best] = best, False
        alike = (1.0 - params.channel) * (unit @ unit[best])
        if channel[best] != UNKNOWN:
            alike += params.channel * (channel == channel[best])
        factor[place] = (params.likeness * alike - factor[:place, best] @ factor[:place]) / np.sqrt(left[best])
        left -= factor[place] ** 2
    return chosen
