"""Every feature against values worked out by hand, on a world of four videos and one person."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log, nan, sqrt
from typing import Any, NamedTuple

import numpy as np
import pytest

from nextreel import features
from nextreel.features import cross, user, video
from nextreel.store import Counters
from nextreel.types import DAY, UNKNOWN, Catalogue, Events, Feature, FloatArray, Kind, Moment, Request, UserState

NOW = 10_000 * DAY + DAY / 4  # six in the morning of Monday 19 May 1997, UTC
YEAR = 365.25
NEWS, SPORT = 0, 1
FLOOR = 1e-7


class Did(NamedTuple):
    row: int
    days_ago: float
    kind: Kind = Kind.WATCH
    weight: float = 1.0
    value: float = nan
    seconds: float = nan
    surface: int = UNKNOWN


HOME, SEARCH = 0, 1
EVERYBODY = [
    Did(0, 100.0, seconds=49.5),
    Did(0, 20.0, value=4.0),
    Did(0, 5.0, Kind.LIKE, 2.0),
    Did(1, 5.0, value=2.0),
    Did(1, 0.1, Kind.CLICK, surface=HOME),
    Did(1, 0.1, seconds=10.0, surface=SEARCH),
    Did(2, 0.1, seconds=45.0, surface=HOME),
    Did(2, 0.05, Kind.IMPRESSION, 0.0, surface=HOME),
    Did(2, 0.05, Kind.IMPRESSION, 0.0, surface=SEARCH),
    Did(1, 0.05, Kind.IMPRESSION, 0.0, surface=HOME),
    Did(1, 0.04, Kind.HIDE, -1.0),
    Did(2, 0.03, Kind.COMMENT, 0.0),
    Did(0, 0.03, Kind.SHARE, 0.0),
]


def counted(done: list[Did], videos: int) -> Counters:
    events = Events(
        user_ids=np.arange(1),
        user=np.zeros(len(done), np.int32),
        video=np.array([one.row for one in done], np.int32),
        at=NOW - DAY * np.array([one.days_ago for one in done]),
        kind=np.array([one.kind for one in done], np.int8),
        value=np.array([one.value for one in done], np.float32),
        watch_seconds=np.array([one.seconds for one in done], np.float32),
        surface=np.array([one.surface for one in done], np.int32),
        surfaces=("home", "search"),
    )
    counters = Counters(videos, channels=2)
    counters.add(events, np.array([one.weight for one in done], np.float32))
    counters.subscribers[0] = 3
    return counters


@pytest.fixture(scope="module")
def catalogue(catalogue_of: Callable[..., Catalogue]) -> Catalogue:
    return catalogue_of(
        [[NEWS], [SPORT], [NEWS, SPORT], []],
        channel=np.array([0, 1, 0, -1], np.int32),
        language=np.array([0, 1, -1, 1], np.int32),  # German, English, unknown, English
        duration=np.array([99, nan, 60, 0], np.float32),
        published_at=NOW - DAY * np.array([1_000, 10, -1, nan]),
    )


@pytest.fixture(scope="module")
def now(
    catalogue: Catalogue, moment_of: Callable[..., Moment], person: Callable[..., UserState]
) -> Callable[..., Moment]:
    """The moment of a German of 30 in Norway who liked video 0 twice and rejected video 1 in between; parts by name."""

    def now(**parts: Any) -> Moment:
        known = person([0, 1, 0], [NOW - 2 * DAY, NOW - DAY / 2, NOW - 60], [1.0, -1.0, 2.0], age=30.0, language="de",
                       country="NO")  # fmt: skip
        known.watches, known.watch_seconds, known.subscribed = 2, 100.0, frozenset({0})
        known.impressions, known.clicks, known.full_watches = 10, 4, 3
        plain = {
            "request": Request(1, NOW, device="tv", country="SE", surface="home"),
            "user": known,
            "counters": counted(EVERYBODY, 4),
            "codes": {
                "country": {"NO": 2},
                "user_language": {"de": 1},
                "device": {"tv": 3},
                "location": {"DE": 1},
                "surface": {"home": 2},
            },
        }
        return moment_of(catalogue, **plain | parts)

    return now


def column(feature: Feature, moment: Moment) -> FloatArray:
    """The feature's column as the ranker reads it."""
    return features.compute([feature], moment).values[:, 2 * len(moment.sources)]


