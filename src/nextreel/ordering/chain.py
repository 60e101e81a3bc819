"""The chain of orderers, and what it makes of the judged candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import wraps

import numpy as np
from numpy.typing import NDArray

from nextreel.ordering.caps import capped
from nextreel.ordering.diversity import diverse, dpp
from nextreel.ordering.exploration import explore
from nextreel.ordering.params import OrderParams
from nextreel.ordering.promotion import Promotion
from nextreel.ordering.resume import Resumed
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
    resumed: dict[int, str] = field(default_factory=dict)  # place given to what was begun -> its source


def arrange(
    moment: Moment,
    value: FloatArray,
    orderers: Sequence[Orderer],
    trace: Trace,
    promotion: Promotion | None = None,
    proposed: int | None = None,
    resumed: Resumed | None = None,
) -> Arranged:
    """The list of the request's k, or of all candidates where there are fewer.

    The first `proposed` candidates may stand in any place; those after them were added to be promoted or resumed and
    have no other. Promoted videos are given their places first, resumed ones the first of the rest; the orderers fill
    the others as if they were the whole list, so that nothing is drawn into a given place and no cap counts what stands
    there.
    """
    proposed = len(moment) if proposed is None else proposed
    k = min(moment.request.k, len(moment))
    if promotion is None and resumed is None:
        return _in_order(moment, value, orderers, trace, k)
    places = chosen = np.empty(0, np.intp)
    if promotion is not None:
        places, chosen = promotion.places(moment, value, k)
        trace.promoted["shown"] = len(chosen)
    head, sources = _head(moment, resumed, chosen, k - len(chosen), trace)
    given = np.concatenate([chosen, head])
    others = np.setdiff1d(np.arange(proposed), given)
    rest = moment.take(others)
    rest.request = replace(moment.request, k=k - len(given))
    found = _in_order(rest, value[others], orderers, trace, k - len(given))
    promoted = np.zeros(k, np.bool_)
    promoted[places] = True
    positions, propensities = np.empty(k, np.intp), np.ones(k, np.float32)
    positions[promoted], positions[~promoted] = chosen, np.concatenate([head, others[found.positions]])
    free = np.flatnonzero(~promoted)
    propensities[free[len(head) :]] = found.propensities
    steps = {name: others[order] for name, order in found.steps.items()}
    if len(head):
        steps["resume"] = positions[~promoted]
    if promotion is not None:
        steps["promotion"] = positions
    return Arranged(positions, propensities, promoted, steps, dict(zip(free.tolist(), sources, strict=False)))


def _head(
    moment: Moment, resumed: Resumed | None, taken: NDArray[np.intp], room: int, trace: Trace
) -> tuple[NDArray[np.intp], list[str]]:
    """The positions of what is resumed, for which there is room and which is not taken already, and their sources."""
    if resumed is None:
        return np.empty(0, np.intp), []
    wanted = zip(resumed.rows.tolist(), resumed.sources, strict=True)
    there = [(int(np.flatnonzero(moment.rows == row)[0]), source) for row, source in wanted]
    head = [(position, source) for position, source in there if position not in taken][:room]
    trace.resumed["shown"] = len(head)
    return np.array([position for position, _ in head], np.intp), [source for _, source in head]


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
