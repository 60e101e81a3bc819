"""The filters: each one a function that keeps (True) or removes (False) rows of a moment.

A filter gives a row the same verdict alone as among others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from nextreel.listed import entries
from nextreel.params import Params
from nextreel.resuming import ResumeParams, begun
from nextreel.store import uploaded_at
from nextreel.types import DAY, UNKNOWN, BoolArray, Filter, Kind, Moment

ADULT = 18  # assumed age of a person whose age is unknown and whose request sets no limit


class FilterParams(Params):
    """What may be chosen of the filters."""

    tired_impressions: int = Field(default=5, ge=0)  # shown so often without an answer, a video is left out; 0 = never
    tired_days: float = Field(default=7.0, gt=0)  # impressions within so long are counted


def not_watched(moment: Moment) -> BoolArray:
    """Removes what the person has watched, clicked, rated or hidden, however long ago."""
    return np.asarray(~moment.user.history.seen(len(moment.catalogue))[moment.rows], np.bool_)


def not_hidden(moment: Moment) -> BoolArray:
    """Removes what the person has hidden."""
    history = moment.user.history
    hidden = history.rows[history.kinds == Kind.HIDE]
    return np.isin(moment.rows, hidden, invert=True) if len(hidden) else _all(moment)


def not_blocked(moment: Moment) -> BoolArray:
    """Removes videos of channels that the person has blocked."""
    blocked = moment.user.blocked
    if not blocked:
        return _all(moment)
    return ~np.isin(moment.catalogue.channel[moment.rows], list(blocked))


def is_available(moment: Moment) -> BoolArray:
    """Removes videos that are deleted or withdrawn."""
    return moment.catalogue.available[moment.rows]


def is_published(moment: Moment) -> BoolArray:
    """Removes videos that come out later than the request; those of unknown date are out."""
    return ~(moment.catalogue.published_at[moment.rows] > moment.request.at)


def has_rights(moment: Moment) -> BoolArray:
    """Removes videos that may not be shown where the person is, or not at this time.

    Where they are the request says, else the profile. Where nobody knows, what is limited to regions is removed.
    """
    rights, request = moment.catalogue.rights, moment.request
    if rights is None:
        return _all(moment)
    country = moment.user.profile.country if request.country is None else request.country
    return rights.allow(moment.rows, country, request.at)


def suits_age(moment: Moment) -> BoolArray:
    """Removes videos rated for people older than this one, or than the request allows."""
    years = moment.user.profile.age
    limit = ADULT if years is None else years
    if moment.request.max_maturity is not None:
        limit = min(limit, moment.request.max_maturity)
    return moment.catalogue.maturity[moment.rows] <= limit


def not_excluded(moment: Moment) -> BoolArray:
    """Removes what the request excludes by id."""
    if not moment.request.exclude:
        return _all(moment)
    return ~np.isin(moment.rows, moment.catalogue.rows(moment.request.exclude))


def in_categories(moment: Moment) -> BoolArray:
    """Keeps videos of the categories that the request asks for."""
    wanted = moment.request.categories
    if not wanted:
        return _all(moment)
    columns = [code for code, name in enumerate(moment.catalogue.category_names) if name in wanted]
    return np.asarray(moment.catalogue.categories[moment.rows][:, columns].any(axis=1), np.bool_)


def in_languages(moment: Moment) -> BoolArray:
    """Keeps videos in the languages that the request asks for, and those whose language is unknown."""
    wanted = moment.request.languages
    if not wanted:
        return _all(moment)
    codes = [code for code, name in enumerate(moment.catalogue.language_names) if name in wanted]
    language = moment.catalogue.language[moment.rows]
    return np.isin(language, codes) | (language < 0)


def is_new(moment: Moment) -> BoolArray:
    """Keeps videos that came out within the days that the request asks for.

    What has no date counts from its first play. A video without either is removed: nobody knows it to be new.
    """
    days = moment.request.max_age_days
    if days is None:
        return _all(moment)
    return uploaded_at(moment.catalogue, moment.counters, moment.rows) >= moment.request.at - days * DAY


def not_tiring(params: FilterParams) -> Filter:
    """A filter that removes what the person was shown again and again of late and never reacted to since."""

    def not_tiring(moment: Moment) -> BoolArray:
        user, least = moment.user, params.tired_impressions
        late = user.shown_at > moment.request.at - params.tired_days * DAY
        rows, times = np.unique(user.shown_rows[late], return_counts=True)
        rows = rows[times >= least]
        if len(rows) == 0:
            return _all(moment)
        answered = np.full(len(rows), -np.inf)  # time of the last answer to each
        heard = np.isin(user.history.rows, rows)
        np.maximum.at(answered, np.searchsorted(rows, user.history.rows[heard]), user.history.at[heard])
        late &= np.isin(user.shown_rows, rows)
        place = np.searchsorted(rows, user.shown_rows[late])
        since = np.bincount(place[user.shown_at[late] > answered[place]], minlength=len(rows))
        return np.isin(moment.rows, rows[since >= least], invert=True)

    return not_tiring


def is_next_episode(may_be_shown: Sequence[Filter], resume: ResumeParams) -> Filter:
    """A filter that removes the episodes of a series after the first one that the person can watch and has not watched.

    Can watch: the filters keep it. An episode that was begun and may be gone on with is not watched yet. Videos of a
    series without a number are kept.
    """

    def is_next_episode(moment: Moment) -> BoolArray:
        catalogue, user = moment.catalogue, moment.user
        series, episode = catalogue.series[moment.rows], catalogue.episode[moment.rows]
        numbered = (series != UNKNOWN) & (episode != UNKNOWN)
        codes = np.unique(series[numbered])
        if len(codes) == 0:
            return _all(moment)
        owner, entry = entries(catalogue.episodes.starts, codes)
        rows = catalogue.episodes.rows[entry]
        watched = user.history.seen(len(catalogue))
        if resume.places:
            watched[begun(user, catalogue, moment.request.at, resume)[0]] = False
        waiting = ~watched[rows]
        every = Moment.unscored(moment.request, user, catalogue, moment.counters, rows, moment.codes)
        for keep in may_be_shown:
            waiting &= keep(every)
        following = np.full(len(codes), np.iinfo(np.int32).max, np.int32)  # number of the first one that waits
        np.minimum.at(following, owner[waiting], catalogue.episode[rows[waiting]])
        keeps = _all(moment)
        keeps[numbered] = episode[numbered] <= following[np.searchsorted(codes, series[numbered])]
        return keeps

    return is_next_episode


def chosen(params: FilterParams, resume: ResumeParams, *, timed: bool) -> tuple[Filter, ...]:
    """All filters in running order. Without time stamps nobody knows what is published, or was shown of late."""
    may_be_shown = (not_blocked, is_available, *((is_published,) if timed else ()), has_rights, suits_age)
    return (
        not_hidden,
        not_watched,
        *may_be_shown,
        not_excluded,
        in_categories,
        in_languages,
        is_new,
        *((not_tiring(params),) if timed and params.tired_impressions else ()),
        is_next_episode(may_be_shown, resume),
    )


def _all(moment: Moment) -> BoolArray:
    return np.ones(len(moment), np.bool_)


FILTERS = chosen(FilterParams(), ResumeParams(), timed=True)
