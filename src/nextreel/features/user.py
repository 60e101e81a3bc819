"""Features of the person and of the moment: one number, the same for every candidate."""

from __future__ import annotations

import math

import numpy as np

from nextreel.types import DAY, Moment

_EPOCH_WEEKDAY = 4  # 1 January 1970 was a Thursday; Monday is 1


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
