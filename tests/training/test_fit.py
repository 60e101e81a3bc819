"""What fitting a whole system may see, what it learns, and what its slates promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextreel.assembly import Config, Models
from nextreel.data import Dataset, load
from nextreel.features import among, names
from nextreel.metrics import auc, gauc
from nextreel.pipeline import Recommender, Source
from nextreel.ranking.ranker import RELEVANCE
from nextreel.ranking.rows import Rows
from nextreel.store import MemoryStore
from nextreel.training import Fitted, fit
from nextreel.training.moments import examples
from nextreel.types import (
    DAY,
    UNKNOWN,
    Events,
    FloatArray,
    Kind,
    Matrix,
    Moment,
    NextreelError,
    Request,
    RowArray,
    Slate,
    UserId,
    UserState,
)

RecommenderOf = Callable[..., Recommender]
Spied = Callable[[Dataset, Config], tuple[Fitted, list[Models], list[Events]]]


def watches(user_id: UserId, rows: list[int], at: float) -> Events:
    """One person who watches each row a minute after the one before."""
    n = len(rows)
    return Events(
        user_ids=np.array([user_id], object),
        user=np.zeros(n, np.int32),
        video=np.array(rows, np.int32),
        at=at + 60.0 * np.arange(n, dtype=np.float64),
        kind=np.full(n, Kind.WATCH, np.int8),
        value=np.full(n, np.nan, np.float32),
        watch_seconds=np.full(n, np.nan, np.float32),
    )


def end(dataset: Dataset) -> float:
    return float(dataset.events.at[-1]) + 60.0


# --- What each model may see -----------------------------------------------------------------------------------------


def test_retrievers_see_the_older_part_first_and_all_of_it_at_last(
    spied: Spied, tiny_dataset: Dataset, quick_config: Config
) -> None:
    fitted, models, given = spied(tiny_dataset, quick_config)
    first = int(len(tiny_dataset.events) * (1 - quick_config.moments.share))
    assert [len(events) for events in given] == [first, len(tiny_dataset.events)]
    assert fitted.models is models[1]
    for rows in fitted.rows.values():  # nothing that the retrievers knew is judged
        assert rows.at.min() >= tiny_dataset.events.at[first]
        assert rows.names == fitted.rows[RELEVANCE].names
    sources = [source.retriever.name for source in fitted.recommender.sources]
    assert fitted.rows[RELEVANCE].names == names(among(fitted.rows[RELEVANCE].names, timed=True), sources)
    differs = np.zeros(len(fitted.rows[RELEVANCE].names), np.bool_)  # what is the same everywhere is left out
    for values in (rows.values for rows in fitted.rows.values()):
        differs |= ((values != values[:1]) & ~(np.isnan(values) & np.isnan(values[:1]))).any(axis=0)
    assert differs[2 * len(sources) :].all()
    assert set(fitted.ranker.names) <= set(fitted.rows[RELEVANCE].names)
    assert set(fitted.ranker.head(RELEVANCE).model.importance) == set(fitted.rows[RELEVANCE].names)
    assert set(fitted.seconds) == {"retrievers", "replay", "ranker", "refit"}


def test_the_ranker_tells_pages_apart_that_only_the_newer_part_tells_of(
    tiny_dataset: Dataset, quick_config: Config
) -> None:
    events = tiny_dataset.events
    first = int(len(events) * (1 - quick_config.moments.share))
    surface = np.where(np.arange(len(events)) < first, UNKNOWN, events.user % 2).astype(np.int32)
    told = replace(tiny_dataset, events=replace(events, surface=surface, surfaces=("home", "search")))
    fitted = fit(told, quick_config)
    rows = fitted.rows[RELEVANCE]
    codes = rows.values[:, rows.names.index("surface")]
    assert set(np.unique(codes[~np.isnan(codes)])) == {1.0, 2.0}  # 0 is any other


def test_what_comes_after_the_first_part_changes_nothing_in_its_retrievers(
    spied: Spied, tiny_dataset: Dataset, tiny_config: Config
) -> None:
    first = int(len(tiny_dataset.events) * (1 - tiny_config.moments.share))
    events = tiny_dataset.events
    rng = np.random.default_rng(0)
    columns = {name: getattr(events, name).copy() for name in ("user", "video", "kind", "watch_seconds")}
    for column in columns.values():
        column[first:] = rng.permutation(column[first:])
    changed = replace(tiny_dataset, events=replace(events, **columns))
    one, other = (spied(dataset, tiny_config)[1] for dataset in (tiny_dataset, changed))
    people = [user for user in range(len(events.user_ids)) if (events.user[:first] == user).any()][:20]
    differ = 0
    for user in people:
        rows = events.video[:first][events.user[:first] == user]
        state = UserState(int(user), known=True)
        for row in rows[rows != UNKNOWN].tolist():
            state.history.append(row, 0.0, Kind.WATCH, 1.0)
        request = Request(int(user), float(events.at[first]))
        for name in ("two_tower", "als", "ease", "item_item"):
            (a, b), (c, d) = (getattr(models[0], name).retrieve(request, state, 30) for models in (one, other))
            np.testing.assert_array_equal(a, c, err_msg=name)
            np.testing.assert_array_equal(b, d, err_msg=name)
            e, f = (getattr(models[1], name).retrieve(request, state, 30)[0] for models in (one, other))
            differ += not np.array_equal(e, f)
    assert differ > 20  # those fitted on all of it did change: the test can fail


def tower_rows(dataset: Dataset, models: Models, first: int, config: Config, recommender_of: RecommenderOf) -> Rows:
    """The rows of a replay of what comes after the first events."""
    recommender = recommender_of(dataset, config, models, first)
    assert isinstance(recommender.store, MemoryStore)
    return examples(dataset.events, recommender.store, recommender, first, config.moments)


def areas(rows: Rows) -> tuple[float, float]:
    """AUC and its mean within a moment, of the towers' score as the only thing known."""
    score = rows.values[:, rows.names.index("score_two_tower")]
    return auc(rows.labels > 0, score), gauc(rows.labels > 0, score, rows.groups)


