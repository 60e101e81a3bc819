"""A small catalogue and ways to make events of it, for all tests of the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pytest

from nextreel.types import UNKNOWN, Catalogue, Event, Events, UserState

VIDEOS = 5
SURFACES = ("home", "search")

Columns: TypeAlias = Callable[[Sequence[Event]], Events]


@dataclass(frozen=True)
class Known:
    """What a test compares of one person's state."""

    rows: list[int]
    at: list[float]
    kinds: list[int]
    weights: list[float]
    version: int
    known: bool
    shown: list[tuple[int, float]]
    partly: list[tuple[int, tuple[float, float]]]


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """Videos "a" to "e" of 100 seconds each."""
    ids = np.array(list("abcde"), object)
    nothing = np.full(VIDEOS, UNKNOWN, np.int32)
    return Catalogue(
        video_ids=ids,
        titles=list("ABCDE"),
        category=nothing,
        categories=np.zeros((VIDEOS, 0), np.float32),
        channel=nothing,
        language=nothing,
        duration=np.full(VIDEOS, 100, np.float32),
        published_at=np.full(VIDEOS, np.nan),
        maturity=np.zeros(VIDEOS, np.int8),
        available=np.ones(VIDEOS, np.bool_),
        texts=[""] * VIDEOS,
        category_names=(),
        channel_ids=("news",),
        language_names=(),
        row_of={video_id: row for row, video_id in enumerate(ids.tolist())},
    )


@pytest.fixture(scope="session")
def columns(catalogue: Catalogue) -> Columns:
    """Makes columns of single events, one at a time and in their order."""

    def columns(events: Sequence[Event]) -> Events:
        people = sorted({event.user_id for event in events}, key=str)
        ids = np.empty(len(people), object)
        ids[:] = people
        n = len(events)
        made = Events(
            ids,
            np.zeros(n, np.int32),
            np.full(n, UNKNOWN, np.int32),
            np.zeros(n),
            np.zeros(n, np.int8),
            np.full(n, np.nan, np.float32),
            np.full(n, np.nan, np.float32),
            surface=np.full(n, UNKNOWN, np.int32),
            surfaces=SURFACES,
        )
        for i, event in enumerate(events):
            made.user[i] = people.index(event.user_id)
            made.at[i], made.kind[i] = event.at, event.kind
            if event.video_id is not None and event.video_id in catalogue.row_of:
                made.video[i] = catalogue.row_of[event.video_id]
            if event.surface is not None:
                made.surface[i] = SURFACES.index(event.surface)
            if event.value is not None:
                made.value[i] = event.value
            if event.watch_seconds is not None:
                made.watch_seconds[i] = event.watch_seconds
        return made

    return columns


@pytest.fixture(scope="session")
def known() -> Callable[[UserState], Known]:
    """Makes a state comparable; the log offset is left out, for only a log has one."""

    def known(state: UserState) -> Known:
        history = state.history
        return Known(
            history.rows.tolist(),
            history.at.tolist(),
            history.kinds.tolist(),
            history.weights.tolist(),
            state.version,
            state.known,
            list(zip(state.shown_rows.tolist(), state.shown_at.tolist(), strict=True)),
            list(state.partly.items()),
        )

    return known
