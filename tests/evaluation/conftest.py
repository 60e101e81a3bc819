"""Small worlds for the protocols, told line by line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from nextreel.assembly import Config
    from nextreel.types import Catalogue, Events, FloatArray

# Ten times over in the first nine tenths (people watch things again), then one by one in the last.
HISTORY = [(0, 0), (0, 1), (1, 0), (1, 2), (2, 0), (2, 3), (0, 3), (1, 4), (0, 4)]
TEST = [(0, 2), (1, 1), (1, 0), (0, 5), (3, 1), (2, 3), (1, 1), (0, 1), (1, 9), (0, 2)]

EventsOf = Callable[..., "Events"]


@pytest.fixture(scope="session")
def events_of() -> EventsOf:
    """Makes events of (user, video) or (user, video, kind) lines, watches if not said; one a second if not said."""
    from nextreel.types import Events, Kind  # noqa: PLC0415

    def events_of(lines: Sequence[tuple[int, ...]], at: Sequence[float] | None = None) -> Events:
        n = len(lines)
        user, video, kind = np.array([(*line, Kind.WATCH)[:3] for line in lines], np.int64).reshape(n, 3).T
        nothing = np.full(n, np.nan, np.float32)
        return Events(
            user_ids=np.array([f"u{code}" for code in range(user.max(initial=-1) + 1)], dtype=object),
            user=user.astype(np.int32),
            video=video.astype(np.int32),
            at=np.arange(n, dtype=np.float64) if at is None else np.array(at, np.float64),
            kind=kind.astype(np.int8),
            value=nothing,
            watch_seconds=nothing,
        )

    return events_of


@pytest.fixture(scope="session")
def tiny(events_of: EventsOf) -> Events:
    """100 watches of 4 people and 10 videos: row 90 is the first of the test part."""
    return events_of([line for line in HISTORY for _ in range(10)] + TEST)


@pytest.fixture(scope="session")
def tiny_catalogue(catalogue_of: Callable[..., Catalogue]) -> Catalogue:
    """The ten videos of the tiny world, of three categories in turn."""
    return catalogue_of([[row % 3] for row in range(10)])


@pytest.fixture(scope="session")
def watches() -> Callable[[Events], FloatArray]:
    """The grade by which a watch is worth 1 and everything else nothing."""
    from nextreel.types import Kind  # noqa: PLC0415

    return lambda events: np.where(events.kind == Kind.WATCH, np.float32(1), np.float32(0))


@pytest.fixture(scope="session")
def quick(tiny_config: Config) -> Config:
    """The tiny configuration with few moments and trees."""
    moments = tiny_config.moments.model_copy(update={"active": 20, "idle": 20, "negatives": 20})
    catboost = tiny_config.ranker.catboost.model_copy(update={"iterations": 15})
    ranker = tiny_config.ranker.model_copy(update={"catboost": catboost})
    return tiny_config.model_copy(update={"moments": moments, "ranker": ranker})


@pytest.fixture(scope="session")
def light(quick: Config) -> Config:
    """The quick configuration without towers and with an answer learnt from few positives."""
    quotas = quick.quotas.model_copy(update={"two_tower": 0, "item_item": 0})
    exposures = quick.exposures.model_copy(update={"visits": 400, "least": 20})
    catboost = quick.ranker.catboost.model_copy(update={"iterations": 25})
    ranker = quick.ranker.model_copy(update={"catboost": catboost})
    return quick.model_copy(update={"quotas": quotas, "exposures": exposures, "ranker": ranker})
