"""Rows for the ranker: labels, negatives, and features that are those of serving at that moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nextreel.features import choose, compute
from nextreel.processing import judgements
from nextreel.processing.judgements import judgement_rows, schema
from nextreel.processing.shared import Shared
from nextreel.processing.visits import judged
from nextreel.store import Counters, MemoryStore
from nextreel.types import DAY, Events, Kind, Moment, Request

if TYPE_CHECKING:
    from nextreel.data import Dataset


def table(made: Any) -> pa.Table:
    return pa.Table.from_batches(judgement_rows(made.shared, made.own), schema(made.shared))


def by_visit(made: Any) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """Rows of each visit (its place among the visits) by source; columns that are features are left out."""
    place = {number: visit for visit, number in enumerate(made.own.visits.number.tolist())}
    found: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for row in table(made).select(["user_id", "video_id", "at", "visit", "label", "source", "split"]).to_pylist():
        found.setdefault(place[row["visit"]], {name: [] for name in judgements.SOURCES})[row["source"]].append(row)
    return found


def judged_of(made: Any) -> Any:
    own, shared = made.own, made.shared
    return judged(own.events, own.graded, own.visits, len(shared.catalogue), shared.timed, shared.params)


@pytest.mark.parametrize("ratio", [0, 1, 3, 8])
@pytest.mark.parametrize("options", [{}, {"timed": False, "text": True}])
def test_each_visit_has_its_judgements_and_so_many_negatives(
    dirty: Callable[..., Dataset], made: Callable[..., Any], ratio: int, options: dict[str, Any]
) -> None:
    world = made(dirty(1, videos=120, **options), negative_ratio=ratio)
    own, catalogue = world.own, world.shared.catalogue
    liked, rejected, unseen = judged_of(world)
    ids, found = catalogue.video_ids.tolist(), by_visit(world)
    spoke = liked, rejected, *([unseen] if ratio else [])
    assert set(found) == {visit for visit in range(len(own.visits)) if any(len(of.of(visit)) for of in spoke)}
    short = 0
    for visit, rows in found.items():
        grades = liked.grade[liked.start[visit] : liked.start[visit + 1]].tolist()
        good = [(row["video_id"], row["label"]) for row in rows["liked"]]
        assert good == [(ids[row], grade) for row, grade in zip(liked.of(visit).tolist(), grades, strict=True)]
        assert [row["video_id"] for row in rows["rejected"]] == [ids[row] for row in rejected.of(visit)]
        need = ratio * len(good)
        most = max(need, ratio)  # a visit that liked nothing keeps as many as for one liked video
        assert [row["video_id"] for row in rows["shown"]] == [ids[row] for row in unseen.of(visit)[:most]]
        assert len(rows["random"]) == max(need - len(rows["shown"]), 0)
        short += len(unseen.of(visit)) > need
        every = [row for of in rows.values() for row in of]
        assert len({row["video_id"] for row in every}) == len(every)
        assert {row["label"] for row in every if row["source"] != "liked"} <= {0.0}
        assert {(row["at"], row["split"]) for row in every} == {(own.visits.at[visit], own.visits.split[visit])}
    assert ratio > 1 or short  # more was shown than negatives were asked for


def test_random_negatives_were_there_and_are_never_touched(
    dirty: Callable[..., Dataset], made: Callable[..., Any]
) -> None:
    world = made(dirty(2, videos=150, visits=100), negative_ratio=5)
    own, catalogue = world.own, world.shared.catalogue
    drawn = 0
    for visit, rows in by_visit(world).items():
        touched = set(own.events.video[own.events.user == own.visits.user[visit]].tolist())
        for row in rows["random"]:
            at = catalogue.row_of[row["video_id"]]
            assert at not in touched
            assert catalogue.available[at]
            assert not catalogue.published_at[at] > row["at"]
            drawn += 1
    assert drawn > 200
    published = catalogue.published_at[[catalogue.row_of[row["video_id"]] for row in table(world).to_pylist()]]
    assert np.isnan(published).any()  # a video without a date may always be drawn


def test_where_few_videos_are_left_each_is_drawn(dirty: Callable[..., Dataset], made: Callable[..., Any]) -> None:
    world = made(dirty(3, videos=20, visits=90), negative_ratio=6)
    own, catalogue = world.own, world.shared.catalogue
    _, _, unseen = judged_of(world)
    some = 0
    for visit, rows in by_visit(world).items():
        touched = own.events.video[own.events.user == own.visits.user[visit]]
        there = catalogue.available & ~(catalogue.published_at > own.visits.at[visit])
        left = set(np.flatnonzero(there).tolist()) - set(touched.tolist())
        need = 6 * len(rows["liked"]) - min(len(unseen.of(visit)), 6 * len(rows["liked"]))
        assert len(rows["random"]) == min(need, len(left))
        some += 0 < len(rows["random"]) == len(left) < need
    assert some > 5


def test_all_videos_are_drawn_about_as_often(dirty: Callable[..., Dataset], made: Callable[..., Any]) -> None:
    dataset = dirty(4, videos=30, visits=400, users=100)
    n = len(dataset.events)
    plain = replace(
        dataset.catalogue,
        available=np.ones(30, np.bool_),
        published_at=np.full(30, np.nan),
        tags=dataset.catalogue.tags,
    )
    liked = replace(
        dataset.events,
        video=np.zeros(n, np.int32),
        kind=np.full(n, Kind.LIKE, np.int8),
        watch_seconds=np.full(n, np.nan, "f4"),
    )
    rows = table(made(replace(dataset, catalogue=plain, events=liked), negative_ratio=10))
    counts = Counter(rows.filter(pc.field("source") == "random")["video_id"].to_pylist())
    assert set(counts) == set(range(101, 130))
    assert sum(counts.values()) > 3_000
    expected = sum(counts.values()) / 29
    assert sum((one - expected) ** 2 / expected for one in counts.values()) < 58  # chi-squared of 28: one in a thousand


@pytest.mark.parametrize("options", [{}, {"timed": False}, {"text": True}])
def test_features_are_those_of_a_store_that_was_given_exactly_what_came_before(
    dirty: Callable[..., Dataset], made: Callable[..., Any], options: dict[str, Any]
) -> None:
    dataset = dirty(5, **options)
    pages = (dataset.events.video % 3 - 1).astype(np.int32)  # of some events nobody knows where
    dataset = replace(dataset, events=replace(dataset.events, surface=pages, surfaces=("home", "search")))
    every = 50.0 if "timed" in options else 3 * 3600.0
    world = made(dataset, counters_every=every)
    own, shared, events = world.own, world.shared, dataset.events
    ids = events.user_ids.tolist()
    profiles = dict(zip(ids, dataset.profiles, strict=True))
    rows = table(world)
    features = choose(shared.timed)
    values = np.stack([rows[one.__name__].to_numpy() for one in features], axis=1)
    assert values.dtype == np.float32
    visit_of = dict(zip(own.visits.number.tolist(), range(len(own.visits)), strict=True))
    visits = np.array([visit_of[number] for number in rows["visit"].to_pylist()])
    positions = np.array([dataset.catalogue.row_of[one] for one in rows["video_id"].to_pylist()], np.int32)
    assert len(np.unique(visits)) > 20
    assert np.isfinite(rows["surface_click_through_rate"].to_numpy()).any()
    for visit in np.unique(visits).tolist():
        user, at, first = int(own.visits.user[visit]), float(own.visits.at[visit]), int(own.visits.start[visit])
        served = MemoryStore(dataset.catalogue, shared.params.relevance, profiles)
        begin = int(np.searchsorted(own.events.user, user))
        served.apply_many(replace(own.events.take(slice(begin, first)), user_ids=events.user_ids))
        everybody = MemoryStore(dataset.catalogue, shared.params.relevance)
        everybody.apply_many(events.take(events.at < at // every * every))
        said = own.events.device[first], own.events.location[first]
        page = own.events.surface[first]
        request = Request(
            ids[user],
            at,
            device=None if said[0] < 0 else events.devices[said[0]],
            country=None if said[1] < 0 else events.locations[said[1]],
            surface=None if page < 0 else events.surfaces[page],
        )
        mine = np.flatnonzero(visits == visit)
        state, counters = served.user(ids[user]), everybody.counters
        moment = Moment.unscored(request, state, dataset.catalogue, counters, positions[mine], shared.codes)
        expected = np.ascontiguousarray(compute(features, moment).values)
        assert values[mine].tobytes() == expected.tobytes(), visit


def test_another_process_counts_the_same_for_every_surface(
    dirty: Callable[..., Dataset], made: Callable[..., Any], tmp_path: Path
) -> None:
    dataset = dirty(8)
    pages = (np.arange(len(dataset.events)) % 3 - 1).astype(np.int32)
    shared = made(replace(dataset, events=replace(dataset.events, surface=pages, surfaces=("home", "search")))).shared
    shared.encoders.save(tmp_path / "encoders")
    shared.save(tmp_path / "shared")
    here, there = (Counters(len(dataset.catalogue), len(dataset.catalogue.channel_ids)) for _ in range(2))
    opened = Shared.open(tmp_path / "shared", tmp_path / "encoders")
    here.add(shared.events, shared.graded)
    there.add(opened.events, opened.graded)
    assert set(here.surfaces) == set(there.surfaces) == {"home", "search"}
    for name, answers in here.surfaces.items():
        assert answers.impressions.sum() > 0
        for column, values in vars(answers).items():
            np.testing.assert_array_equal(getattr(there.surfaces[name], column), values)


def test_features_do_not_know_what_comes_after_them(
    dirty: Callable[..., Dataset], made: Callable[..., Any], same: Callable[..., None]
) -> None:
    """Each person's events after a time change places, so that what a person touches at any time stays."""
    dataset = dirty(6, visits=150, videos=80)
    events, cut = dataset.events, 350
    until = events.at[cut]
    rng = np.random.default_rng(1)
    other = np.arange(len(events))
    for user in np.unique(events.user):
        own = cut + np.flatnonzero(events.user[cut:] == user)
        other[own] = rng.permutation(own)
    names = ("video", "kind", "watch_seconds", "channel", "value", "device", "location", "position")
    columns: dict[str, Any] = {name: np.ascontiguousarray(getattr(events, name)[other]) for name in names}
    changed = replace(events, **columns)
    split = np.where(np.arange(len(events)) < 200, 0, 1).astype(np.int8)  # encoders are fitted on the same
    # what a visit left is known an hour later, and a visit of one event has nothing after it
    given: dict[str, Any] = {"visit_events": 1, "taken_within_hours": 1.0, "counters_every": 600.0}
    before, after = (
        table(made(one, split, **given)).filter(pc.field("at") < until - 3600)
        for one in (dataset, replace(dataset, events=changed))
    )
    assert before.num_rows > 200
    assert set(before["source"].to_pylist()) >= {"liked", "random"}
    same(after, before)
    whole = [table(made(one, split, **given))["video_id"] for one in (dataset, replace(dataset, events=changed))]
    assert not whole[0].equals(whole[1])


