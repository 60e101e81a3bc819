"""Rows for the two towers against a slow reference that walks event by event."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nextreel.processing import pairs
from nextreel.processing.pairs import pair_rows
from nextreel.types import DAY, UNKNOWN, Events, Kind

if TYPE_CHECKING:
    from nextreel.data import Dataset


def table(made: Any) -> pa.Table:
    return pa.Table.from_batches(pair_rows(made.shared, made.own), pairs.schema(made.shared))


def reference(made: Any) -> list[dict[str, Any]]:
    """Every row as a dictionary: one event at a time, each word and number encoded alone."""
    own, shared, catalogue = made.own, made.shared, made.shared.catalogue
    words, scores, buckets = shared.encoders.vocabularies, shared.encoders.normalizers, shared.encoders.buckets

    def word(vocabulary: str, names: Any, code: int) -> int:
        return 0 if code == UNKNOWN else int(words[vocabulary].encode([names[code]])[0])

    def category(row: int) -> int:
        return word("category", catalogue.category_names, catalogue.category[row])

    def score(name: str, value: float | None) -> float:
        return float(scores[name].encode(np.array([np.nan if value is None else value], np.float64))[0])

    def circle(turns: float, function: Callable[[float], float]) -> float:
        return function(2 * math.pi * turns) if shared.timed else math.nan

    everybody = made.dataset.events
    rows: list[dict[str, Any]] = []
    liked: list[int] = []
    seen: set[tuple[int, int]] = set()
    for event in range(len(own.events)):
        user, row, at, visit = (
            column[event].item() for column in (own.events.user, own.events.video, own.events.at, own.visits.of_event)
        )
        if event and user != own.events.user[event - 1]:
            liked = []
        if own.graded[event] <= 0 or row < 0 or (visit, row) in seen:
            continue
        seen.add((visit, row))
        here = (own.visits.of_event == visit) & (own.events.video == row)
        history = liked[-shared.params.history :]
        liked.append(row)
        if (own.graded[here] < 0).any():
            continue
        number = made.number[event]
        plays = int(((everybody.video[:number] == row) & (made.graded[:number] > 0)).sum())
        profile = made.dataset.profiles[user]
        published = float(catalogue.published_at[row])
        weekday = (at // DAY + 3) % 7 / 7
        rows.append(
            {
                "user_id": everybody.user_ids.tolist()[user],
                "video_id": catalogue.video_ids.tolist()[row],
                "at": at,
                "weight": float(own.graded[here].max()),
                "country": int(words["country"].encode([profile.country])[0]),
                "language": int(words["language"].encode([profile.language])[0]),
                "gender": int(words["gender"].encode([profile.gender])[0]),
                "age": score("age", profile.age),
                "age_bucket": buckets["age"].code(profile.age),
                "history": [int(words["video"].encode(catalogue.video_ids[[one]])[0]) for one in history],
                "history_categories": [category(one) for one in history],
                "hour_sin": circle(at % DAY / DAY, math.sin),
                "hour_cos": circle(at % DAY / DAY, math.cos),
                "weekday_sin": circle(weekday, math.sin),
                "weekday_cos": circle(weekday, math.cos),
                "device": word("device", own.events.devices, own.events.device[event]),
                "location": word("location", own.events.locations, own.events.location[event]),
                "video": int(words["video"].encode(catalogue.video_ids[[row]])[0]),
                "category": category(row),
                "child_category": word("category", catalogue.category_names, catalogue.child_category[row]),
                "channel": word("channel", catalogue.channel_ids, catalogue.channel[row]),
                "video_language": word("language", catalogue.language_names, catalogue.language[row]),
                "duration": score("duration", catalogue.duration[row]),
                "duration_bucket": buckets["duration"].code(float(catalogue.duration[row])),
                "popularity": score("popularity", plays),
                "popularity_bucket": buckets["popularity"].code(plays),
                "upload_age": score("upload_age", (at - published) / DAY if shared.timed else None),
                "split": int(own.split[event]),
            }
        )
    return rows


def numbered(world: Any) -> Any:
    """The same with the place of each of the people's events among everybody's."""
    events = world.dataset.events

    class Numbered:
        dataset, graded, shared, own = world.dataset, world.graded, world.shared, world.own
        number = np.argsort(events.user, kind="stable")

    return Numbered


@pytest.mark.parametrize(
    ("seed", "options"), [(0, {}), (1, {"timed": False}), (2, {"text": True}), (3, {"videos": 6, "users": 2})]
)
def test_every_column_is_what_a_walk_event_by_event_gives(
    dirty: Callable[..., Dataset], made: Callable[..., Any], seed: int, options: dict[str, Any]
) -> None:
    world = made(dirty(seed, **options), history=4, visit_minutes=5)
    found, expected = table(world).to_pylist(), reference(numbered(world))
    assert len(found) == len(expected) > 20
    for got, wanted in zip(found, expected, strict=True):
        assert list(got) == list(wanted)
        for name, value in wanted.items():
            assert got[name] == pytest.approx(value, abs=1e-6, nan_ok=True), (name, got, wanted)


def test_rows_in_pieces_are_the_same_rows(
    dirty: Callable[..., Dataset], made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, same: Callable[..., None]
) -> None:
    world = made(dirty(5))
    whole = table(world)
    monkeypatch.setattr(pairs, "_CHUNK", 7)
    assert len(list(pair_rows(world.shared, world.own))) > 5
    same(table(world), whole)


def test_a_row_does_not_know_what_comes_after_it(
    dirty: Callable[..., Dataset], made: Callable[..., Any], same: Callable[..., None]
) -> None:
    dataset = dirty(4, visits=120)
    events, half = dataset.events, 300
    rng = np.random.default_rng(0)
    other = np.concatenate([np.arange(half), half + rng.permutation(len(events) - half)])
    names = ("user", "video", "kind", "watch_seconds", "channel", "value")
    columns: dict[str, Any] = {name: np.ascontiguousarray(getattr(events, name)[other]) for name in names}
    changed = replace(events, **columns)
    split = np.where(np.arange(len(events)) < 200, 0, 1).astype(np.int8)  # encoders are fitted on the same
    before = table(made(dataset, split, visit_events=1)).filter(pc.field("at") < events.at[half])
    after = table(made(replace(dataset, events=changed), split, visit_events=1))
    assert before.num_rows > 50
    same(after.filter(pc.field("at") < events.at[half]), before)


def test_a_video_that_is_rejected_later_in_the_visit_is_no_row_and_stands_in_the_history_of_those_between(
    dirty: Callable[..., Dataset], made: Callable[..., Any]
) -> None:
    dataset = dirty(users=1)
    kind = np.array([Kind.LIKE, Kind.LIKE, Kind.DISLIKE], np.int8)
    nothing = np.full(3, np.nan, np.float32)
    events = Events(
        np.arange(1), np.zeros(3, np.int32), np.array([3, 4, 3], np.int32), np.arange(3.0), kind, nothing, nothing
    )
    encoders = {"min_count": 1, "title": "hashed", "title_dim": 16, "tags": {"dim": 4, "epochs": 1}}
    rows = table(made(replace(dataset, events=events), np.zeros(3, np.int8), encoders=encoders)).to_pylist()
    assert [row["video_id"] for row in rows] == [104]
    known = made(replace(dataset, events=events), np.zeros(3, np.int8), encoders=encoders).shared.encoders
    assert rows[0]["history"] == known.vocabularies["video"].encode([103]).tolist()
    assert rows[0]["history"] != [0]


def test_only_people_who_like_something_have_rows(dirty: Callable[..., Dataset], made: Callable[..., Any]) -> None:
    dataset = dirty(6)
    kind = np.full(len(dataset.events), Kind.IMPRESSION, np.int8)
    quiet = replace(dataset, events=replace(dataset.events, kind=kind))
    assert table(made(quiet)).num_rows == 0
