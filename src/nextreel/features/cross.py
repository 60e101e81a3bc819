"""Features of the person and the candidate together."""

from __future__ import annotations

import math

import numpy as np

from nextreel.types import DAY, FloatArray, Moment, RowArray

_RECENT = 10  # events that count as what the person is at now
_LONG = 500  # events that count as the person's taste


def _liked(moment: Moment, last: int) -> RowArray:
    """Rows of the positives among the person's last events."""
    known = moment.liked.get(last)
    if known is None:
        history = moment.user.history
        rows, liked = history.rows[-last:], history.weights[-last:] > 0
        known = moment.liked[last] = rows if liked.all() else rows[liked]
    return known


def _affinity(moment: Moment, last: int) -> FloatArray | float:
    """Cosine (n,) of each candidate's categories and those of the person's last positive events."""
    rows = _liked(moment, last)
    categories = moment.catalogue.categories
    if len(rows) == 0 or categories.shape[1] == 0:
        return math.nan
    taste = np.ones(len(rows), np.float32) @ categories[rows]
    own = moment.memo.get("categories")
    if own is None:
        own = moment.memo["categories"] = categories[moment.rows]
    scale = moment.catalogue.category_length[moment.rows] * np.sqrt(taste @ taste)
    return np.asarray(own @ taste / np.maximum(scale, np.float32(1e-9)), np.float32)


def category_affinity(moment: Moment) -> FloatArray | float:
    """Cosine of the video's categories and those of the last 500 videos the person liked; NaN without any.

    Unit: cosine
    Reads: catalogue.categories, catalogue.category_length, history.rows, history.weights
    """
    return _affinity(moment, _LONG)


def recent_category_affinity(moment: Moment) -> FloatArray | float:
    """Cosine of the video's categories and those of the last 10 videos the person liked; NaN without any.

    Unit: cosine
    Reads: catalogue.categories, catalogue.category_length, history.rows, history.weights
    """
    return _affinity(moment, _RECENT)


def main_category_share(moment: Moment) -> FloatArray | float:
    """Part of the person's last 500 positive events that share the video's main category.

    Unit: 0 to 1
    Reads: catalogue.category, catalogue.category_names, history.rows, history.weights
    """
    rows = _liked(moment, _LONG)
    category = moment.catalogue.category
    if len(rows) == 0:
        return math.nan
    names = len(moment.catalogue.category_names)
    counts = np.bincount(category[rows] + 1, minlength=names + 1)  # code UNKNOWN (-1) is counted at 0
    return (counts[category[moment.rows] + 1] / len(rows)).astype(np.float32)


def channel_affinity(moment: Moment) -> FloatArray | float:
    """Part of the person's last 500 positive events that were from the video's channel; NaN without a channel.

    Unit: 0 to 1
    Reads: catalogue.channel, catalogue.channel_ids, history.rows, history.weights
    """
    rows = _liked(moment, _LONG)
    if len(rows) == 0 or not moment.catalogue.channel_ids:
        return math.nan
    channel = moment.catalogue.channel[moment.rows]
    watched, counts = np.unique(moment.catalogue.channel[rows], return_counts=True)
    where = np.minimum(np.searchsorted(watched, channel), len(watched) - 1)
    share = np.where(watched[where] == channel, counts[where] / len(rows), 0.0)
    return np.where(channel < 0, np.nan, share).astype(np.float32)


def language_match(moment: Moment) -> FloatArray | float:
    """1 where the video is in the person's language, 0 where not, NaN where either is unknown.

    Unit: 0 or 1
    Reads: catalogue.language, catalogue.language_names, profile.language
    """
    language = moment.user.profile.language
    names = moment.catalogue.language_names
    codes = moment.catalogue.language[moment.rows]
    if language is None or language not in names:
        return math.nan
    return np.asarray(np.where(codes < 0, np.nan, codes == names.index(language)), np.float32)


def _published_distance(moment: Moment, last: int) -> FloatArray | float:
    published = moment.catalogue.published_at
    history = moment.user.history
    dates = published[history.rows[-last:]]
    dates = dates[~np.isnan(dates)]
    if len(dates) == 0:
        return math.nan
    years: FloatArray = ((published[moment.rows] - dates.sum() / len(dates)) / (365.25 * DAY)).astype(np.float32)
    return years


def years_from_taste(moment: Moment) -> FloatArray | float:
    """Years by which the video is newer than the mean of the person's last 500; NaN where unknown.

    Unit: years
    Reads: catalogue.published_at, history.rows
    """
    return _published_distance(moment, _LONG)


def years_from_recent(moment: Moment) -> FloatArray | float:
    """Years by which the video is newer than the mean of the person's last 10; NaN where unknown.

    Unit: years
    Reads: catalogue.published_at, history.rows
    """
    return _published_distance(moment, _RECENT)


def popularity_from_taste(moment: Moment) -> FloatArray | float:
    """ln plays of the video less the mean ln plays of the person's last 500; NaN without any.

    Unit: ln of a ratio of plays
    Reads: counters.plays, history.rows
    """
    history = moment.user.history
    if len(history) == 0:
        return math.nan
    plays = moment.counters.plays
    usual = np.log1p(plays[history.rows[-_LONG:]])
    return np.asarray(np.log1p(plays[moment.rows]) - usual.sum() / len(usual), np.float32)


def times_met(moment: Moment) -> FloatArray:
    """ln(1 + how often the video is among the person's last 500 events).

    Unit: ln(1 + events)
    Reads: history.rows
    """
    met = (moment.rows[:, None] == moment.user.history.rows[None, -_LONG:]).sum(axis=1)
    return np.asarray(np.log1p(met), np.float32)


def favourite_category(moment: Moment) -> FloatArray | float:
    """1 where the video's main category is the one the person liked most often among the last 500; NaN without any.

    Unit: 0 or 1
    Reads: catalogue.category, history.rows, history.weights
    """
    liked = moment.catalogue.category[_liked(moment, _LONG)]
    liked = liked[liked >= 0]
    if len(liked) == 0:
        return math.nan
    return np.asarray(moment.catalogue.category[moment.rows] == np.bincount(liked).argmax(), np.float32)


def subscribed(moment: Moment) -> FloatArray | float:
    """1 where the person follows the video's channel, 0 where not.

    Unit: 0 or 1
    Reads: catalogue.channel, user.subscribed
    """
    followed = moment.user.subscribed
    if not followed:
        return 0.0
    return np.isin(moment.catalogue.channel[moment.rows], list(followed)).astype(np.float32)
