"""Caps on how many videos of a channel, or of a main category, are near each other."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from nextreel.ordering.params import CapParams
from nextreel.ordering.values import by_value
from nextreel.types import UNKNOWN, BoolArray, FloatArray, Moment, Order, Orderer, RowArray


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
        codes, caps = _kinds(params, moment, rows)
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


def room(
    params: CapParams, moment: Moment, listed: NDArray[np.intp], place: int, others: NDArray[np.intp]
) -> BoolArray:
    """(n,) which of n other candidates may have a place without a cap being broken, all other places as listed (k,).

    A cap that is broken elsewhere in the list is none of theirs.
    """
    fits = np.ones(len(others), np.bool_)
    codes, caps = _kinds(params, moment, moment.rows)
    k = len(listed)
    window = min(params.window or k, k)
    first = np.arange(max(place - window + 1, 0), min(place, k - window) + 1)  # of each window that holds the place
    for code, cap in zip(codes, caps, strict=True):
        kind = code[others]
        same = (code[listed][:, None] == kind) & (kind != UNKNOWN)
        same[place] = False  # whoever is there leaves it
        counted = np.concatenate([np.zeros((1, len(others)), np.intp), same.cumsum(axis=0)])
        fits &= (counted[first + window] - counted[first]).max(axis=0) < cap
    return fits


def _kinds(params: CapParams, moment: Moment, rows: RowArray) -> tuple[NDArray[np.int32], list[int]]:
    """For each cap there is, the code (caps, n) of every row's kind and how many of a kind it allows."""
    kinds = ((moment.catalogue.channel, params.per_channel), (moment.catalogue.category, params.per_category))
    codes = [code[rows] for code, cap in kinds if cap is not None]
    return np.array(codes, np.int32).reshape(len(codes), len(rows)), [cap for _, cap in kinds if cap is not None]
