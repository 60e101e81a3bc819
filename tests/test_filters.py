"""Each filter on a catalogue where a person can say which videos must stay."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nextreel import filters
from nextreel.types import Catalogue, Filter, Moment, Request, UserState

DE, EN, UNTOLD = 0, 1, -1


@pytest.fixture(scope="module")
def films(catalogue_of: Callable[..., Catalogue]) -> Catalogue:
    """Six videos: news, sport, music, news and sport, of no category, sport."""
    return catalogue_of(
        [[0], [1], [2], [0, 1], [], [1]],
        language=np.array([DE, EN, UNTOLD, EN, DE, EN], np.int32),
        maturity=np.array([0, 6, 12, 16, 18, 21], np.int8),
        available=np.array([1, 1, 0, 1, 1, 0], np.bool_),
    )


def asked(**what: Any) -> Request:
    return Request(1, 1_000.0, **what)


@pytest.mark.parametrize(
    ("keep", "request_", "watched", "age", "kept"),
    [
        (filters.not_watched, asked(), [], None, [0, 1, 2, 3, 4, 5]),
        (filters.not_watched, asked(), [3, 0, 3], None, [1, 2, 4, 5]),
        (filters.not_watched, asked(), [0, 1, 2, 3, 4, 5], None, []),
        (filters.is_available, asked(), [], None, [0, 1, 3, 4]),
        (filters.suits_age, asked(), [], None, [0, 1, 2, 3, 4]),  # nobody told an age: an adult of 18
        (filters.suits_age, asked(), [], 30, [0, 1, 2, 3, 4, 5]),
        (filters.suits_age, asked(), [], 15.9, [0, 1, 2]),
        (filters.suits_age, asked(max_maturity=6), [], 30, [0, 1]),
        (filters.suits_age, asked(max_maturity=0), [], None, [0]),
        (filters.suits_age, asked(max_maturity=99), [], 12, [0, 1, 2]),  # a request cannot make a child older
        (filters.suits_age, asked(max_maturity=99), [], None, [0, 1, 2, 3, 4]),
        (filters.not_excluded, asked(), [], None, [0, 1, 2, 3, 4, 5]),
        (filters.not_excluded, asked(exclude=(101, 105)), [], None, [0, 2, 3, 4]),
        (filters.not_excluded, asked(exclude=(101, 9_999, "no such video")), [], None, [0, 2, 3, 4, 5]),
        (filters.in_categories, asked(), [], None, [0, 1, 2, 3, 4, 5]),
        (filters.in_categories, asked(categories=("sport",)), [], None, [1, 3, 5]),
        (filters.in_categories, asked(categories=("news", "music")), [], None, [0, 2, 3]),
        (filters.in_categories, asked(categories=("opera", "sport")), [], None, [1, 3, 5]),
        (filters.in_categories, asked(categories=("opera",)), [], None, []),
        (filters.in_languages, asked(), [], None, [0, 1, 2, 3, 4, 5]),
        (filters.in_languages, asked(languages=("en",)), [], None, [1, 2, 3, 5]),  # an unknown language may be English
        (filters.in_languages, asked(languages=("de", "en")), [], None, [0, 1, 2, 3, 4, 5]),
        (filters.in_languages, asked(languages=("fr",)), [], None, [2]),
    ],
)
def test_a_filter_keeps_what_it_should(
    keep: Filter,
    request_: Request,
    watched: list[int],
    age: float | None,
    kept: list[int],
    films: Catalogue,
    moment_of: Callable[..., Moment],
    person: Callable[..., UserState],
) -> None:
    moment = moment_of(films, request=request_, user=person(watched, age=age))
    mask = keep(moment)
    assert mask.dtype == np.bool_
    assert np.flatnonzero(mask).tolist() == kept


@pytest.mark.parametrize("keep", filters.FILTERS)
def test_a_filter_judges_a_row_alike_wherever_it_stands(
    keep: Filter, films: Catalogue, moment_of: Callable[..., Moment], person: Callable[..., UserState]
) -> None:
    parts: dict[str, Any] = {
        "request": asked(categories=("sport",), languages=("en",), exclude=(103,), max_maturity=18),
        "user": person([1, 4]),
    }
    whole = keep(moment_of(films, **parts))
    some = np.array([5, 0, 3, 1])
    assert keep(moment_of(films, some, **parts)).tolist() == whole[some].tolist()
    assert keep(moment_of(films, [], **parts)).tolist() == []


@pytest.mark.parametrize(
    ("blocked", "kept"), [(set(), [0, 1, 2, 3]), ({0}, [1, 2, 3]), ({0, 1}, [2, 3]), ({7}, [0, 1, 2, 3])]
)
def test_videos_of_blocked_channels_are_removed(
    blocked: set[int],
    kept: list[int],
    catalogue_of: Callable[..., Catalogue],
    person: Callable[..., UserState],
    moment_of: Callable[..., Moment],
) -> None:
    catalogue = catalogue_of([[0], [0], [0], [0]], channel=np.array([0, 1, -1, 2], np.int32))
    user = person()
    user.blocked = frozenset(blocked)
    assert np.flatnonzero(filters.not_blocked(moment_of(catalogue, user=user))).tolist() == kept


def test_a_disliked_video_counts_as_watched(
    films: Catalogue, moment_of: Callable[..., Moment], person: Callable[..., UserState]
) -> None:
    user = person([2], weights=[-1.0])
    assert not filters.not_watched(moment_of(films, user=user))[2]


def test_a_catalogue_without_categories_has_none_that_were_asked_for(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    plain = catalogue_of([[], []], category_names=())
    assert filters.in_categories(moment_of(plain)).tolist() == [True, True]
    assert filters.in_categories(moment_of(plain, request=asked(categories=("news",)))).tolist() == [False, False]


def test_every_filter_of_the_room_is_in_the_list() -> None:
    functions = {
        name for name, one in vars(filters).items() if inspect.isfunction(one) and one.__module__ == filters.__name__
    }
    assert functions - {"chosen", "_all"} == {keep.__name__ for keep in filters.FILTERS}
    assert len(filters.FILTERS) == len({keep.__name__ for keep in filters.FILTERS})
