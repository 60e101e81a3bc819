"""The final order: orderers choose positions among the judged candidates; they can invent nothing."""

from __future__ import annotations

from collections import Counter
from functools import wraps
from hashlib import blake2b
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from nextreel.params import Params
from nextreel.types import DAY, UNKNOWN, FloatArray, Moment, Order, Orderer, Request

_EPSILON = 1e-8  # a squared distance below this, of unit vectors, is rounding: nothing new is left in such a candidate


class DppParams(Params):
    """How a determinantal point process weighs value against likeness."""

    strength: float = Field(default=1.0, ge=0)  # of the value: quality is exp(strength × standardised value)
    likeness: float = Field(default=0.9, ge=0, le=1)  # of two videos of the same kind; 1 = one shuts out the other
    channel: float = Field(default=0.0, ge=0, le=1)  # part of the likeness that is the channel; the rest is categories
    depth: int = Field(default=10, ge=1)  # candidates looked at for each place in the list


class CapParams(Params):
    """How many videos of a kind may be near each other; None is no cap."""

    per_channel: int | None = Field(default=None, ge=1)  # videos of one channel among `window` places in a row
    per_category: int | None = Field(default=None, ge=1)  # the same for videos of one main category
    window: int | None = Field(default=None, ge=1)  # places in a row that are counted; None: the whole list


class ExploreParams(Params):
    """Which places of the list are given to chance."""

    slots: int = Field(default=0, ge=0)  # places drawn from the candidates below the k best; 0 = none
    places: tuple[int, ...] = ()  # which ones they are, 0 = first; empty: the last of the list
    temperature: float = Field(default=1.0, ge=1e-3)  # in units of the value; high = all candidates alike

    @model_validator(mode="after")
    def _as_many_places_as_slots(self) -> Self:
        if self.places and (len(set(self.places)) != self.slots or len(self.places) != self.slots):
            raise ValueError(f"expected {self.slots} distinct places, one for each slot, got {list(self.places)}")
        if min(self.places, default=0) < 0:
            raise ValueError(f"expected places from 0 on, got {list(self.places)}")
        return self


class OrderParams(Params):
    """How far the final order may leave the ranker's."""

    diversity: float = Field(default=0.05, ge=0, le=1)  # 0 = the ranker's order alone; 1 = as unlike as can be
    depth: int = Field(default=3, ge=1)  # candidates looked at for each place in the list
    freshness: float = Field(default=0.0, ge=0)  # added to what is published now, in standard deviations of the values
    freshness_half_life: float = Field(default=14.0, gt=0)  # days after which half of that is left
    diversifier: Literal["mmr", "dpp"] = "mmr"  # what makes the list diverse where diversity > 0; dpp by its own table
    dpp: DppParams = DppParams()
    caps: CapParams = CapParams()
    explore: ExploreParams = ExploreParams()


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
        quality = 2.0 * params.strength * _standardised(value[pool]).astype(np.float64)
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


def capped(params: CapParams) -> Orderer:
    """An orderer by value that keeps videos of one channel, or of one main category, to so many in any window.

    Each place goes to the best candidate of which the window − 1 places before hold fewer than the cap allows, and to
    the best of all where there is none. Over the whole list, all that is beyond a cap so comes after all that is not.
    What has no channel (or category) is not capped by it.
    """

    if params.per_channel is None and params.per_category is None:
        return by_value

    def by_caps(moment: Moment, value: FloatArray, k: int) -> Order:
        best_first = by_value(moment, value, len(value)).positions
        k = min(k, len(best_first))
        rows = moment.rows[best_first]
        kinds = ((moment.catalogue.channel, params.per_channel), (moment.catalogue.category, params.per_category))
        codes = np.array([code[rows] for code, cap in kinds if cap is not None], np.int32)  # (caps, n)
        caps = [cap for _, cap in kinds if cap is not None]
        chosen = (
            _within_list(codes, caps, k) if params.window is None else _within_window(params.window, codes, caps, k)
        )
        return Order(best_first[chosen], np.ones(k, np.float32))

    return by_caps