def test_the_towers_judge_ranker_rows_no_better_than_what_nobody_has_seen(
    still: Any, recommender_of: RecommenderOf
) -> None:
    config, known = still.fitted.config, still.known
    first = len(still.given[0])
    on_ranker_rows = areas(still.fitted.rows[RELEVANCE])
    validation = areas(tower_rows(still.dataset, still.models[0], known, config, recommender_of))
    # the towers of the release have seen what the ranker's rows are about: what a leak would look like
    leaky = areas(tower_rows(still.dataset.until(known), still.models[1], first, config, recommender_of))
    noise = 0.04  # two standard errors of an AUC over about 900 positives of 500 moments
    for fair, unseen, leaked in zip(on_ranker_rows, validation, leaky, strict=True):
        assert unseen > 0.6  # they have learned something
        assert abs(fair - unseen) < noise
        assert leaked > max(fair, unseen) + 1.5 * noise


# --- What is learned -------------------------------------------------------------------------------------------------


def share_of(rows: RowArray, category: int, dataset: Dataset) -> float:
    return float((dataset.catalogue.category[rows] == category).mean())


@pytest.fixture(scope="module")
def viewers(still: Any) -> list[tuple[UserId, int]]:
    """A new person for each of the larger categories, who watched five of its videos a minute ago."""
    dataset, store = still.dataset, still.fitted.store
    category = dataset.catalogue.category
    open_to_all = dataset.catalogue.available & (dataset.catalogue.maturity == 0)
    plays = store.counters.plays
    found: list[tuple[UserId, int]] = []
    for code in np.flatnonzero(np.bincount(category[open_to_all]) >= 12).tolist():
        rows = np.flatnonzero((category == code) & open_to_all)
        liked = rows[np.argsort(-plays[rows], kind="stable")][:5]
        store.apply_many(watches(f"viewer of {code}", liked.tolist(), end(dataset) - 600))
        found.append((f"viewer of {code}", code))
    assert len(found) >= 4
    return found


@pytest.mark.parametrize("name", ["two_tower", "ease"])
def test_a_source_proposes_more_of_what_a_person_watched(
    name: str, still: Any, viewers: list[tuple[UserId, int]]
) -> None:
    dataset, store = still.dataset, still.fitted.store
    source = getattr(still.fitted.models, name)
    more = []
    for user_id, code in viewers:
        request = Request(user_id, end(dataset))
        rows = source.retrieve(request, store.user(user_id), 20)[0]
        everything = np.arange(len(dataset.catalogue), dtype=np.int32)
        usual = everything[~np.isin(everything, store.user(user_id).history.rows)]
        more.append(share_of(rows, code, dataset) - share_of(usual, code, dataset))
    assert np.mean(more) > 0.1
    assert np.mean(np.array(more) > 0) > 0.7


def test_a_person_who_watched_one_category_is_recommended_more_of_it(
    still: Any, viewers: list[tuple[UserId, int]]
) -> None:
    recommender, dataset = still.fitted.recommender, still.dataset
    before = recommender.recommend(Request("nobody yet", end(dataset), 20)).rows
    more = []
    for user_id, code in viewers:
        after = recommender.recommend(Request(user_id, end(dataset), 20)).rows
        more.append(share_of(after, code, dataset) - share_of(before, code, dataset))
    assert np.mean(more) > 0.1
    assert np.mean(np.array(more) > 0) > 0.6


