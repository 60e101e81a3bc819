"""The features: every one a function named as its column, all of them in the lists below."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from nextreel.features import cross, user, video
from nextreel.types import Feature, FloatArray, Matrix, Moment

# Those that need to know when things happened; left out where the data have no timestamps.
TIMED: tuple[Feature, ...] = (
    user.days_since_last_event,
    user.days_since_first_event,
    user.events_5min,
    user.events_1h,
    user.events_1d,
    user.hour_sin,
    user.hour_cos,
    user.day_of_week,
    video.share_30d,
    video.share_7d,
    video.share_1d,
    video.share_trend,
    video.growth_7d,
    video.growth_1d,
    video.upload_age,
    video.days_since_first_play,
)
TIMELESS: tuple[Feature, ...] = (
    user.history_length,
    user.mean_value_given,
    user.age,
    video.share_all,
    video.plays,
    video.duration,
    video.mean_value,
    video.click_through_rate,
    video.like_ratio,
    video.rejection_ratio,
    video.average_watch_share,
    cross.category_affinity,
    cross.recent_category_affinity,
    cross.main_category_share,
    cross.channel_affinity,
    cross.language_match,
    cross.years_from_taste,
    cross.years_from_recent,
    cross.popularity_from_taste,
)


def choose(timed: bool) -> tuple[Feature, ...]:
    """The features that data with (or without) timestamps allow, in the order of their columns."""
    return TIMELESS + TIMED if timed else TIMELESS


def names(features: Sequence[Feature], sources: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns that `compute` gives: each source's score and rank, then the features."""
    return _names(tuple(features), tuple(sources))


@lru_cache(maxsize=64)  # a process serves few releases; putting the names together costs more than most features
def _names(features: tuple[Feature, ...], sources: tuple[str, ...]) -> tuple[str, ...]:
    return (
        *(f"score_{source}" for source in sources),
        *(f"rank_{source}" for source in sources),
        *(feature.__name__ for feature in features),
    )


def compute(features: Sequence[Feature], moment: Moment) -> Matrix:
    """One row per candidate, one column per source score, source rank (ln(1 + rank)) and feature."""
    sources = len(moment.sources)
    columns: FloatArray = np.empty((2 * sources + len(features), len(moment)), np.float32)  # each in one piece
    columns[:sources] = moment.scores.T
    np.log1p(moment.ranks.T, out=columns[sources : 2 * sources])
    for number, feature in enumerate(features, 2 * sources):
        columns[number] = feature(moment)
    return Matrix(names(features, moment.sources), columns.T)


def fingerprint(columns: Sequence[str]) -> str:
    """A short digest of the column names in their order: a ranker refuses a matrix with another one."""
    return hashlib.sha256("\n".join(columns).encode()).hexdigest()[:16]
