"""Places given to chance, and how likely each draw was."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from nextreel.ordering.caps import room
from nextreel.ordering.params import CapParams, ExploreParams
from nextreel.ordering.values import by_value, standardised
from nextreel.types import FloatArray, Moment, Order, Orderer, Request

_NONE = CapParams()


def explore(params: ExploreParams, caps: CapParams = _NONE) -> Orderer:
    """An orderer by value that gives some places to candidates drawn from below the k best, and says how likely.

    The best k - slots keep their order in all other places, with propensity 1; the next best hold the places to draw
    for. These are drawn for first to last, each from R, the candidates below the k best that no earlier place has
    drawn and that break no cap in the list as it then is: propensity of i = P(i | earlier draws) = w_i / Σ_{j in R} w_j
    with w = exp(standardised value / temperature) / (1 + plays)^novelty. Where R is empty, who holds the place keeps
    it, with propensity 1. The same request is given the same draws.
    """

    def by_exploration(moment: Moment, value: FloatArray, k: int) -> Order:
        best_first = by_value(moment, value, len(value)).positions
        k = min(k, len(best_first))
        below = best_first[k:]
        places = _places(params, k, len(below))
        listed, propensities = np.empty(k, np.intp), np.ones(k, np.float32)
        drawn = np.zeros(k, np.bool_)
        drawn[places] = True
        listed[~drawn], listed[drawn] = np.split(best_first[:k], [k - len(places)])
        logits = standardised(value)[below].astype(np.float64) / params.temperature
        if params.novelty > 0:
            logits -= params.novelty * np.log1p(moment.counters.plays[moment.rows[below]])
        generator = _generator(moment.request)
        free = np.ones(len(below), np.bool_)
        for place in places.tolist():
            fits = free & room(caps, moment, listed, place, below)
            if fits.any():
                one, propensities[place] = _draw(np.where(fits, logits, -np.inf), generator)
                listed[place], free[one] = below[one], False
        return Order(listed, propensities)

    return by_exploration


def _places(params: ExploreParams, k: int, below: int) -> NDArray[np.intp]:
    """The places of a list of k that are drawn for, ascending, where so many candidates are below the best."""
    slots = min(params.slots, below, k)
    if params.places:
        return np.array([place for place in sorted(params.places) if place < k][:slots], np.intp)
    return np.arange(k - slots, k)


def _draw(logits: NDArray[np.float64], generator: np.random.Generator) -> tuple[int, float]:
    """The position drawn by softmax, and its probability; never one of -inf.

    The largest of logits + Gumbel noise is such a draw (Gumbel 1954). Every draw has noise of its own: who did not fit
    before may fit now, and old noise would tell which of the others had lost.
    """
    one = int((logits + generator.gumbel(size=len(logits))).argmax())
    return one, float(np.exp(logits[one] - np.logaddexp.reduce(logits)))


def _generator(request: Request) -> np.random.Generator:
    """The generator of the request's seed, id and person, the same in every process."""
    person = request.user_id
    kind = "text" if isinstance(person, str) else "number"  # 7 and "7" are two people
    digest = blake2b(f"{request.seed} {request.request_id} {kind} {person}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