def logs(*parts: float, of: float) -> list[float]:
    """ln of shares of a whole."""
    return [log(part / of + FLOOR) for part in parts]


TREND = [
    2 ** (-100 / 3) + 2 ** (-20 / 3) + 2 ** (-5 / 3),
    2 ** (-5 / 3) + 2 * 2 ** (-0.1 / 3),
    2 ** (-0.1 / 3),
    0.0,
]


def wilson(good: int, bad: int) -> float:
    """Lower end of the 95 % score interval, as the textbook writes it."""
    n, z = good + bad, 1.96
    p = good / n
    return (p + z * z / (2 * n) - z * sqrt((p * (1 - p) + z * z / (4 * n)) / n)) / (1 + z * z / n)


ALL, MONTH, WEEK, TODAY = (3, 3, 1, 0), (2, 3, 1, 0), (1, 3, 1, 0), (0, 2, 1, 0)

TABLE: list[tuple[Feature, float | list[float]]] = [
    # of the person: one number for all candidates
    (user.history_length, log(4)),
    (user.days_since_last_event, log(1 + 60 / DAY)),
    (user.days_since_first_event, log(3)),
    (user.events_5min, log(2)),
    (user.events_1h, log(2)),
    (user.events_1d, log(3)),
    (user.age, 30.0),
    (user.hour_sin, 1.0),
    (user.hour_cos, 0.0),
    (user.day_of_week, 0.0),
    (user.mean_value_given, 2 / 3),
    (user.country, 2.0),
    (user.user_language, 1.0),
    (user.device, 3.0),
    (user.location, 0.0),
    (user.surface, 2.0),
    (user.part_of_day, 1.0),
    (user.average_watch_time, log(51)),
    (user.subscriptions, log(2)),
    (user.impressions_seen, log(11)),
    (user.click_ratio, (4 + 5 * 1 / 3) / 15),
    (user.watch_ratio, (3 + 5 * 5 / 3) / 15),
    # of the videos
    (video.share_all, logs(*ALL, of=7)),
    (video.share_30d, logs(*MONTH, of=6)),
    (video.share_7d, logs(*WEEK, of=5)),
    (video.share_1d, logs(*TODAY, of=3)),
    (video.share_trend, logs(*TREND, of=sum(TREND))),
    (video.growth_7d, [a - b for a, b in zip(logs(*WEEK, of=5), logs(*ALL, of=7), strict=True)]),
    (video.growth_1d, [a - b for a, b in zip(logs(*TODAY, of=3), logs(*MONTH, of=6), strict=True)]),
    # the newest plays are two hours old, but windows end at the newest play of anybody
    (video.share_1h, logs(*TODAY, of=3)),
    (video.share_5min, logs(*TODAY, of=3)),
    (video.growth_1h, 0.0),
    (video.category, [0.0, 1.0, 0.0, nan]),
    (video.child_category, [nan, nan, 1.0, nan]),
    (video.video_language, [0.0, 1.0, nan, 1.0]),
    (video.likes, [log(2), 0.0, 0.0, 0.0]),
    (video.comments, [0.0, 0.0, log(2), 0.0]),
    (video.channel_subscribers, [log(4), 0.0, log(4), nan]),
    (video.recency_score, [2 ** (-1_000 / 30), 2 ** (-1 / 3), 1.0, nan]),
    (video.quality_score, [wilson(3, 0), wilson(3, 1), wilson(1, 0), 0.0]),
    (video.plays, [log(4), log(4), log(2), 0.0]),
    (video.upload_age, [log(1_001), log(11), 0.0, nan]),
    (video.days_since_first_play, [log(101), log(6), log(1.1), nan]),
    (video.duration, [log(100), nan, log(61), 0.0]),
    # each ratio starts from ten events of the mean video: a rating of 3, 1/3 click, 1/7 like and 1/7 rejection
    (video.mean_value, [34 / 11, 32 / 11, 3.0, 3.0]),
    (video.click_through_rate, [1 / 3, (1 + 10 / 3) / 11, (10 / 3) / 12, 1 / 3]),
    (video.full_watch_ratio, [(n + 50 / 3) / (shown + 10) for n, shown in ((2, 0), (2, 1), (1, 2), (0, 0))]),
    # of the two impressions at home one was clicked and one watched, each of another video
    (video.surface_click_through_rate, [1 / 2, (1 + 10 / 2) / 11, (10 / 2) / 11, 1 / 2]),
    (video.surface_full_watch_ratio, [1 / 2, (10 / 2) / 11, (1 + 10 / 2) / 11, 1 / 2]),
    (video.like_ratio, [(1 + 10 / 7) / 13, (10 / 7) / 13, (10 / 7) / 11, 1 / 7]),
    (video.comment_ratio, [(10 / 7) / 13, (10 / 7) / 13, (1 + 10 / 7) / 11, 1 / 7]),
    (video.engagement_rate, [(2 + 30 / 7) / 13, (30 / 7) / 13, (1 + 30 / 7) / 11, 3 / 7]),
    (
        video.average_watch_seconds,
        [log(1 + (own + 1045 / 3) / (n + 10)) for own, n in ((49.5, 1), (10, 1), (45, 1), (0, 0))],
    ),
    (video.rejection_ratio, [(10 / 7) / 13, (1 + 10 / 7) / 13, (10 / 7) / 11, 1 / 7]),
    (video.average_watch_share, [0.5, nan, 0.75, nan]),
    # of both
    (cross.category_affinity, [1.0, 0.0, 1 / sqrt(2), 0.0]),
    (cross.recent_category_affinity, [1.0, 0.0, 1 / sqrt(2), 0.0]),
    (cross.main_category_share, [1.0, 0.0, 1.0, 0.0]),
    (cross.channel_affinity, [1.0, 0.0, 1.0, nan]),
    (cross.favourite_category, [1.0, 0.0, 1.0, 0.0]),
    (cross.times_met, [log(3), log(2), 0.0, 0.0]),
    (cross.subscribed, [1.0, 0.0, 1.0, 0.0]),
    (cross.language_match, [1.0, 0.0, nan, 0.0]),
    # the three videos of the history are 1000, 10 and 1000 days old, 670 in the mean
    (cross.years_from_taste, [-330 / YEAR, 660 / YEAR, 671 / YEAR, nan]),
    (cross.years_from_recent, [-330 / YEAR, 660 / YEAR, 671 / YEAR, nan]),
    (cross.popularity_from_taste, [0.0, 0.0, log(2) - log(4), -log(4)]),
]


