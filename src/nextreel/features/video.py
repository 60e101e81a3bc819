"""Features of the candidate videos: columns of the catalogue and counters of everybody's events."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nextreel.store import Counters
from nextreel.types import DAY, FloatArray, Moment, RowArray

_FLOOR = 1e-7  # a share below that of one play in ten million says nothing more
_RECENCY_HALF_LIFE = 30.0  # days
_Z = 1.96  # standard deviations to either end of a 95 % interval
_PRIOR = 10.0  # events of the mean video that every ratio starts from, so that one event decides little


def _log_share(moment: Moment, name: str) -> FloatArray:
    known = moment.memo.get(name)
    if known is None:
        share = moment.counters.share(name)[moment.rows]
        known = moment.memo[name] = np.asarray(np.log(share + np.float32(_FLOOR)), np.float32)
    return known


def _smoothed(moment: Moment, part: str, whole: str) -> FloatArray | float:
    """(part + prior × mean) / (whole + prior): a ratio that few events cannot throw about."""
    counters: Counters = moment.counters
    everything = counters.total(whole)
    if not everything:
        return 0.0
    mean = counters.total(part) / everything
    counted, among = getattr(counters, part)[moment.rows], getattr(counters, whole)[moment.rows]
    return np.asarray((counted + _PRIOR * mean) / (among + _PRIOR), np.float32)


def share_all(moment: Moment) -> FloatArray:
    """ln of the video's part of all plays ever.

    Unit: ln of a share
    Reads: counters.share
    """
    return _log_share(moment, "all")


def share_30d(moment: Moment) -> FloatArray:
    """ln of the video's part of the plays of the last 30 days.

    Unit: ln of a share
    Reads: counters.share
    """
    return _log_share(moment, "30d")


def share_7d(moment: Moment) -> FloatArray:
    """ln of the video's part of the plays of the last 7 days.

    Unit: ln of a share
    Reads: counters.share
    """
    return _log_share(moment, "7d")


def share_1d(moment: Moment) -> FloatArray:
    """ln of the video's part of the plays of the last day.

    Unit: ln of a share
    Reads: counters.share
    """
    return _log_share(moment, "1d")


def share_1h(moment: Moment) -> FloatArray:
    """ln of the video's part of the plays of the last hour.

    Unit: ln of a share
    Reads: counters.share
    """
    return _log_share(moment, "1h")


def share_5min(moment: Moment) -> FloatArray:
    """ln of the video's part of the plays of the last five minutes.

    Unit: ln of a share
    Reads: counters.share
    """
    return _log_share(moment, "5min")


def share_trend(moment: Moment) -> FloatArray:
    """ln of the video's part of all plays, each weighed by its age with a half-life of three days.

    Unit: ln of a share
    Reads: counters.share
    """
    return _log_share(moment, "trend")


def growth_7d(moment: Moment) -> FloatArray:
    """ln of the share of the last 7 days over the share of all time: above 0 is rising.

    Unit: ln of a ratio of shares
    Reads: counters.share
    """
    return _log_share(moment, "7d") - _log_share(moment, "all")


def growth_1d(moment: Moment) -> FloatArray:
    """ln of the share of the last day over the share of the last 30 days.

    Unit: ln of a ratio of shares
    Reads: counters.share
    """
    return _log_share(moment, "1d") - _log_share(moment, "30d")


def growth_1h(moment: Moment) -> FloatArray:
    """ln of the share of the last hour over the share of the last day.

    Unit: ln of a ratio of shares
    Reads: counters.share
    """
    return _log_share(moment, "1h") - _log_share(moment, "1d")


def category(moment: Moment) -> FloatArray:
    """Code of the video's main category; NaN without one.

    Unit: category
    Reads: catalogue.category
    """
    return _coded(moment.catalogue.category[moment.rows])


def child_category(moment: Moment) -> FloatArray:
    """Code of the rarest of the video's other categories; NaN without one.

    Unit: category
    Reads: catalogue.child_category
    """
    return _coded(moment.catalogue.child_category[moment.rows])


def video_language(moment: Moment) -> FloatArray:
    """Code of the video's language; NaN where unknown.

    Unit: category
    Reads: catalogue.language
    """
    return _coded(moment.catalogue.language[moment.rows])


def _coded(codes: RowArray) -> FloatArray:
    return np.where(codes < 0, np.nan, codes).astype(np.float32)


def _log_count(counts: NDArray[np.int32], rows: RowArray) -> FloatArray:
    return np.asarray(np.log1p(counts[rows]), np.float32)


def likes(moment: Moment) -> FloatArray:
    """ln(1 + likes ever).

    Unit: ln(1 + likes)
    Reads: counters.likes
    """
    return _log_count(moment.counters.likes, moment.rows)


def comments(moment: Moment) -> FloatArray:
    """ln(1 + comments ever).

    Unit: ln(1 + comments)
    Reads: counters.comments
    """
    return _log_count(moment.counters.comments, moment.rows)


def channel_subscribers(moment: Moment) -> FloatArray | float:
    """ln(1 + times that people subscribed to the video's channel); NaN without a channel.

    Unit: ln(1 + subscriptions)
    Reads: catalogue.channel, counters.subscribers
    """
    subscribers = moment.counters.subscribers
    if not len(subscribers):
        return math.nan
    channel = moment.catalogue.channel[moment.rows]
    return np.where(channel < 0, np.nan, np.log1p(subscribers[channel])).astype(np.float32)


def plays(moment: Moment) -> FloatArray:
    """ln(1 + plays ever): how much the other counters can be trusted.

    Unit: ln(1 + plays)
    Reads: counters.plays
    """
    return np.asarray(np.log1p(moment.counters.plays[moment.rows]), np.float32)


def upload_age(moment: Moment) -> FloatArray:
    """ln(1 + days since publication); NaN where the date is unknown.

    Unit: ln(1 + days)
    Reads: catalogue.published_at, request.at
    """
    days = (moment.request.at - moment.catalogue.published_at[moment.rows]) / DAY
    return np.log1p(np.maximum(days, 0.0)).astype(np.float32)


def recency_score(moment: Moment) -> FloatArray:
    """1 on the day of publication and half as much every 30 days; NaN where the date is unknown.

    Unit: 0 to 1
    Reads: catalogue.published_at, request.at
    """
    days = (moment.request.at - moment.catalogue.published_at[moment.rows]) / DAY
    return np.asarray(np.exp2(-np.maximum(days, 0.0) / _RECENCY_HALF_LIFE), np.float32)


def days_since_first_play(moment: Moment) -> FloatArray:
    """ln(1 + days since anyone first played the video); NaN before the first.

    Unit: ln(1 + days)
    Reads: counters.first_at, request.at
    """
    days = (moment.request.at - moment.counters.first_at[moment.rows]) / DAY
    return np.where(np.isfinite(days), np.log1p(np.maximum(days, 0.0)), np.nan).astype(np.float32)


def duration(moment: Moment) -> FloatArray:
    """ln(1 + seconds); NaN where unknown.

    Unit: ln(1 + seconds)
    Reads: catalogue.duration
    """
    return np.log1p(moment.catalogue.duration[moment.rows])


def mean_value(moment: Moment) -> FloatArray | float:
    """Mean value (rating) that people gave the video, smoothed towards the mean of all.

    Unit: value of the source
    Reads: counters.total, counters.value_count, counters.value_sum
    """
    return _smoothed(moment, "value_sum", "value_count")


def click_through_rate(moment: Moment) -> FloatArray | float:
    """Clicks per impression, smoothed.

    Unit: 0 to 1
    Reads: counters.clicks, counters.impressions, counters.total
    """
    return _smoothed(moment, "clicks", "impressions")


def full_watch_ratio(moment: Moment) -> FloatArray | float:
    """Watches for long enough to be positive, per impression, smoothed.

    Unit: 0 to 1
    Reads: counters.full_watches, counters.impressions, counters.total
    """
    return _smoothed(moment, "full_watches", "impressions")


def _on_surface(moment: Moment, part: str) -> FloatArray | float:
    """As `_smoothed`, of what the surface that asks showed; NaN where it showed nothing yet."""
    counters: Counters = moment.counters
    surface = moment.request.surface
    answers = counters.answers(surface)
    if answers is None:
        return math.nan
    mean = counters.answered(surface, part) / counters.answered(surface, "impressions")
    counted, among = getattr(answers, part)[moment.rows], answers.impressions[moment.rows]
    return np.asarray((counted + _PRIOR * mean) / (among + _PRIOR), np.float32)


def surface_click_through_rate(moment: Moment) -> FloatArray | float:
    """Clicks per impression on the page or tab that asks, drawn to all of that surface; NaN before it showed any.

    Unit: 0 to 1
    Reads: request.surface, counters.answers, counters.answered
    """
    return _on_surface(moment, "clicks")


def surface_full_watch_ratio(moment: Moment) -> FloatArray | float:
    """Watches long enough to be positive, per impression, on the page or tab that asks; smoothed, NaN before any.

    Unit: 0 to 1
    Reads: request.surface, counters.answers, counters.answered
    """
    return _on_surface(moment, "full_watches")


def like_ratio(moment: Moment) -> FloatArray | float:
    """Likes per play, smoothed.

    Unit: likes per play
    Reads: counters.likes, counters.plays, counters.total
    """
    return _smoothed(moment, "likes", "plays")


def comment_ratio(moment: Moment) -> FloatArray | float:
    """Comments per play, smoothed.

    Unit: comments per play
    Reads: counters.comments, counters.plays, counters.total
    """
    return _smoothed(moment, "comments", "plays")


def engagement_rate(moment: Moment) -> FloatArray | float:
    """Likes, comments and shares per play, smoothed.

    Unit: events per play
    Reads: counters.comments, counters.likes, counters.plays, counters.shares, counters.total
    """
    counters: Counters = moment.counters
    plays = counters.total("plays")
    if not plays:
        return 0.0
    kinds = ("likes", "comments", "shares")
    mean = sum(counters.total(kind) for kind in kinds) / plays
    rows = moment.rows
    engaged = counters.likes[rows] + counters.comments[rows] + counters.shares[rows]
    return np.asarray((engaged + _PRIOR * mean) / (counters.plays[rows] + _PRIOR), np.float32)


def quality_score(moment: Moment) -> FloatArray:
    """Part of the judgements on the video that are good, as the data surely show it; 0 before any.

    The lower end of the 95 % score interval of plays among plays and rejections. Source: Wilson, Probable inference,
    the law of succession, and statistical inference, JASA (1927).

    Unit: 0 to 1
    Reads: counters.plays, counters.rejections
    """
    good = moment.counters.plays[moment.rows].astype(np.float64)
    n = np.maximum(good + moment.counters.rejections[moment.rows], 1.0)
    spread = _Z * np.sqrt(good * (n - good) / n + _Z**2 / 4)  # times n, as the rest
    low = (good + _Z**2 / 2 - spread) / (n + _Z**2)
    return np.asarray(np.maximum(low, 0.0), np.float32)


def rejection_ratio(moment: Moment) -> FloatArray | float:
    """Dislikes, hides and skips per play, smoothed.

    Unit: rejections per play
    Reads: counters.plays, counters.rejections, counters.total
    """
    return _smoothed(moment, "rejections", "plays")


def average_watch_share(moment: Moment) -> FloatArray | float:
    """Mean watch time over the video's duration; NaN where either is unknown.

    Unit: part of the duration
    Reads: catalogue.duration, counters.total, counters.watch_seconds, counters.watches
    """
    counters: Counters = moment.counters
    if not counters.total("watches"):
        return math.nan
    watches = counters.watches[moment.rows]
    mean = counters.watch_seconds[moment.rows] / np.maximum(watches, 1)
    seconds = moment.catalogue.duration[moment.rows]
    known = (watches > 0) & (seconds > 0)
    return np.where(known, mean / np.where(known, seconds, 1), np.nan).astype(np.float32)


def average_watch_seconds(moment: Moment) -> FloatArray | float:
    """ln(1 + seconds that the video is watched on average, smoothed towards the mean of all); NaN before any watch.

    Unit: ln(1 + seconds)
    Reads: counters.total, counters.watch_seconds, counters.watches
    """
    if not moment.counters.total("watches"):
        return math.nan
    return np.asarray(np.log1p(_smoothed(moment, "watch_seconds", "watches")), np.float32)
