"""Many lists, vectors and scores of given pairs at once, from the same code that answers requests.

Large batches go to a folder of parts, `part-00000.parquet` and so on, each written whole, beside `_batch.json`, which
says what they are of. A batch that was stopped goes on with the parts that are missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from nextreel.folders import alone, whole, write_whole
from nextreel.progress import Advance, Progress, silent
from nextreel.retrieval.two_tower.retriever import TwoTower
from nextreel.serving.pairs import context, ids, seconds
from nextreel.types import FloatArray, NextreelError, Request, UserId, VideoId, is_session

if TYPE_CHECKING:
    from nextreel.system import System

MANIFEST = "_batch.json"  # readers of Parquet folders pass over names that begin so
PART_SIZE = 5_000  # people or videos in a part: what is lost at most, and held in memory, is one
At = float | Literal["end", "last"]
What = Literal["lists", "users", "videos"]


@dataclass(frozen=True)
class Asked:
    """What a batch is of: lists of videos, or vectors of users or videos, by the two towers."""

    what: What
    at: str  # as it was asked for: "now" is one batch, whenever it goes on
    k: int | None = None  # of lists
    source: str | None = None


@dataclass(frozen=True)
class Written:
    """A batch that is complete."""

    folder: Path
    parts: int
    made: int  # of the parts, by this run; 0: it was complete before
    rows: int
    at: At  # the time in seconds, or each person's own last event


def top_n(
    system: System,
    users: Sequence[UserId] | None,
    k: int,
    at: At = "end",
    source: str | None = None,
    progress: Progress = silent,
) -> pa.Table:
    """The k best videos of each user (None: everybody known but sessions): user_id, rank (from 1), video_id, score.

    `at` is a time, `end` for just after the newest event known, or `last` for just after each user's own newest.
    With `source` that retriever alone proposes and nothing is ranked. Sorted by user as given, then rank. A column has
    one type: among integers and texts, all user ids are texts.
    """
    asked = _accounts(system) if users is None else list(users)
    with progress("recommending", len(asked)) as advance:
        return _lists(system, asked, k, at, source)(slice(None), advance)


def vectors(
    system: System,
    of: Literal["users", "videos"],
    users: Sequence[UserId] | None = None,
    at: At = "end",
    progress: Progress = silent,
) -> pa.Table:
    """The two towers' vectors: user_id or video_id, vector (of unit length) and, unless they weigh none, trends.

    The score of a person and a video is the inner product of their vectors plus that of their trends: how much the
    person is moved by popularity in each window, and how popular the video is in it now. Raises `NextreelError` for a
    release without towers.
    """
    asked = _accounts(system) if users is None else list(users)
    with progress("embedding", len(asked) if of == "users" else len(system.catalogue)) as advance:
        make = _user_vectors(system, asked, at) if of == "users" else _video_vectors(system)
        return make(slice(None), advance)


def write(
    system: System,
    asked: Asked,
    out: Path,
    users: Sequence[UserId] | None = None,
    at: At = "end",
    *,
    overwrite: bool = False,
    part_size: int = PART_SIZE,
    progress: Progress = silent,
) -> Written:
    """The batch, complete in a folder of parts; of one that was begun there, what is missing is made.

    The columns are those of `top_n` or `vectors`. A batch keeps the time at which it began: `at` counts for a new one.
    What people do meanwhile is known to the parts that are made after it. Raises `NextreelError` where the folder holds
    another batch, unless that shall be overwritten, or anything else, or while another run writes to it.
    """
    people = _accounts(system) if users is None else list(users)
    count = len(system.catalogue) if asked.what == "videos" else len(people)
    key = {
        **asdict(asked),
        "release": system.release,
        "count": count,
        "part_size": part_size,
        "ids": None if asked.what == "videos" else _digest(people),
    }
    with alone(out):
        about = _begun(out, key, at if at == "last" else moment(system, None, at), overwrite)
        when: At = about["seconds"]
        parts = [slice(start, min(start + part_size, count)) for start in range(0, max(count, 1), part_size)]
        files = [out / f"part-{number:05}.parquet" for number in range(len(parts))]
        missing = [number for number, file in enumerate(files) if not file.is_file()]
        if missing:
            make = _maker(system, asked, people, when)
            with progress("recommending" if asked.what == "lists" else "embedding", count) as advance:
                advance(count - sum(parts[number].stop - parts[number].start for number in missing))
                for number in missing:
                    _write_part(make(parts[number], advance), files[number])
        rows = sum(parquet.read_metadata(file).num_rows for file in files)
        _write_manifest(out, about | {"parts": len(files), "rows": rows, "complete": True})
    return Written(out, len(files), len(missing), rows, when)


def _accounts(system: System) -> list[UserId]:
    """Everybody known but anonymous sessions, which are over before a batch is read."""
    return [user_id for user_id in system.store.users() if not is_session(user_id)]


_Make = Callable[[slice, Advance], pa.Table]  # the rows of some of the people or videos


def _maker(system: System, asked: Asked, people: Sequence[UserId], at: At) -> _Make:
    if asked.what == "lists":
        return _lists(system, people, asked.k or 1, at, asked.source)
    return _user_vectors(system, people, at) if asked.what == "users" else _video_vectors(system)


def _lists(system: System, people: Sequence[UserId], k: int, at: At, source: str | None) -> _Make:
    # what is begun now may be over when the list is read
    recommender = replace(system.recommender, resume=None) if source is None else system.recommender.alone(source)
    of_user, of_video = _column(people), _video_type(system)

    def make(which: slice, advance: Advance) -> pa.Table:
        asked = people[which]
        ids: list[VideoId] = []
        scores: list[FloatArray] = [np.empty(0, np.float32)]
        counts = np.zeros(len(asked), np.int64)
        for number, user_id in enumerate(asked):
            slate = recommender.recommend(request_of(system, user_id, at, k))
            ids.extend(slate.video_ids)
            scores.append(slate.value)
            counts[number] = len(slate.video_ids)
            advance(1)
        ranks = [np.empty(0, np.int32), *(np.arange(1, count + 1, dtype=np.int32) for count in counts)]
        return pa.table(
            {
                "user_id": of_user[which].take(pa.array(np.repeat(np.arange(len(asked)), counts))),
                "rank": pa.array(np.concatenate(ranks)),
                "video_id": pa.array(ids, of_video),
                "score": pa.array(np.concatenate(scores), pa.float32()),
            }
        )

    return make


def _user_vectors(system: System, people: Sequence[UserId], at: At) -> _Make:
    towers, ids = _towers(system), _column(people)
    dim = towers.params.dim

    def make(which: slice, advance: Advance) -> pa.Table:
        asked = people[which]
        found = np.empty((len(asked), dim + len(towers.params.trends)), np.float32)
        for number, user_id in enumerate(asked):
            request = request_of(system, user_id, at)
            found[number] = towers.encode(request, system.store.user(user_id))
            advance(1)
        return _vector_table("user_id", ids[which], found[:, :dim], found[:, dim:])

    return make


def _video_vectors(system: System) -> _Make:
    towers, ids = _towers(system), system.catalogue.video_ids

    def make(which: slice, advance: Advance) -> pa.Table:
        found = towers.vectors[which]
        none = np.empty((len(towers.vectors), 0), np.float32)
        now = none if towers.trends is None else towers.trends(system.data_end)
        advance(len(found))
        return _vector_table("video_id", pa.array(ids[which].tolist(), _video_type(system)), found, now[which])

    return make


def _towers(system: System) -> TwoTower:
    towers = system.recommender.alone("two_tower").sources[0].retriever
    if not isinstance(towers, TwoTower):
        raise NextreelError(f"Expected two towers in release {system.release}, got {type(towers).__name__}.")
    return towers


def _column(people: Sequence[UserId]) -> pa.Array:
    """The ids as a column of one type: all texts, unless all are integers that it can hold."""
    if people and all(isinstance(one, int) and -(2**63) <= one < 2**63 for one in people):
        return pa.array(people, pa.int64())
    return pa.array([str(one) for one in people], pa.string())


def _video_type(system: System) -> pa.DataType:
    return pa.int64() if system.catalogue.video_ids.dtype.kind == "i" else pa.string()


def _vector_table(name: str, ids: pa.Array, found: FloatArray, trends: FloatArray) -> pa.Table:
    """Vectors (n, dim) and, where the towers weigh popularity, trends (n, windows), as columns of lists."""
    columns = {name: ids, "vector": _fixed(found)}
    return pa.table(columns | ({"trends": _fixed(trends)} if trends.shape[1] else {}))


def _fixed(values: FloatArray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _digest(people: Sequence[UserId]) -> str:
    digest = sha256()
    for one in people:
        digest.update(f"{type(one).__name__}:{one}\n".encode())
    return digest.hexdigest()


def _begun(out: Path, key: dict[str, Any], at: At, overwrite: bool) -> dict[str, Any]:
    """What the folder's manifest says of the batch, begun now if there is none."""
    there = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    ours = [name for name in there if name == MANIFEST or (name.startswith("part-") and name.endswith(".parquet"))]
    if len(ours) < len(there) or (there and MANIFEST not in there):
        raise NextreelError(
            f"Expected an empty folder, or one with a batch, got {out} with {', '.join(there[:3])}. "
            "Hint: name another --out."
        )
    if there and not overwrite:
        about = _manifest(out)
        other = [
            f"{name} {about.get(name)!r}, not {value!r}" for name, value in key.items() if about.get(name) != value
        ]
        if other:
            raise NextreelError(
                f"Expected the same batch in {out}, got one with {'; '.join(other)}. "
                "Hint: name another --out, or replace it with --overwrite."
            )
        return about
    for name in reversed(ours):  # the manifest, whose name sorts first, last: what is left is known as a batch
        (out / name).unlink()
    about = key | {"seconds": at, "complete": False}
    _write_manifest(out, about)
    return about


