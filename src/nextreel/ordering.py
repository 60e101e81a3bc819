"""The final order: orderers choose positions among the judged candidates; they can invent nothing."""

from __future__ import annotations

import numpy as np

from nextreel.params import Params
from nextreel.types import DAY, FloatArray, Moment, Order, Orderer


class OrderParams(Params):
    """How far the final order may leave the ranker's."""

    diversity: float = 0.05  # 0 = the ranker's order alone; 1 = as unlike as can be
    depth: int = 3  # candidates looked at for each place in the list
    freshness: float = 0.0  # added to the value of a video published now, in standard deviations of the values
    freshness_half_life: float = 14.0  # days after which half of that is left


def by_value(moment: Moment, value: FloatArray, k: int) -> Order:
    """The k positions of highest value, best first; ties as they came."""
    positions = np.argsort(-value, kind="stable")[:k]
    return Order(positions, np.ones(len(positions), np.float32))


def _standardised(value: FloatArray) -> FloatArray:
    if len(value) == 0:
        return value
    scaled: FloatArray = value - value.sum() / np.float32(len(value))
    spread = np.sqrt(scaled @ scaled / np.float32(len(value)))
    return scaled / spread if spread > 0 else scaled


def fresh(params: OrderParams) -> Orderer:
    """An orderer that lifts videos by freshness × 2^(−days since publication / half-life)."""

    def by_freshness(moment: Moment, value: FloatArray, k: int) -> Order:
        days = (moment.request.at - moment.catalogue.published_at[moment.rows]) / DAY
        boost = params.freshness * np.exp2(-np.maximum(days, 0.0) / params.freshness_half_life)
        return by_value(moment, _standardised(value) + np.nan_to_num(boost).astype(np.float32), k)

    return by_freshness


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
        gain = (1 - params.diversity) * _standardised(value[pool])
        likeness = np.zeros(len(pool), np.float32)  # sum of the cosines to those already placed
        chosen = np.empty(k, np.intp)
        for place in range(k):
            best = int((gain - likeness * np.float32(params.diversity / max(place, 1))).argmax())
            chosen[place] = best
            likeness += cosines[best]
            gain[best] = -np.inf
        return Order(pool[chosen], np.ones(k, np.float32))

    return by_diversity


def orderers(params: OrderParams) -> tuple[Orderer, ...]:
    """The orderers in running order: each sees the values of the last one's places."""
    chain: list[Orderer] = []
    if params.freshness > 0:
        chain.append(fresh(params))
    if params.diversity > 0:
        chain.append(diverse(params))
    return tuple(chain)
