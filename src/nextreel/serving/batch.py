"""Many lists at once, and scores of given pairs, from the same code that answers requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from nextreel.progress import Progress, silent
from nextreel.types import FloatArray, NextreelError, Request, UserId, VideoId

if TYPE_CHECKING:
    from nextreel.system import System


def top_n(
    system: System,
    users: Sequence[UserId] | None,
    k: int,
    at: float | Literal["end", "last"] = "end",
    source: str | None = None,
    progress: Progress = silent,
) -> pa.Table:
    """The k best videos of each user (None: everybody known): user_id, rank (from 1), video_id, score.

    `at` is a time, `end` for just after the newest event known, or `last` for just after each user's own newest.
    With `source` that retriever alone proposes and nothing is ranked. Sorted by user as given, then rank. A column has
    one type: among integers and texts, all user ids are texts.
    """
    asked = system.store.users() if users is None else list(users)
    recommender = system.recommender if source is None else system.recommender.alone(source)
    ids: list[VideoId] = []
    scores: list[FloatArray] = []
    counts = np.zeros(len(asked), np.int64)
    with progress("recommending", len(asked)) as advance:
        for number, user_id in enumerate(asked):
            slate = recommender.recommend(Request(user_id, moment(system, user_id, at), k))
            ids.extend(slate.video_ids)
            scores.append(slate.value)
            counts[number] = len(slate.video_ids)
            advance(1)
    people: list[UserId] = asked if len({type(one) for one in asked}) < 2 else [str(one) for one in asked]
    ranks = [np.arange(1, count + 1, dtype=np.int32) for count in counts]
    return pa.table(
        {
            "user_id": pa.array(people).take(pa.array(np.repeat(np.arange(len(asked)), counts))),
            "rank": pa.array(np.concatenate(ranks) if ranks else [], pa.int32()),
            "video_id": pa.array(ids),
            "score": pa.array(np.concatenate(scores) if scores else [], pa.float32()),
        }
    )


def score_pairs(system: System, pairs: pa.Table, progress: Progress = silent) -> pa.Table:
    """The pairs with a column for each objective and the joined `value`, in their order.

    A pair is judged by the state of now at its timestamp. Raises `NextreelError` for a video the release does not
    know, or a release without a ranker.
    """
    recommender = system.recommender
    ranker = recommender.ranker
    if ranker is None:
        raise NextreelError(f"Expected a release with a ranker, got {system.release} without one.")
    users = [system.resolve_user(str(user)) for user in pairs["user_id"].to_pylist()]
    videos = [system.resolve_video(str(video)) for video in pairs["video_id"].to_pylist()]
    rows = system.catalogue.rows(videos)
    if (rows < 0).any():
        first = int(np.argmax(rows < 0))
        raise NextreelError(
            f"Expected videos of release {system.release}, got {videos[first]!r} in row {first + 1} "
            f"({int((rows < 0).sum())} such rows)."
        )
    objectives = np.empty((len(rows), len(ranker.objectives)), np.float32)
    value = np.empty(len(rows), np.float32)
    groups: dict[tuple[UserId, float], list[int]] = {}
    for number, key in enumerate(zip(users, _seconds(pairs), strict=True)):
        groups.setdefault(key, []).append(number)
    with progress("scoring", len(rows)) as advance:
        for (user, at), numbers in groups.items():
            request = Request(user, at, k=1)
            moment_of_pairs = recommender.gather(request, rows[numbers])
            objectives[numbers] = ranker.score(recommender.matrix(moment_of_pairs))
            value[numbers] = recommender.value(objectives[numbers])
            advance(len(numbers))
    scored = pa.table({"user_id": users, "video_id": videos, "timestamp": pairs["timestamp"]})
    for column, name in enumerate(ranker.objectives):
        scored = scored.append_column(name, pa.array(objectives[:, column]))
    return scored.append_column("value", pa.array(value))


def moment(system: System, user_id: UserId, at: float | Literal["end", "last"]) -> float:
    """The time in seconds that `at` means for one person; without an event of their own, `last` is the end."""
    if at == "end":
        return system.data_end
    if at == "last":
        last = system.store.user(user_id).last_at
        return system.data_end if math.isnan(last) else last + 1.0
    return at


def _seconds(pairs: pa.Table) -> list[float]:
    column = pairs["timestamp"]
    if pa.types.is_timestamp(column.type):
        return [one / 1e6 for one in column.cast(pa.timestamp("us")).cast(pa.int64()).to_pylist()]
    return [float(one) for one in column.to_pylist()]
