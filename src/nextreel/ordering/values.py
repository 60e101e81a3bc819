"""Orders by value alone, or by value and age."""

from __future__ import annotations

import numpy as np

from nextreel.ordering.params import OrderParams
from nextreel.types import DAY, FloatArray, Moment, Order, Orderer

_NARROW, _WIDE = 1e-15, 1e15  # standard deviations whose squares 32 bits hold


def by_value(moment: Moment, value: FloatArray, k: int) -> Order:
    """The k positions of highest value, best first; ties as they came."""
    positions = np.argsort(-value, kind="stable")[:k]
    return Order(positions, np.ones(len(positions), np.float32))


def standardised(value: FloatArray) -> FloatArray:
    """The values less their mean, in their standard deviations; all 0 where they are alike."""
    if len(value) == 0:
        return value
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: FloatArray = value - value.sum() / np.float32(len(value))
        spread = np.sqrt(scaled @ scaled / np.float32(len(value)))
    if _NARROW < spread < _WIDE:
        scaled /= spread
        return scaled
    wide = value.astype(np.float64)  # squares leave the range of 32 bits: rare, as values of any scale may be declared
    wide -= wide.mean()
    deviation = np.sqrt(wide @ wide / len(wide))
    return np.asarray(wide / deviation if deviation > 0 else wide, np.float32)


def fresh(params: OrderParams) -> Orderer:
    """An orderer that lifts videos by freshness × 2^(−days since publication / half-life)."""

    def by_freshness(moment: Moment, value: FloatArray, k: int) -> Order:
        days = (moment.request.at - moment.catalogue.published_at[moment.rows]) / DAY
        boost = params.freshness * np.exp2(-np.maximum(days, 0.0) / params.freshness_half_life)
        return by_value(moment, standardised(value) + np.nan_to_num(boost).astype(np.float32), k)

    return by_freshness