def test_the_same_data_and_seeds_give_the_same_system(
    tiny_dataset: Dataset, quick: Fitted, quick_config: Config
) -> None:
    again = fit(tiny_dataset, quick_config)
    np.testing.assert_array_equal(again.rows[RELEVANCE].values, quick.rows[RELEVANCE].values)
    for user_id in tiny_dataset.events.user_ids[:5].tolist():
        request = Request(user_id, end(tiny_dataset), 20)
        one, two = again.recommender.recommend(request), quick.recommender.recommend(request)
        assert one.video_ids == two.video_ids
        np.testing.assert_array_equal(one.value, two.value)


def test_the_state_stands_just_after_the_last_event(tiny_dataset: Dataset, quick: Fitted) -> None:
    events = tiny_dataset.events
    assert quick.store.counters.newest_at == events.at[-1]
    newest = events.user_ids[events.user[-1]]
    assert quick.store.user(newest).version == int((events.user == events.user[-1]).sum())
    profile = tiny_dataset.profiles[int(events.user[-1])]
    assert quick.store.user(newest).profile == profile


def test_data_without_times_give_a_system_without_times(tiny_dataset: Dataset, quick_config: Config) -> None:
    numbers = np.arange(len(tiny_dataset.events), dtype=np.float64)
    untimed = replace(tiny_dataset, timed=False, events=replace(tiny_dataset.events, at=numbers))
    fitted = fit(untimed, quick_config)
    sources = [source.retriever.name for source in fitted.recommender.sources]
    assert sources == ["als", "ease", "item_item", "transitions", "popular_all"]
    assert fitted.rows[RELEVANCE].names == names(among(fitted.rows[RELEVANCE].names, timed=False), sources)
    assert "hour_sin" not in fitted.rows[RELEVANCE].names
    slate = fitted.recommender.recommend(Request(untimed.events.user_ids[0], float(len(numbers)), 10))
    assert (len(slate.rows), slate.level) == (10, "full")


def test_one_person_is_enough_to_fit_on(tiny_dataset: Dataset, quick_config: Config) -> None:
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(tiny_dataset.catalogue.available & (tiny_dataset.catalogue.maturity == 0))
    events = watches("the only one", rng.permutation(rows)[:60].tolist(), float(tiny_dataset.events.at[0]))
    alone = replace(tiny_dataset, events=events, profiles=tiny_dataset.profiles[:1])
    fitted = fit(alone, quick_config)
    assert len(fitted.recommender.recommend(Request("the only one", end(alone), 10)).rows) == 10


@pytest.mark.parametrize("n", [0, 1])
def test_too_little_to_train_on_is_an_error_that_says_so(n: int, tiny_dataset: Dataset, quick_config: Config) -> None:
    with pytest.raises(NextreelError, match=f"at least two interactions to train on, got {n}"):
        fit(tiny_dataset.until(n), quick_config)


# --- The promise of the slate, with everything real ------------------------------------------------------------------


def plainly_eligible(fitted: Fitted, request: Request) -> set[int]:
    """The rows that may be shown, asked one by one."""
    catalogue, user = fitted.catalogue, fitted.store.user(request.user_id)
    limit = 18.0 if user.profile.age is None else user.profile.age
    limit = limit if request.max_maturity is None else min(limit, request.max_maturity)
    watched = set(user.history.rows.tolist())
    allowed = set()
    for row, video_id in enumerate(catalogue.video_ids.tolist()):
        of_video = {name for name, has in zip(catalogue.category_names, catalogue.categories[row], strict=True) if has}
        if (
            row not in watched
            and int(catalogue.channel[row]) not in user.blocked
            and catalogue.available[row]
            and catalogue.maturity[row] <= limit
            and video_id not in request.exclude
            and (not request.categories or of_video & set(request.categories))
        ):
            allowed.add(row)
    return allowed


class Down:
    """A part that does not answer."""

    objectives = ("relevance",)

    def __init__(self, name: str = "down") -> None:
        self.name = name

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        raise ConnectionError("down")

    def score(self, *_: Any) -> FloatArray:
        raise ConnectionError("down")