@pytest.mark.parametrize(("feature", "expected"), TABLE, ids=[feature.__name__ for feature, _ in TABLE])
def test_a_feature_is_what_it_says(feature: Feature, expected: float | list[float], now: Callable[..., Moment]) -> None:
    values = column(feature, now())
    assert values.dtype == np.float32
    assert values.shape == (4,)
    wanted = expected if isinstance(expected, list) else [expected] * 4
    np.testing.assert_allclose(values, np.array(wanted, np.float64), rtol=2e-6, atol=2e-6)


def test_every_feature_has_its_value_in_the_table() -> None:
    assert {feature for feature, _ in TABLE} == set(features.choose(timed=True))
    assert len(TABLE) == len(features.choose(timed=True))


@pytest.mark.parametrize("feature", features.choose(timed=True), ids=lambda one: one.__name__)
def test_a_row_has_the_same_value_wherever_it_stands(feature: Feature, now: Callable[..., Moment]) -> None:
    whole = now()
    some = np.array([3, 0, 2])
    part = Moment.unscored(whole.request, whole.user, whole.catalogue, whole.counters, whole.rows[some], whole.codes)
    np.testing.assert_array_equal(column(feature, part), column(feature, whole)[some])
    assert column(feature, whole.take(np.zeros(4, np.bool_))).shape == (0,)


NEWCOMER: dict[Feature, float] = {
    user.history_length: 0.0,
    user.events_5min: 0.0,
    user.events_1h: 0.0,
    user.events_1d: 0.0,
    user.days_since_last_event: nan,
    user.days_since_first_event: nan,
    user.age: nan,
    user.mean_value_given: nan,
    cross.category_affinity: nan,
    cross.recent_category_affinity: nan,
    cross.main_category_share: nan,
    cross.channel_affinity: nan,
    cross.language_match: nan,
    cross.years_from_taste: nan,
    cross.years_from_recent: nan,
    cross.popularity_from_taste: nan,
}


