"""The catalogue of the features: complete, true to the code, and the page of the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextreel import features
from nextreel.features.describe import describe, page
from nextreel.processing import pairs, specs
from nextreel.store import Counters
from nextreel.types import (
    DAY,
    Catalogue,
    Events,
    Feature,
    FloatArray,
    Kind,
    Moment,
    NextreelError,
    Profile,
    Request,
    UserState,
)

NOW = 20_000 * DAY
PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"
ALL = features.choose(timed=True)


class Watched:
    """Stands before an object and notes which of its attributes are read."""

    def __init__(self, name: str, real: Any, read: set[str], **parts: Any) -> None:
        self._note = (name, real, read, parts)

    def __getattr__(self, attribute: str) -> Any:
        name, real, read, parts = self._note
        if attribute in parts:
            return parts[attribute]
        read.add(f"{name}.{attribute}")
        return getattr(real, attribute)

    def __len__(self) -> int:
        name, real, read, _ = self._note
        read.add(name)
        return len(real)


class WatchedCodes(dict[str, dict[int | str, int]]):
    """Notes which vocabularies are read."""

    def __init__(self, read: set[str]) -> None:
        super().__init__()
        self._read = read

    def get(self, name: str, default: Any = None) -> Any:
        self._read.add(f"codes.{name}")
        return {"tv": 1}


@pytest.fixture
def world(catalogue_of: Any, person: Any) -> tuple[Catalogue, Counters, UserState]:
    """A world in which no feature has a reason to stop early."""
    catalogue: Catalogue = catalogue_of(
        [[0], [1], [0, 1]],
        channel=np.array([0, 1, 0], np.int32),
        language=np.array([0, 1, 0], np.int32),
        duration=np.array([60, 90, 30], np.float32),
        published_at=NOW - DAY * np.array([100.0, 10.0, 1.0]),
    )
    kinds = [Kind.WATCH, Kind.LIKE, Kind.CLICK, Kind.IMPRESSION, Kind.DISLIKE]
    events = Events(
        user_ids=np.arange(1),
        user=np.zeros(5, np.int32),
        video=np.array([0, 1, 2, 0, 1], np.int32),
        at=NOW - np.arange(5.0, 0.0, -1.0),
        kind=np.array(kinds, np.int8),
        value=np.full(5, 3.0, np.float32),
        watch_seconds=np.full(5, 20.0, np.float32),
        surface=np.zeros(5, np.int32),
        surfaces=("home",),
    )
    counters = Counters(3, channels=2)
    counters.add(events, np.array([1, 1, 1, 0, -1], np.float32))
    known = person([0, 1], [NOW - 5, NOW - 4], [1.0, 1.0], age=30.0, language="de", country="DE")
    known.watches, known.watch_seconds, known.subscribed = 1, 20.0, frozenset({0})
    return catalogue, counters, known


@pytest.mark.parametrize("feature", ALL, ids=lambda one: one.__name__)
def test_a_feature_reads_what_it_says_and_nothing_else(
    feature: Feature, world: tuple[Catalogue, Counters, UserState], moment_of: Any
) -> None:
    catalogue, counters, user = world
    asked = Request(1, 1_000.0, device="tv", country="DE", surface="home")
    real: Moment = moment_of(catalogue, user=user, counters=counters, request=asked)
    read: set[str] = set()
    history, profile = Watched("history", user.history, read), Watched("profile", user.profile, read)
    watched: Any = Moment(
        Watched("request", real.request, read),  # type: ignore[arg-type]
        Watched("user", user, read, history=history, profile=profile),  # type: ignore[arg-type]
        Watched("catalogue", catalogue, read),  # type: ignore[arg-type]
        Watched("counters", counters, read),
        real.rows,
        (),
        real.scores,
        real.ranks,
        real.weights,
        WatchedCodes(read),
    )
    feature(watched)
    read = {"history.at" if one == "user.last_at" else one for one in read}  # the time of its newest event
    if any(one.startswith("history.") for one in read):
        read.discard("history")  # how long the history is goes without saying
    assert read == set(describe(feature).reads)


def test_every_feature_says_what_it_is_of_and_in_which_unit() -> None:
    described = [describe(feature) for feature in ALL]
    assert {one.of for one in described} == {"person", "video", "both"}
    assert all(one.meaning and one.unit for one in described)


def test_the_page_of_the_documentation_is_today_s() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(ALL, features.TIMED) + specs.page(), (
        "Run: nextreel features list --markdown > docs/features.md"
    )


def test_a_feature_without_a_description_is_refused() -> None:
    def mystery(moment: Moment) -> FloatArray:
        """Nobody knows."""
        return np.zeros(len(moment), np.float32)

    with pytest.raises(NextreelError, match=r"'Unit: …' and 'Reads: …' in the feature mystery"):
        describe(mystery)


def test_a_profile_holds_what_features_read_of_it() -> None:
    fields = set(Profile.__dataclass_fields__)
    read = {
        part.partition(".")[2] for feature in ALL for part in describe(feature).reads if part.startswith("profile.")
    }
    assert read <= fields


def test_the_page_says_what_every_column_of_the_two_towers_is() -> None:
    shown = [line.split("`")[1] for line in specs.page().splitlines() if line.startswith("| `")]
    assert shown == [name for name, _ in pairs.SCHEMA if name != "split"]
