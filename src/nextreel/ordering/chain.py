"""The chain of orderers, and what it makes of the judged candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import wraps

import numpy as np
from numpy.typing import NDArray

from nextreel.ordering.caps import capped
from nextreel.ordering.diversity import diverse, dpp
from nextreel.ordering.exploration import explore
from nextreel.ordering.params import OrderParams
from nextreel.ordering.promotion import Promotion
from nextreel.ordering.values import by_value, fresh
from nextreel.types import BoolArray, FloatArray, Moment, Order, Orderer, Trace


def orderers(params: OrderParams) -> tuple[Orderer, ...]:
    """The orderers in running order: each sees the values of the last one's places.

    Exploration comes last: what is shown has the propensities that the last orderer gives.
    """
    chain: list[Orderer] = []
    limits = params.caps.per_channel is not None or params.caps.per_category is not None
    if params.freshness > 0:
        chain.append(fresh(params))
    if params.diversity > 0:
        diversifier = diverse(params) if params.diversifier == "mmr" else dpp(params.dpp)
        chain.append(_shown_first(diversifier) if limits or params.explore.slots else diversifier)
    if limits:
        chain.append(capped(params.caps))
    if params.explore.slots:
        chain.append(explore(params.explore, params.caps))
    return tuple(chain)


def _shown_first(orderer: Orderer) -> Orderer:
    """The orderer over the places that are shown; the candidates below them follow by value.

    All orderers but the last are asked for every candidate. A diversifier would then look deeper than it may, and
    take time for places that nobody sees.
    """

    @wraps(orderer)
    def shown_first(moment: Moment, value: FloatArray, k: int) -> Order:
        shown = orderer(moment, value, min(k, moment.request.k))
        best_first = by_value(moment, value, len(value)).positions
        below = best_first[~np.isin(best_first, shown.positions)][: k - len(shown.positions)]
        propensities = np.concatenate([shown.propensities, np.ones(len(below), np.float32)])
        return Order(np.concatenate([shown.positions, below]), propensities)

    return shown_first


@dataclass(frozen=True, slots=True)
class Arranged:
    """A list of k places: who stands where, with which probability, and how it came about."""

    positions: NDArray[np.intp]  # (k,) into the moment
    propensities: FloatArray  # (k,)
    promoted: BoolArray  # (k,) the place was given, not won
    steps: dict[str, NDArray[np.intp]]  # step -> positions in the order that it left, for those who ask why


def arrange(
    moment: Moment,
    value: FloatArray,
    orderers: Sequence[Orderer],
    trace: Trace,
    promotion: Promotion | None = None,
    proposed: int | None = None,
) -> Arranged:
    """The list of the request's k, or of all candidates where there are fewer.

    The first `proposed` candidates may stand in any place; those after them were added to be promoted and have no
    other. Promoted videos are given their places first; the orderers fill the others as if they were the whole list,
    so that nothing is drawn into a promoted place and no cap counts what stands there.
    """
    proposed = len(moment) if proposed is None else proposed
    k = min(moment.request.k, len(moment))
    if promotion is None:
        return _in_order(moment, value, orderers, trace, k)
    places, chosen = promotion.places(moment, value, k)
    trace.promoted["shown"] = len(chosen)
    others = np.setdiff1d(np.arange(proposed), chosen)
    rest = moment.take(others)
    rest.request = replace(moment.request, k=k - len(chosen))
    found = _in_order(rest, value[others], orderers, trace, k - len(chosen))
    promoted = np.zeros(k, np.bool_)
    promoted[places] = True
    positions, propensities = np.empty(k, np.intp), np.ones(k, np.float32)
    positions[promoted], positions[~promoted] = chosen, others[found.positions]
    propensities[~promoted] = found.propensities
    steps = {name: others[order] for name, order in found.steps.items()}
    return Arranged(positions, propensities, promoted, steps | {"promotion": positions})


def _in_order(moment: Moment, value: FloatArray, orderers: Sequence[Orderer], trace: Trace, k: int) -> Arranged:
    """The k places after every orderer."""
    positions = np.argsort(-value, kind="stable")
    propensities = np.ones(len(positions), np.float32)
    steps = {"value": positions}
    # The i-th place keeps the i-th best value, whoever was moved there: later orderers see earlier moves.
    ordered = value[positions].astype(np.float32)
    for number, orderer in enumerate(orderers if k else ()):
        last = number == len(orderers) - 1
        order = orderer(moment.take(positions), ordered, k if last else len(positions))
        trace.moved[orderer.__name__] = int(np.count_nonzero(order.positions[:k] != np.arange(k)))
        positions = positions[order.positions]
        propensities = propensities[order.positions] * order.propensities  # one draw after another
        steps[orderer.__name__] = positions
    return Arranged(positions[:k], propensities[:k], np.zeros(k, np.bool_), steps)