@pytest.mark.parametrize(("feature", "expected"), NEWCOMER.items(), ids=[one.__name__ for one in NEWCOMER])
def test_nothing_is_made_up_about_a_newcomer(
    feature: Feature, expected: float, now: Callable[..., Moment], person: Callable[..., UserState]
) -> None:
    np.testing.assert_array_equal(column(feature, now(user=person())), np.full(4, expected, np.float32))


@pytest.mark.parametrize("feature", features.choose(timed=True), ids=lambda one: one.__name__)
def test_before_any_event_every_feature_is_finite_or_missing(
    feature: Feature, now: Callable[..., Moment], person: Callable[..., UserState]
) -> None:
    assert not np.isinf(column(feature, now(user=person(), counters=Counters(4)))).any()


def test_a_person_who_liked_nothing_has_no_taste(now: Callable[..., Moment], person: Callable[..., UserState]) -> None:
    moment = now(user=person([0, 1], [NOW - 2, NOW - 1], [-1.0, 0.0]))
    for feature in (cross.category_affinity, cross.main_category_share, cross.channel_affinity):
        assert np.isnan(column(feature, moment)).all()


def test_an_unknown_language_matches_nothing(now: Callable[..., Moment], person: Callable[..., UserState]) -> None:
    assert np.isnan(column(cross.language_match, now(user=person(language="fr")))).all()


def test_recent_taste_forgets_what_is_more_than_ten_events_ago(
    now: Callable[..., Moment], person: Callable[..., UserState]
) -> None:
    moment = now(user=person([1] * 5 + [0] * 10, [NOW - 100 + number for number in range(15)]))
    np.testing.assert_allclose(column(cross.recent_category_affinity, moment)[:2], [1.0, 0.0])
    np.testing.assert_allclose(column(cross.category_affinity, moment)[:2], [10 / sqrt(125), 5 / sqrt(125)], rtol=1e-6)
    np.testing.assert_allclose(column(cross.main_category_share, moment)[:2], [10 / 15, 5 / 15], rtol=1e-6)
    np.testing.assert_allclose(column(cross.years_from_recent, moment)[:1], [0.0], atol=1e-6)
    assert column(cross.years_from_taste, moment)[0] < 0


@pytest.mark.parametrize(
    ("feature", "seconds"), [(user.events_5min, 300.0), (user.events_1h, 3_600.0), (user.events_1d, DAY)]
)
def test_a_window_holds_its_own_edge_and_nothing_older(
    feature: Feature, seconds: float, now: Callable[..., Moment], person: Callable[..., UserState]
) -> None:
    history = person([0, 1, 2], [NOW - seconds - 1, NOW - seconds, NOW])
    assert column(feature, now(user=history))[0] == pytest.approx(log(3))


@pytest.mark.parametrize(
    ("days", "weekday", "hour"), [(0.0, 3, 0), (10_000.5, 0, 12), (10_006.75, 6, 18), (10_007.0, 0, 0)]
)
def test_the_clock_is_that_of_the_request(days: float, weekday: int, hour: int, now: Callable[..., Moment]) -> None:
    moment = now(request=Request(1, days * DAY))
    angle = 2 * np.pi * hour / 24
    assert column(user.day_of_week, moment)[0] == weekday
    assert column(user.hour_sin, moment)[0] == pytest.approx(np.sin(angle), abs=1e-6)
    assert column(user.hour_cos, moment)[0] == pytest.approx(np.cos(angle), abs=1e-6)


