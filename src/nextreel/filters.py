"""The filters: each one a function that keeps (True) or removes (False) rows of a moment."""

from __future__ import annotations

import numpy as np

from nextreel.types import BoolArray, Filter, Moment

ADULT = 18  # assumed age of a person whose age is unknown and whose request sets no limit


def not_watched(moment: Moment) -> BoolArray:
    """Removes what the person has watched, clicked, rated or hidden, however long ago."""
    return np.asarray(~moment.user.history.seen(len(moment.catalogue))[moment.rows], np.bool_)


def not_blocked(moment: Moment) -> BoolArray:
    """Removes videos of channels that the person has blocked."""
    blocked = moment.user.blocked
    if not blocked:
        return np.ones(len(moment), np.bool_)
    return ~np.isin(moment.catalogue.channel[moment.rows], list(blocked))


def is_available(moment: Moment) -> BoolArray:
    """Removes videos that are deleted or withdrawn."""
    return moment.catalogue.available[moment.rows]


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
        return np.ones(len(moment), np.bool_)
    return ~np.isin(moment.rows, moment.catalogue.rows(moment.request.exclude))


def in_categories(moment: Moment) -> BoolArray:
    """Keeps videos of the categories that the request asks for."""
    wanted = moment.request.categories
    if not wanted:
        return np.ones(len(moment), np.bool_)
    columns = [code for code, name in enumerate(moment.catalogue.category_names) if name in wanted]
    return np.asarray(moment.catalogue.categories[moment.rows][:, columns].any(axis=1), np.bool_)


def in_languages(moment: Moment) -> BoolArray:
    """Keeps videos in the languages that the request asks for, and those whose language is unknown."""
    wanted = moment.request.languages
    if not wanted:
        return np.ones(len(moment), np.bool_)
    codes = [code for code, name in enumerate(moment.catalogue.language_names) if name in wanted]
    language = moment.catalogue.language[moment.rows]
    return np.isin(language, codes) | (language < 0)


FILTERS: tuple[Filter, ...] = (
    not_watched,
    not_blocked,
    is_available,
    suits_age,
    not_excluded,
    in_categories,
    in_languages,
)
