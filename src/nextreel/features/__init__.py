"""The features: every one a function named as its column, all of them in the lists below."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from nextreel.features import cross, user, video
from nextreel.features.describe import describe
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
    user.part_of_day,
    video.share_30d,
    video.share_7d,
    video.share_1d,
    video.share_1h,
    video.share_5min,
    video.share_trend,
    video.growth_7d,
    video.growth_1d,
    video.growth_1h,
    video.upload_age,
    video.recency_score,
    video.days_since_first_play,
)
TIMELESS: tuple[Feature, ...] = (
    user.history_length,
    user.mean_value_given,
    user.age,
    user.country,
    user.user_language,
    user.device,
    user.location,
    user.surface,
    user.average_watch_time,
    user.subscriptions,
    user.impressions_seen,
    user.click_ratio,
    user.watch_ratio,
    video.category,
    video.child_category,
    video.video_language,
    video.share_all,
    video.plays,
    video.likes,
    video.comments,
    video.channel_subscribers,
    video.duration,
    video.mean_value,
    video.click_through_rate,
    video.full_watch_ratio,
    video.surface_click_through_rate,
    video.surface_full_watch_ratio,
    video.like_ratio,
    video.comment_ratio,
    video.engagement_rate,
    video.rejection_ratio,
    video.quality_score,
    video.average_watch_share,
    video.average_watch_seconds,
    cross.category_affinity,
    cross.recent_category_affinity,
    cross.main_category_share,
    cross.channel_affinity,
    cross.favourite_category,
    cross.times_met,
    cross.subscribed,
    cross.language_match,
    cross.years_from_taste,
    cross.years_from_recent,
    cross.popularity_from_taste,
)


def choose(timed: bool) -> tuple[Feature, ...]:
    """The features that data with (or without) timestamps allow, in the order of their columns."""
    return TIMELESS + TIMED if timed else TIMELESS


def among(columns: Sequence[str], timed: bool) -> tuple[Feature, ...]:
    """The features among these columns of a matrix, in the order of `choose`."""
    wanted = set(columns)
    return tuple(feature for feature in choose(timed) if feature.__name__ in wanted)


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
    """A short digest of the columns in their order and of what the features among them are said to be.

    It changes with a name, the order, a feature's meaning, its unit or what it reads: a release is refused whose
    ranker learnt from other columns than these.
    """
    said = {feature.__name__: repr(describe(feature)) for feature in choose(timed=True)}
    return hashlib.sha256("\n".join(said.get(name, name) for name in columns).encode()).hexdigest()[:16]