def test_people_and_videos_that_come_later_change_nothing_before(
    dirty: Callable[..., Dataset], made: Callable[..., Any], same: Callable[..., None]
) -> None:
    dataset = dirty(7, visits=100)
    events = dataset.events
    half = len(events) // 2
    early, split = dataset.until(half), np.zeros(len(events), np.int8)
    split[half:] = 2
    given: dict[str, Any] = {"visit_events": 1, "taken_within_hours": 0.01}
    alone = table(made(early, split[:half], **given))
    later = table(made(dataset, split, **given)).filter(pc.field("split") == 0)
    last = pc.field("at") < events.at[half] - 36
    alone, later = (one.filter(last & (pc.field("source") != "random")) for one in (alone, later))
    assert alone.num_rows > 60
    same(later, alone)


def test_rows_are_the_same_each_time_and_others_with_another_seed(
    dirty: Callable[..., Dataset], made: Callable[..., Any], same: Callable[..., None]
) -> None:
    dataset = dirty(8)
    first = table(made(dataset))
    same(table(made(dataset)), first)
    other = table(made(dataset, seed=1))
    assert other.select(["source", "split"]).num_rows == first.num_rows
    assert not other["video_id"].equals(first["video_id"])


def test_rows_in_pieces_are_the_same_rows(
    dirty: Callable[..., Dataset], made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, same: Callable[..., None]
) -> None:
    world = made(dirty(9))
    whole = table(world)
    monkeypatch.setattr(judgements, "_BATCH", 30)
    monkeypatch.setattr(judgements, "_BLOCK", 50)  # seven visits of three negatives
    pieces = list(judgement_rows(world.shared, world.own))
    assert len(pieces) > 5
    assert max(len(piece) for piece in pieces) < 30 + 8 * 20 * 4
    same(pa.Table.from_batches(pieces), whole)


