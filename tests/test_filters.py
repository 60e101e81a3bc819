"""Each filter on a catalogue where a person can say which videos must stay."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nextreel import filters
from nextreel.listed import Rights
from nextreel.resuming import ResumeParams
from nextreel.store import Counters
from nextreel.types import DAY, Catalogue, Filter, Kind, Moment, Request, UserState

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


def test_hidden_videos_are_removed_and_others_of_the_history_left_to_another_filter(
    films: Catalogue, moment_of: Callable[..., Moment], person: Callable[..., UserState]
) -> None:
    user = person([0, 1])
    user.history.append(4, 9.0, Kind.HIDE, -1.0)
    assert np.flatnonzero(~filters.not_hidden(moment_of(films, user=user))).tolist() == [4]
    assert filters.not_hidden(moment_of(films, user=person([0]))).all()


@pytest.mark.parametrize(("days", "kept"), [(None, [0, 1, 2, 3, 4]), (1.0, [0]), (6.0, [0, 1, 3]), (7.5, [0, 1, 2, 3])])
def test_only_what_came_out_so_lately_is_kept_when_asked_for(
    days: float | None, kept: list[int], catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    now = 100 * DAY
    catalogue = catalogue_of([[0]] * 5, published_at=now - np.array([1.0, 5.0, 7.0, np.nan, np.nan]) * DAY)
    counters = Counters(5)
    counters.first_at[3] = now - 6 * DAY  # of unknown date, first played then; nobody ever played the last one
    moment = moment_of(catalogue, request=Request(1, now, max_age_days=days), counters=counters)
    assert np.flatnonzero(filters.is_new(moment)).tolist() == kept


def test_a_video_is_shown_from_the_second_on_in_which_it_comes_out(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    catalogue = catalogue_of([[0]] * 4, published_at=np.array([999.0, 1_000.0, 1_000.5, np.nan]))
    assert filters.is_published(moment_of(catalogue, request=asked())).tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("country", "home", "kept"),
    [(None, None, [0]), (None, "DE", [0, 1]), ("FR", "DE", [0, 2]), ("FR", None, [0, 2]), ("US", "DE", [0])],
)
def test_where_a_person_is_the_request_says_before_the_profile(
    country: str | None,
    home: str | None,
    kept: list[int],
    catalogue_of: Callable[..., Catalogue],
    moment_of: Callable[..., Moment],
    person: Callable[..., UserState],
) -> None:
    open_ = np.full(2, np.nan)
    catalogue = catalogue_of([[0]] * 3, rights=Rights.of(np.array([1, 2]), ["DE", "FR"], open_, open_, 3))
    moment = moment_of(catalogue, request=asked(country=country), user=person(country=home))
    assert np.flatnonzero(filters.has_rights(moment)).tolist() == kept


def shown(user: UserState, *times: tuple[int, float]) -> UserState:
    user.shown_rows = np.array([row for row, _ in times], np.int32)
    user.shown_at = np.array([at for _, at in times], np.float64)
    return user


def test_what_was_shown_five_times_in_a_week_without_an_answer_is_removed(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment], person: Callable[..., UserState]
) -> None:
    now, catalogue = 100 * DAY, catalogue_of([[0]] * 5)
    late = [now - day * DAY for day in range(1, 6)]
    often = [(1, at) for at in late] + [(2, at) for at in late[:4]] + [(3, at) for at in late]
    older = [(4, now - 7.5 * DAY), *((4, at) for at in late[:4])]  # one of five is more than a week old
    user = shown(person([3], at=[now - 2.5 * DAY]), *often, *older)  # who answered the video of row 3
    keep = next(one for one in filters.FILTERS if one.__name__ == "not_tiring")
    moment = moment_of(catalogue, request=Request(1, now), user=user)
    assert np.flatnonzero(~keep(moment)).tolist() == [1]
    wider = filters.not_tiring(filters.FilterParams(tired_impressions=2, tired_days=8))
    assert np.flatnonzero(~wider(moment)).tolist() == [1, 2, 3, 4]  # row 3 was shown twice since its answer
    three = filters.not_tiring(filters.FilterParams(tired_impressions=3))
    assert np.flatnonzero(~three(moment)).tolist() == [1, 2, 4]


def test_fatigue_can_be_switched_off_and_needs_times() -> None:
    def names(params: filters.FilterParams, *, timed: bool) -> set[str]:
        return {keep.__name__ for keep in filters.chosen(params, ResumeParams(), timed=timed)}

    every = names(filters.FilterParams(), timed=True)
    assert every - names(filters.FilterParams(tired_impressions=0), timed=True) == {"not_tiring"}
    assert every - names(filters.FilterParams(), timed=False) == {"not_tiring", "is_published"}


@pytest.fixture(scope="module")
def serials(catalogue_of: Callable[..., Catalogue]) -> Catalogue:
    """Rows 0 to 4: episodes 4, 2, 3, 2 and one without a number of series "a"; 5, 6: 1 and 2 of "b"; 7: none."""
    return catalogue_of(
        [[0]] * 8,
        series=np.array([0, 0, 0, 0, 0, 1, 1, UNTOLD], np.int32),
        episode=np.array([4, 2, 3, 2, UNTOLD, 1, 2, UNTOLD], np.int32),
        series_ids=("a", "b"),
        duration=np.full(8, 100, np.float32),
        available=np.array([1, 1, 1, 1, 1, 0, 1, 1], np.bool_),
    )


@pytest.mark.parametrize(
    ("watched", "partly", "asks", "kept"),
    [
        ([], {}, asked(), [1, 3, 4, 5, 6, 7]),  # both videos of episode 2; the first of "b" cannot be watched: 6
        ([1], {}, asked(), [1, 3, 4, 5, 6, 7]),  # the other episode 2 waits
        ([1, 3], {}, asked(), [1, 2, 3, 4, 5, 6, 7]),
        ([1, 3, 2], {}, asked(), [0, 1, 2, 3, 4, 5, 6, 7]),
        ([0], {}, asked(), [1, 3, 4, 5, 6, 7]),
        ([1, 3, 2], {2: (50.0, 900.0)}, asked(), [1, 2, 3, 4, 5, 6, 7]),  # episode 3 was begun, so 4 has to wait
        ([1, 3, 2], {2: (95.0, 900.0)}, asked(), [0, 1, 2, 3, 4, 5, 6, 7]),
        ([1, 3], {}, asked(exclude=(102,)), [1, 2, 3, 4, 5, 6, 7]),  # what is not asked for now still comes first
    ],
)
def test_of_a_series_the_first_episode_that_waits_is_kept_and_no_later_one(
    watched: list[int],
    partly: dict[int, tuple[float, float]],
    asks: Request,
    kept: list[int],
    serials: Catalogue,
    moment_of: Callable[..., Moment],
    person: Callable[..., UserState],
) -> None:
    user = person(watched)
    user.partly = partly
    keep = filters.FILTERS[-1]
    whole = keep(moment_of(serials, request=asks, user=user))
    assert np.flatnonzero(whole).tolist() == kept
    for row in range(8):  # alone as among others
        assert keep(moment_of(serials, [row], request=asks, user=user)).tolist() == [whole[row]]


def test_an_episode_that_was_begun_is_watched_where_nothing_is_gone_on_with(
    serials: Catalogue, moment_of: Callable[..., Moment], person: Callable[..., UserState]
) -> None:
    user = person([1, 3, 2])
    user.partly = {2: (50.0, 900.0)}
    keep = filters.chosen(filters.FilterParams(), ResumeParams(places=0), timed=True)[-1]
    assert keep(moment_of(serials, [0], request=asked(), user=user)).tolist() == [True]


def test_every_filter_of_the_room_is_in_the_list() -> None:
    functions = {
        name for name, one in vars(filters).items() if inspect.isfunction(one) and one.__module__ == filters.__name__
    }
    assert functions - {"chosen", "_all"} == {keep.__name__ for keep in filters.FILTERS}
    assert len(filters.FILTERS) == len({keep.__name__ for keep in filters.FILTERS})
