"""Features of the person and of the moment: one number, the same for every candidate."""

from __future__ import annotations

import numpy as np

from nextreel.types import DAY, FloatArray, Moment

_EPOCH_WEEKDAY = 4  # 1 January 1970 was a Thursday; Monday is 1


def _same(moment: Moment, value: float) -> FloatArray:
    return np.full(len(moment.rows), value, np.float32)


def _played(moment: Moment, since: float) -> int:
    """How many events the person had in the last `since` seconds."""
    at = moment.user.history.at
    return len(at) - int(np.searchsorted(at, moment.request.at - since))


def history_length(moment: Moment) -> FloatArray:
    """ln(1 + events in the history)."""
    return _same(moment, np.log1p(len(moment.user.history)))


def days_since_last_event(moment: Moment) -> FloatArray:
    """ln(1 + days since the person's newest event); NaN without one."""
    return _same(moment, np.log1p(np.maximum(moment.request.at - moment.user.last_at, 0.0) / DAY))


def days_since_first_event(moment: Moment) -> FloatArray:
    """ln(1 + days since the person's first event); NaN without one."""
    at = moment.user.history.at
    return _same(moment, np.log1p(max(0.0, moment.request.at - at[0]) / DAY) if len(at) else np.nan)


def events_5min(moment: Moment) -> FloatArray:
    """ln(1 + events of the person in the last five minutes)."""
    return _same(moment, np.log1p(_played(moment, 300.0)))


def events_1h(moment: Moment) -> FloatArray:
    """ln(1 + events of the person in the last hour)."""
    return _same(moment, np.log1p(_played(moment, 3600.0)))


def events_1d(moment: Moment) -> FloatArray:
    """ln(1 + events of the person in the last day)."""
    return _same(moment, np.log1p(_played(moment, DAY)))


def age(moment: Moment) -> FloatArray:
    """Age in years; NaN where unknown."""
    years = moment.user.profile.age
    return _same(moment, np.nan if years is None else years)


def hour_sin(moment: Moment) -> FloatArray:
    """Sine of the hour of the day in UTC as an angle."""
    return _same(moment, np.sin(2 * np.pi * (moment.request.at % DAY) / DAY))


def hour_cos(moment: Moment) -> FloatArray:
    """Cosine of the hour of the day in UTC as an angle."""
    return _same(moment, np.cos(2 * np.pi * (moment.request.at % DAY) / DAY))


def day_of_week(moment: Moment) -> FloatArray:
    """Weekday in UTC, Monday 0 to Sunday 6."""
    return _same(moment, (moment.request.at // DAY + _EPOCH_WEEKDAY - 1) % 7)


def mean_value_given(moment: Moment) -> FloatArray:
    """Mean graded relevance of the person's events: how easily pleased; NaN without any."""
    weights = moment.user.history.weights
    return _same(moment, weights.sum(dtype=np.float64) / len(weights) if len(weights) else np.nan)
