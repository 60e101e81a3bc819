"""Features of the person and of the moment: one number, the same for every candidate."""

from __future__ import annotations

import math

import numpy as np

from nextreel.store import Counters
from nextreel.types import DAY, Moment

_EPOCH_WEEKDAY = 4  # 1 January 1970 was a Thursday; Monday is 1
_PRIOR = 5.0  # impressions of the mean person that a person's own ratios start from


def _played(moment: Moment, since: float) -> int:
    """How many events the person had in the last `since` seconds."""
    at = moment.user.history.at
    return len(at) - int(np.searchsorted(at, moment.request.at - since))


def history_length(moment: Moment) -> float:
    """ln(1 + events in the history).

    Unit: ln(1 + events)
    Reads: history
    """
    return math.log1p(len(moment.user.history))


def days_since_last_event(moment: Moment) -> float:
    """ln(1 + days since the person's newest event); NaN without one.

    Unit: ln(1 + days)
    Reads: history.at, request.at
    """
    since = moment.request.at - moment.user.last_at
    return math.nan if math.isnan(since) else math.log1p(max(since, 0.0) / DAY)


def days_since_first_event(moment: Moment) -> float:
    """ln(1 + days since the person's first event); NaN without one.

    Unit: ln(1 + days)
    Reads: history.at, request.at
    """
    at = moment.user.history.at
    return math.log1p(max(0.0, moment.request.at - at[0]) / DAY) if len(at) else math.nan


def events_5min(moment: Moment) -> float:
    """ln(1 + events of the person in the last five minutes).

    Unit: ln(1 + events)
    Reads: history.at, request.at
    """
    return math.log1p(_played(moment, 300.0))


def events_1h(moment: Moment) -> float:
    """ln(1 + events of the person in the last hour).

    Unit: ln(1 + events)
    Reads: history.at, request.at
    """
    return math.log1p(_played(moment, 3600.0))


def events_1d(moment: Moment) -> float:
    """ln(1 + events of the person in the last day).

    Unit: ln(1 + events)
    Reads: history.at, request.at
    """
    return math.log1p(_played(moment, DAY))


def age(moment: Moment) -> float:
    """Age in years; NaN where unknown.

    Unit: years
    Reads: profile.age
    """
    years = moment.user.profile.age
    return math.nan if years is None else years


def _code(moment: Moment, vocabulary: str, word: str | None) -> float:
    """The word's code, 0 for one that is not in the vocabulary; NaN where there is none."""
    return math.nan if word is None else moment.codes.get(vocabulary, {}).get(word, 0)


def country(moment: Moment) -> float:
    """Code of the person's country, the most frequent first; 0 is any other, NaN unknown.

    Unit: category
    Reads: profile.country, codes.country
    """
    return _code(moment, "country", moment.user.profile.country)


def user_language(moment: Moment) -> float:
    """Code of the person's language, the most frequent first; 0 is any other, NaN unknown.

    Unit: category
    Reads: profile.language, codes.user_language
    """
    return _code(moment, "user_language", moment.user.profile.language)


def device(moment: Moment) -> float:
    """Code of the device that asks, the most frequent first; 0 is any other, NaN unknown.

    Unit: category
    Reads: request.device, codes.device
    """
    return _code(moment, "device", moment.request.device)


def location(moment: Moment) -> float:
    """Code of where the request comes from, the most frequent first; 0 is any other, NaN unknown.

    Unit: category
    Reads: request.country, codes.location
    """
    return _code(moment, "location", moment.request.country)


def surface(moment: Moment) -> float:
    """Code of the page or tab that asks, the most frequent first; 0 is any other, NaN unknown.

    Unit: category
    Reads: request.surface, codes.surface
    """
    return _code(moment, "surface", moment.request.surface)


def part_of_day(moment: Moment) -> float:
    """Part of the day in UTC: 0 night (from 0), 1 morning (from 6), 2 afternoon (from 12), 3 evening (from 18).

    Unit: category
    Reads: request.at
    """
    return moment.request.at % DAY // (DAY / 4)


def average_watch_time(moment: Moment) -> float:
    """ln(1 + seconds that the person's watches last on average); NaN without any.

    Unit: ln(1 + seconds)
    Reads: user.watches, user.watch_seconds
    """
    user = moment.user
    return math.log1p(user.watch_seconds / user.watches) if user.watches else math.nan


def subscriptions(moment: Moment) -> float:
    """ln(1 + channels that the person follows).

    Unit: ln(1 + channels)
    Reads: user.subscribed
    """
    return math.log1p(len(moment.user.subscribed))


def _answered(moment: Moment, part: str, own: int) -> float:
    """(own + prior × everybody's part of the impressions) / (impressions + prior); NaN before any of anybody."""
    counters: Counters = moment.counters
    shown = counters.total("impressions")
    if not shown:
        return math.nan
    usual = counters.total(part) / shown
    return (own + _PRIOR * usual) / (moment.user.impressions + _PRIOR)


def impressions_seen(moment: Moment) -> float:
    """ln(1 + videos that the person was shown).

    Unit: ln(1 + impressions)
    Reads: user.impressions
    """
    return math.log1p(moment.user.impressions)


def click_ratio(moment: Moment) -> float:
    """The person's clicks per impression, drawn to those of everybody by five impressions; NaN before any of anybody.

    Unit: 0 to 1
    Reads: user.clicks, user.impressions, counters.total
    """
    return _answered(moment, "clicks", moment.user.clicks)


def watch_ratio(moment: Moment) -> float:
    """The person's watches for long enough to be positive, per impression, smoothed as click_ratio.

    Unit: 0 to 1
    Reads: user.full_watches, user.impressions, counters.total
    """
    return _answered(moment, "full_watches", moment.user.full_watches)


def hour_sin(moment: Moment) -> float:
    """Sine of the hour of the day in UTC as an angle.

    Unit: -1 to 1
    Reads: request.at
    """
    return math.sin(2 * math.pi * (moment.request.at % DAY) / DAY)


def hour_cos(moment: Moment) -> float:
    """Cosine of the hour of the day in UTC as an angle.

    Unit: -1 to 1
    Reads: request.at
    """
    return math.cos(2 * math.pi * (moment.request.at % DAY) / DAY)


def day_of_week(moment: Moment) -> float:
    """Weekday in UTC, Monday 0 to Sunday 6.

    Unit: 0 to 6
    Reads: request.at
    """
    return (moment.request.at // DAY + _EPOCH_WEEKDAY - 1) % 7


def mean_value_given(moment: Moment) -> float:
    """Mean graded relevance of the person's events: how easily pleased; NaN without any.

    Unit: graded relevance
    Reads: history.weights
    """
    weights = moment.user.history.weights
    return float(weights.sum(dtype=np.float64)) / len(weights) if len(weights) else math.nan