def _manifest(out: Path) -> dict[str, Any]:
    try:
        about = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except ValueError as error:
        raise NextreelError(
            f"Expected what the batch is of in {out / MANIFEST}, got: {error}. Hint: replace it with --overwrite."
        ) from error
    return dict(about)


def _write_part(table: pa.Table, file: Path) -> None:
    with whole(file) as path:
        parquet.write_table(table, path, compression="zstd")


def _write_manifest(out: Path, about: dict[str, Any]) -> None:
    write_whole(out / MANIFEST, json.dumps(about, indent=2) + "\n")


def score_pairs(system: System, pairs: pa.Table, progress: Progress = silent) -> pa.Table:
    """The pairs with a column for each objective and the joined `value`, in their order.

    A pair is judged by the state of now at its timestamp, and where the columns device, location and surface say.
    Its ranks are among the candidates of a list of one video: a long list, which has more of them, may score it
    otherwise. Raises `NextreelError` for a video the release does not know, a row without user, video or time, a value
    that is not finite, or a release without a ranker.
    """
    recommender = system.recommender
    ranker = recommender.ranker
    if ranker is None:
        raise NextreelError(f"Expected a release with a ranker, got {system.release} without one.")
    users = [system.resolve_user(user) for user in ids(pairs, "user_id")]
    videos = [system.resolve_video(video) for video in ids(pairs, "video_id")]
    rows = system.catalogue.rows(videos)
    if (rows < 0).any():
        first = int(np.argmax(rows < 0))
        raise NextreelError(
            f"Expected videos of release {system.release}, got {videos[first]!r} in row {first + 1} "
            f"({int((rows < 0).sum())} such rows)."
        )
    objectives = np.empty((len(rows), len(ranker.objectives)), np.float32)
    value = np.empty(len(rows), np.float32)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, key in enumerate(zip(users, seconds(pairs), *context(pairs), strict=True)):
        groups.setdefault(key, []).append(number)
    with progress("scoring", len(rows)) as advance:
        for (user, at, device, country, surface), numbers in groups.items():
            request = Request(user, at, k=1, device=device, country=country, surface=surface)
            moment_of_pairs = recommender.gather(request, rows[numbers])
            objectives[numbers] = ranker.score(recommender.matrix(moment_of_pairs))
            value[numbers] = recommender.value(objectives[numbers])
            advance(len(numbers))
    if not np.isfinite(value).all():
        first = int(np.argmin(np.isfinite(value)))
        raise NextreelError(
            f"Expected a finite value of every pair by the formula '{system.value}', got {value[first]} for user "
            f"{users[first]!r} and video {videos[first]!r} in row {first + 1:,}. "
            "Hint: declare a formula without, say, a division by what may be 0: nextreel value FORMULA"
        )
    columns = {"user_id": _column(users), "video_id": pa.array(videos, _video_type(system))}
    scored = pa.table(columns | {"timestamp": pairs["timestamp"]})
    for column, name in enumerate(ranker.objectives):
        scored = scored.append_column(name, pa.array(objectives[:, column]))
    return scored.append_column("value", pa.array(value))


def moment(system: System, user_id: UserId | None, at: At) -> float:
    """The time in seconds that `at` means for one person; without an event of their own, `last` is the end."""
    if at == "end":
        return system.data_end
    if at == "last":
        last = system.store.user(user_id).last_at
        return system.data_end if math.isnan(last) else last + 1.0
    return at


def request_of(system: System, user_id: UserId, at: At, k: int = 10) -> Request:
    """The request of one person; after the `last` event, for whenever the next one comes."""
    return Request(user_id, moment(system, user_id, at), k, anytime=at == "last")
