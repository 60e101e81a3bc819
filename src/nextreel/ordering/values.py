"""Orders by value alone, or by value and age."""

from __future__ import annotations

import numpy as np

from nextreel.ordering.params import OrderParams
from nextreel.types import DAY, FloatArray, Moment, Order, Orderer


def by_value(moment: Moment, value: FloatArray, k: int) -> Order:
    """The k positions of highest value, best first; ties as they came."""
    positions = np.argsort(-value, kind="stable")[:k]
    return Order(positions, np.ones(len(positions), np.float32))


def standardised(value: FloatArray) -> FloatArray:
    """The values less their mean, in their standard deviations; all 0 where they are alike."""
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
        return by_value(moment, standardised(value) + np.nan_to_num(boost).astype(np.float32), k)

    return by_freshness