def test_rows_stand_in_the_order_of_the_visits(dirty: Callable[..., Dataset], made: Callable[..., Any]) -> None:
    at = table(made(dirty(10)))["at"].to_numpy()
    assert (np.diff(at) >= 0).all()
    assert at[-1] - at[0] > DAY


def test_a_world_in_which_nothing_is_liked_has_what_it_rejected_and_left(
    dirty: Callable[..., Dataset], made: Callable[..., Any]
) -> None:
    dataset = dirty(11)
    disliked = replace(
        dataset, events=replace(dataset.events, kind=np.full(len(dataset.events), Kind.DISLIKE, np.int8))
    )
    assert set(table(made(disliked))["source"].to_pylist()) == {"rejected"}
    shown = replace(
        dataset, events=replace(dataset.events, kind=np.full(len(dataset.events), Kind.IMPRESSION, np.int8))
    )
    assert set(table(made(shown))["source"].to_pylist()) == {"shown"}


def test_the_same_event_twice_is_one_row(dirty: Callable[..., Dataset], made: Callable[..., Any]) -> None:
    dataset = dirty(12, users=1)
    nothing = np.full(4, np.nan, np.float32)
    events = Events(
        np.arange(1),
        np.zeros(4, np.int32),
        np.array([3, 3, 5, 5], np.int32),
        np.full(4, 9.0),
        np.array([Kind.LIKE, Kind.LIKE, Kind.IMPRESSION, Kind.IMPRESSION], np.int8),
        nothing,
        nothing,
    )
    rows = table(made(replace(dataset, events=events), np.zeros(4, np.int8))).to_pylist()
    assert Counter(row["source"] for row in rows)["liked"] == 1
    assert [row["video_id"] for row in rows if row["source"] == "shown"] == [105]


