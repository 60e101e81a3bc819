"""The people of one part: their events by person and time, as tables that any engine can hand over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel.processing.params import ProcessingParams
from nextreel.processing.shared import Shared
from nextreel.processing.visits import Split, Visits, visits_of
from nextreel.types import UNKNOWN, Events, FloatArray

# What a table of events holds of each; `number` is its place among everybody's events, oldest first.
SCHEMA = pa.schema(
    [
        ("part", pa.int32()),
        ("number", pa.int64()),
        ("user", pa.int32()),
        ("video", pa.int32()),
        ("at", pa.float64()),
        ("kind", pa.int8()),
        ("value", pa.float32()),
        ("watch_seconds", pa.float32()),
        ("channel", pa.int32()),
        ("device", pa.int32()),
        ("location", pa.int32()),
        ("surface", pa.int32()),
        ("position", pa.int32()),
        ("request", pa.int32()),
        ("graded", pa.float32()),
        ("split", pa.int8()),
        ("plays_before", pa.int32()),
    ]
)
_OF_EVENTS = SCHEMA.names[2:-3]


@dataclass(frozen=True)
class Own:
    """All events of some people, by user code and time, and their visits."""

    events: Events  # (n,)
    graded: FloatArray  # (n,)
    split: Split  # (n,)
    plays_before: NDArray[np.int32]  # (n,) earlier positive events of everybody with the same video
    visits: Visits


def tables(
    events: Events, graded: FloatArray, split: Split, videos: int, params: ProcessingParams
) -> Iterator[pa.Table]:
    """The events of each part, by person and time: people of about `shard_events` events together."""
    by_user = np.argsort(events.user, kind="stable")
    before = _plays_before(events, graded, videos)
    for part, (begin, end) in enumerate(_cuts(events.user[by_user], params)):
        number = by_user[begin:end]
        own = events.take(number)
        columns = {
            "part": np.full(len(number), part, np.int32),
            "number": number,
            **{name: getattr(own, name) for name in _OF_EVENTS},
            "graded": graded[number],
            "split": split[number],
            "plays_before": before[number],
        }
        arrays = [pa.array(np.ascontiguousarray(columns[field.name]), field.type) for field in SCHEMA]
        yield pa.Table.from_arrays(arrays, schema=SCHEMA)


def _cuts(users: NDArray[np.int32], params: ProcessingParams) -> list[tuple[int, int]]:
    """Where each part begins and ends among the sorted user codes, never within a person."""
    n = max(params.parts, round(len(users) / params.shard_events))
    wanted = np.linspace(0, len(users), n + 1)[1:-1].astype(np.int64)
    inner = np.searchsorted(users, users[wanted]) if len(users) else wanted
    cuts = np.unique([0, *inner.tolist(), len(users)])
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))


def _plays_before(events: Events, graded: FloatArray, videos: int) -> NDArray[np.int32]:
    """How many positive events with the same video stand before each event (n,); 0 for one about a channel."""
    order = np.argsort(events.video, kind="stable")
    video = events.video[order]
    positive = (graded[order] > 0).astype(np.int64)
    before = np.cumsum(positive) - positive
    first = np.searchsorted(video, np.arange(UNKNOWN, videos))  # where the events of each video begin
    before -= np.append(before, 0)[first][video - UNKNOWN]
    counts = np.empty(len(events), np.int32)
    counts[order] = np.where(video < 0, 0, before)
    return counts


def own_of(shared: Shared, table: pa.Table) -> Own:
    """The people of a table of whole people, whose rows may come in any order."""
    user, number = table["user"].to_numpy(), table["number"].to_numpy()
    order = np.lexsort((number, user))
    columns = {name: np.ascontiguousarray(table[name].to_numpy()[order]) for name in SCHEMA.names[2:]}
    graded, split, before = (columns.pop(name) for name in SCHEMA.names[-3:])
    known = shared.events
    events = Events(
        np.empty(0, np.int64),
        **columns,
        devices=known.devices,
        locations=known.locations,
        surfaces=known.surfaces,
    )
    return Own(events, graded, split, before, visits_of(events, split, shared.timed, shared.params))