def _within_list(codes: NDArray[np.int32], caps: list[int], k: int) -> NDArray[np.intp]:
    """The k of n candidates, which come best first, that keep the caps over the whole list; then those beyond them.

    What does not fit now will not fit later, so that one pass is enough.
    """
    held: Counter[tuple[int, int]] = Counter()  # (which cap, code) -> videos
    kept: list[int] = []
    beyond: list[int] = []
    for candidate, of_video in enumerate(codes.T.tolist()):
        kinds = [(cap, code) for cap, code in enumerate(of_video) if code != UNKNOWN]
        if any(held[kind] >= caps[kind[0]] for kind in kinds):
            beyond.append(candidate)
            continue
        kept.append(candidate)
        if len(kept) == k:
            break
        for kind in kinds:
            held[kind] += 1
    return np.array((kept + beyond)[:k], np.intp)


def _within_window(window: int, codes: NDArray[np.int32], caps: list[int], k: int) -> NDArray[np.intp]:
    """The k of n candidates, which come best first, that keep the caps among any `window` places in a row."""
    limits = np.array(caps)[:, None]
    free = np.ones(codes.shape[1], np.bool_)
    near = np.zeros(codes.shape, np.intp)  # of each candidate's kind, how many the window holds
    same: list[NDArray[np.bool_]] = []  # (caps, n) by place: who is of the same kind as the one there
    chosen = np.empty(k, np.intp)
    for place in range(k):
        if place >= window:
            near -= same[place - window]
        fits = free & (near < limits).all(axis=0)
        best = int(fits.argmax())
        if not fits[best]:
            best = int(free.argmax())
        chosen[place], free[best] = best, False
        kind = codes[:, best, None]
        same.append((codes == kind) & (kind != UNKNOWN))
        near += same[-1]
    return chosen


def explore(params: ExploreParams) -> Orderer:
    """An orderer by value that gives some places to candidates drawn from below the k best, and says how likely.

    The places are filled first to last, each from R, the candidates below the k best that no earlier place has drawn:
    propensity of i = P(i | earlier draws) = exp(value_i / temperature) / Σ_{j in R} exp(value_j / temperature).
    The best fill all other places in their order, with propensity 1. The same request is given the same draws.
    """

    def by_exploration(moment: Moment, value: FloatArray, k: int) -> Order:
        best_first = by_value(moment, value, len(value)).positions
        k = min(k, len(best_first))
        below = best_first[k:]
        slots = min(params.slots, len(below), k)
        places = np.array([place for place in sorted(params.places) if place < k][:slots], np.intp)
        if not params.places:
            places = np.arange(k - slots, k)
        explored = np.zeros(k, np.bool_)
        explored[places] = True
        drawn, chances = _draws(value[below].astype(np.float64) / params.temperature, len(places), moment.request)
        positions, propensities = np.empty(k, np.intp), np.ones(k, np.float32)
        positions[~explored] = best_first[: k - len(places)]
        positions[places], propensities[places] = below[drawn], chances
        return Order(positions, propensities)

    return by_exploration


def _draws(logits: NDArray[np.float64], count: int, request: Request) -> tuple[NDArray[np.intp], FloatArray]:
    """Positions (count,) drawn one after the other by softmax without repeats, and each one's probability when drawn.

    The largest of logits + Gumbel noise, in falling order, are such draws (Yellott 1977; Kool, van Hoof & Welling,
    Stochastic Beams and Where to Find Them, ICML 2019).
    """
    noise = _generator(request).gumbel(size=len(logits))
    drawn = np.argsort(-(logits + noise), kind="stable")[:count]
    chances = np.empty(count, np.float32)
    rest = logits.copy()
    for number, one in enumerate(drawn.tolist()):
        chances[number] = np.exp(rest[one] - np.logaddexp.reduce(rest))
        rest[one] = -np.inf
    return drawn, chances


def _generator(request: Request) -> np.random.Generator:
    """The generator of the request's seed, id and person, the same in every process."""
    person = request.user_id
    kind = "text" if isinstance(person, str) else "number"  # 7 and "7" are two people
    digest = blake2b(f"{request.seed} {request.request_id} {kind} {person}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


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
        chain.append(explore(params.explore))
    return tuple(chain)