def test_a_visit_as_long_as_a_request_runs_on_has_all_its_rows(
    dirty: Callable[..., Dataset], made: Callable[..., Any]
) -> None:
    n = 5_000
    dataset = dirty(13, users=1, videos=3_000)
    nothing = np.full(n, np.nan, np.float32)
    rng = np.random.default_rng(0)
    events = Events(
        np.arange(1),
        np.zeros(n, np.int32),
        rng.integers(0, 600, n).astype(np.int32),
        np.arange(1_700_000_000.0, 1_700_000_000.0 + n),
        np.full(n, Kind.LIKE, np.int8),
        nothing,
        nothing,
        request=np.zeros(n, np.int32),
    )
    rows = table(made(replace(dataset, events=events), np.zeros(n, np.int8), negative_ratio=2))
    counts = Counter(rows["source"].to_pylist())
    assert counts == {"liked": 600, "random": 1_200}


def test_a_video_may_be_drawn_from_the_moment_it_is_published(
    dirty: Callable[..., Dataset], made: Callable[..., Any]
) -> None:
    dataset, at, nothing = dirty(14, users=1, videos=4), 1_700_000_000.0, np.full(1, np.nan, np.float32)
    published, there = np.array([np.nan, at, at + 1, at - 1]), np.array([True, True, True, False])
    catalogue = replace(dataset.catalogue, published_at=published, available=there)
    like = np.array([Kind.LIKE], np.int8)
    events = Events(np.arange(1), np.zeros(1, np.int32), np.zeros(1, np.int32), np.array([at]), like, nothing, nothing)
    world = made(replace(dataset, catalogue=catalogue, events=events), np.zeros(1, np.int8), negative_ratio=5)
    assert table(world)["video_id"].to_pylist() == [100, 101]