class Nowhere(Down):
    """A ranker that answers with no number."""

    def score(self, *given: Any) -> FloatArray:
        (matrix,) = given
        assert isinstance(matrix, Matrix)
        return np.full((len(matrix.values), 1), np.nan, np.float32)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_slate_of_a_fitted_system_breaks_the_promise(
    quick: Fitted, tiny_dataset: Dataset, data: st.DataObject
) -> None:
    catalogue = quick.catalogue
    ids = catalogue.video_ids.tolist()
    user_id: UserId | None = data.draw(
        st.sampled_from([*tiny_dataset.events.user_ids.tolist(), None, "somebody new", "a person of this test"])
    )
    if user_id == "a person of this test":
        rows = data.draw(st.lists(st.integers(0, len(ids) - 1), max_size=30))
        state = UserState(user_id, known=True)
        for number, row in enumerate(rows):
            state.history.append(row, end(tiny_dataset) - 100 + number, Kind.WATCH, 1.0)
        quick.store.states[user_id] = state
    request = Request(
        user_id,
        end(tiny_dataset),
        data.draw(st.sampled_from([1, 5, 20, 100, 500])),
        categories=tuple(data.draw(st.lists(st.sampled_from(catalogue.category_names), max_size=2))),
        max_maturity=data.draw(st.sampled_from([None, None, 0, 12])),
        exclude=tuple(data.draw(st.lists(st.sampled_from(ids), max_size=20))),
    )
    sources = list(quick.recommender.sources)
    for place in data.draw(st.sets(st.integers(0, len(sources) - 1), max_size=2)):
        sources[place] = Source(Down(sources[place].retriever.name), 30)
    mode = data.draw(st.sampled_from(["full", "full", "no ranker", "nan", "none"]))
    sources = [Source(Down(), 30)] if mode == "none" else sources
    ranker = {"no ranker": Down(), "nan": Nowhere()}.get(mode, quick.ranker)
    recommender = replace(quick.recommender, sources=sources, ranker=ranker)
    eligible = plainly_eligible(quick, request)
    slate: Slate = recommender.recommend(request)
    shown = slate.rows.tolist()
    assert len(set(shown)) == len(shown) == min(request.k, len(eligible))
    assert set(shown) <= eligible
    if eligible:
        levels = {"full": "full", "no ranker": "unranked", "nan": "unranked", "none": "trending"}
        assert slate.level == levels[mode]


def test_the_click_of_a_second_ago_counts(tiny_dataset: Dataset, quick: Fitted) -> None:
    first = quick.recommender.recommend(Request("clicks at once", end(tiny_dataset), 5))
    quick.store.apply_many(watches("clicks at once", first.rows.tolist()[:1], end(tiny_dataset) - 1))
    second = quick.recommender.recommend(Request("clicks at once", end(tiny_dataset), 5))
    assert first.rows[0] not in second.rows
    moment = quick.recommender.gather(Request("clicks at once", end(tiny_dataset), 5))
    assert len(moment.user.history) == 1


def test_the_towers_alone_give_their_own_order(still: Any) -> None:
    fitted: Fitted = still.fitted
    towers = fitted.models.two_tower
    assert towers is not None
    lone = replace(fitted.recommender, sources=[Source(towers, 50)], ranker=None, orderers=(), per_place=0.0)
    for user_id in still.dataset.events.user_ids[:5].tolist():
        request = Request(user_id, end(still.dataset), 15)
        slate = lone.recommend(request)
        moment = lone.gather(request)
        assert slate.level == "full"
        assert (np.diff(slate.value) <= 0).all()
        everything = np.arange(len(fitted.catalogue), dtype=np.int32)
        user = fitted.store.user(user_id)
        whole = Moment.unscored(request, user, fitted.catalogue, fitted.store.counters, everything, {})
        for keep in lone.filters:
            whole = whole.take(keep(whole))
        best = whole.rows[np.argsort(-towers.score(request, user, whole.rows), kind="stable")[:15]]
        assert slate.rows.tolist() == best.tolist()
        assert len(moment) == 50


@pytest.mark.parametrize("family", ["catboost", "lightgbm", "xgboost", "deepfm"])
def test_one_video_is_nothing_to_rank(family: str, quick_config: Config, tmp_path: Path) -> None:
    lines = [f"u{number},v0,{1_700_000_000 + 60 * number}" for number in range(60)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,video_id,timestamp", *lines]))
    config = quick_config.model_copy(update={"ranker": quick_config.ranker.model_copy(update={"family": family})})
    with pytest.raises(NextreelError, match="Expected a training moment with both positives and negatives"):
        fit(load(tmp_path), config)


@pytest.mark.parametrize(("people", "videos", "watched", "days"), [(1, 3, 8, 1.0), (1, 30, 40, 1.0), (2, 5, 12, 0.1)])
def test_very_little_data_make_a_system_or_an_error_that_says_what_they_lack(
    people: int, videos: int, watched: int, days: float, quick_config: Config, tmp_path: Path
) -> None:
    said = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        who, what = rng.integers(people, size=watched), rng.integers(videos, size=watched)
        lines = [f"u{a},v{b},{1.7e9 + n * days * DAY:.0f}" for n, (a, b) in enumerate(zip(who, what, strict=True))]
        (tmp_path / "interactions.csv").write_text("\n".join(["user_id,video_id,timestamp", *lines]))
        try:
            fit(load(tmp_path), quick_config)
        except NextreelError as error:
            said.append(str(error))
        else:
            said.append("fitted")
    assert all(one == "fitted" or "Hint:" in one for one in said), said
