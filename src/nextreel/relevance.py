"""Positive rules: how much each kind of event says that a person liked a video."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nextreel.params import Params
from nextreel.types import FloatArray, Kind


class Relevance(Params):
    """Weight of each kind of event: above 0 liked, below 0 disliked, 0 says nothing."""

    impression: float = 0.0
    click: float = 1.0
    watch: float = 1.0
    like: float = 2.0
    dislike: float = -1.0
    comment: float = 2.0
    share: float = 3.0
    complete: float = 3.0
    hide: float = -1.0
    watched_share: float = 0.4  # a watch of known length counts as positive above this part of the duration
    skip_seconds: float = 3.0  # a watch shorter than this is a skip
    skip: float = -0.5
    least_value: float | None = None  # an event with a value (a rating) below this is no positive


def weights(
    kind: NDArray[np.int8],
    watch_seconds: FloatArray,
    duration: FloatArray,
    value: FloatArray,
    rules: Relevance,
) -> FloatArray:
    """Graded relevance (n,) of events by kind, watch time and duration, both in seconds, NaN where unknown."""
    by_kind = np.zeros(max(Kind) + 1, np.float32)
    for one in Kind:
        by_kind[one] = getattr(rules, one.name.lower(), 0.0)
    graded = by_kind[kind]
    watch = (kind == Kind.WATCH) & ~np.isnan(watch_seconds)
    with np.errstate(invalid="ignore"):
        short = watch & (watch_seconds <= rules.watched_share * duration)
        graded = np.where(short, np.float32(0), graded)
        graded = np.where(watch & (watch_seconds < rules.skip_seconds), np.float32(rules.skip), graded)
        if rules.least_value is not None:
            graded = np.where((value < rules.least_value) & (graded > 0), np.float32(0), graded)
    return graded.astype(np.float32)