@pytest.mark.parametrize(("window", "days"), [(video.share_1d, 1.0), (video.share_7d, 7.0), (video.share_30d, 30.0)])
def test_a_share_forgets_what_left_its_window(window: Feature, days: float, now: Callable[..., Moment]) -> None:
    inside = now(counters=counted([Did(0, 0.85 * days), Did(1, 0.0)], 4))
    outside = now(counters=counted([Did(0, 1.1 * days), Did(1, 0.0)], 4))
    np.testing.assert_allclose(column(window, inside)[:2], logs(1, 1, of=2), rtol=1e-6)
    np.testing.assert_allclose(column(window, outside)[:2], logs(0, 1, of=1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rate", [video.surface_click_through_rate, video.surface_full_watch_ratio])
def test_an_answer_is_that_of_its_own_surface(rate: Feature, now: Callable[..., Moment]) -> None:
    searched = [Did(0, 0.01, Kind.CLICK, surface=SEARCH), Did(0, 0.01, seconds=60.0, surface=SEARCH)]
    more = [*searched, Did(0, 0.01, Kind.CLICK), Did(0, 0.01, seconds=60.0)]
    asked = {name: Request(1, NOW, surface=name) for name in ("home", "search", "never seen")}
    plain, told = (
        {name: column(rate, now(request=one, counters=counted(EVERYBODY + done, 4))) for name, one in asked.items()}
        for done in ([], more)
    )
    np.testing.assert_array_equal(told["home"], plain["home"])
    assert told["search"][0] > plain["search"][0]
    assert np.isnan(told["never seen"]).all()
    assert np.isnan(column(rate, now(request=Request(1, NOW)))).all()


def test_one_event_moves_a_ratio_little(now: Callable[..., Moment]) -> None:
    many = [Did(0, 1.0, Kind.LIKE) for _ in range(50)] + [Did(1, 1.0) for _ in range(50)]
    ratio = column(video.like_ratio, now(counters=counted([*many, Did(2, 1.0, Kind.LIKE)], 4)))
    assert ratio[1] < ratio[3] < ratio[2] < ratio[0]  # one like of one play is worth less than fifty of fifty
    assert ratio[2] == pytest.approx(51 / 101, abs=0.06)


def test_the_matrix_holds_scores_then_ranks_then_features(now: Callable[..., Moment]) -> None:
    scores = np.array([[0.5, nan], [0.25, 3], [0.75, 1], [0, 2]], np.float32)
    ranks = np.array([[1, nan], [2, 0], [0, 2], [3, 1]], np.float32)
    moment = now(sources=("als", "trending"), scores=scores, ranks=ranks)
    matrix = features.compute((video.plays, user.age), moment)
    assert matrix.names == ("score_als", "score_trending", "rank_als", "rank_trending", "plays", "age")
    assert matrix.values.dtype == np.float32
    np.testing.assert_array_equal(matrix.values[:, :2], scores)
    np.testing.assert_allclose(matrix.values[:, 2:4], np.log1p(ranks))
    np.testing.assert_array_equal(matrix.values[:, 4], video.plays(moment))
    np.testing.assert_array_equal(matrix.values[:, 5], np.full(4, 30.0))


def test_a_column_has_one_name_and_every_public_function_is_a_column() -> None:
    chosen = features.choose(timed=True)
    assert len({feature.__name__ for feature in chosen}) == len(chosen)
    for room in (user, video, cross):
        public = {
            one
            for name, one in vars(room).items()
            if callable(one) and one.__module__ == room.__name__ and not name.startswith("_")
        }
        assert public <= set(chosen)


def test_data_without_times_have_no_feature_of_time(now: Callable[..., Moment]) -> None:
    for feature in features.choose(timed=False):
        one, other = (
            column(feature, now()),
            column(feature, now(request=Request(1, 0.0, device="tv", country="SE", surface="home"))),
        )
        np.testing.assert_array_equal(one, other, err_msg=feature.__name__)
    assert set(features.choose(timed=False)) < set(features.choose(timed=True))


def test_the_fingerprint_changes_with_every_name_and_with_their_order() -> None:
    prints = {features.fingerprint(names) for names in (("a", "b"), ("b", "a"), ("a",), ("ab",), ("a", "b", "c"), ())}
    assert len(prints) == 6
    assert features.fingerprint(("a", "b")) == features.fingerprint(["a", "b"])


def test_no_request_time_is_before_the_world(now: Callable[..., Moment]) -> None:
    """A request from before the events (a replayed one) gives no infinity and no negative days."""
    moment = now(request=Request(1, NOW - 200 * DAY))
    for feature in (user.days_since_last_event, user.days_since_first_event, video.days_since_first_play):
        values = column(feature, moment)
        assert not (np.isinf(values) | (values < 0)).any()
    assert max(abs(float(np.nanmax(video.upload_age(moment)))), 0.0) < inf
