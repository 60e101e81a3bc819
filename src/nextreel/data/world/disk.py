"""A world on the disk: people first, then the lives of each shard into scratch files by day, then those in order."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import pyarrow.parquet as pq
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from nextreel.data.world import rows as world_rows
from nextreel.data.world.life import live
from nextreel.data.world.people import people
from nextreel.data.world.plan import Plan, day_weights, quotas
from nextreel.data.world.truth import Truth, arrays, save
from nextreel.data.world.uploads import uploads
from nextreel.progress import Progress
from nextreel.types import DAY

_Job = TypeVar("_Job")
_Made = TypeVar("_Made")


_MADE = ("users.parquet", "videos.parquet", "channels.parquet", "interactions.parquet", "interactions", "world")


def write(out: Path, plan: Plan, processes: int, progress: Progress) -> Path:
    """The folder with the tables of a world, and its truth in `world/`; replaces an older one once all is done."""
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".making-", dir=out) as scratch:
        made = Path(scratch) / "made"
        _make(made, Path(scratch), plan, processes, progress)
        for name in _MADE:
            old = out / name
            if old.is_dir():
                shutil.rmtree(old)
            old.unlink(missing_ok=True)
            if (made / name).exists():
                (made / name).rename(old)
    return out


def _make(made: Path, scratch: Path, plan: Plan, processes: int, progress: Progress) -> None:
    about, videos, channels = uploads(plan)
    save(made / "world", about, plan.start, plan.end)
    for name, frame in (("videos", videos), ("channels", channels)):
        world_rows.write(frame.to_arrow(), made / f"{name}.parquet")
    weights = _write_people(made, plan, progress)
    counts = np.zeros(len(plan.part_ends), np.int64)
    lives = [(plan, made, scratch, shard, n) for shard, n in enumerate(quotas(plan.interactions, weights).tolist())]
    with progress("Living through the days", plan.interactions) as advance:
        for many in _each(_live, lives, processes):
            counts += many
            advance(int(many.sum()))
    before = np.cumsum(counts) - counts
    parts = [(scratch, part, path, int(before[part])) for part, path in enumerate(_part_paths(made, plan))]
    with progress("Writing interactions", plan.interactions) as advance:
        for n in _each(_merge, parts, processes):
            advance(n)


def _part_paths(out: Path, plan: Plan) -> list[Path]:
    """One file, or those of a folder; in order of time and of name."""
    if len(plan.part_ends) == 1:
        return [out / "interactions.parquet"]
    (out / "interactions").mkdir()
    return [out / "interactions" / f"part-{part:05d}.parquet" for part in range(len(plan.part_ends))]


def _write_people(out: Path, plan: Plan, progress: Progress) -> NDArray[np.float64]:
    """Writes users and what is true of them, a shard at a time; how much each shard does (shards,)."""
    weights = np.zeros(len(plan.shards))
    maps: dict[str, NDArray[np.generic]] = {}
    writer: pq.ParquetWriter | None = None
    with progress("Making people", plan.users) as advance:
        for shard, where in enumerate(plan.shards):
            made, table = people(plan, shard)
            weights[shard] = day_weights(plan, made.joined, made.activity).sum()
            for name, values in arrays(made):
                if shard == 0:
                    shape = (plan.users, *values.shape[1:])
                    maps[name] = open_memmap(out / "world" / f"user_{name}.npy", "w+", values.dtype, shape)
                maps[name][where] = values
            found = table.to_arrow()
            writer = writer or world_rows.writer(out / "users.parquet", found.schema)
            writer.write_table(found)
            advance(len(made))
    if writer is not None:
        writer.close()
    return weights


def _live(job: tuple[Plan, Path, Path, int, int]) -> NDArray[np.int64]:
    """Writes one shard's interactions, a file for each part; how many each holds (parts,)."""
    plan, out, scratch, shard, n = job
    truth = Truth.open(out)
    where = plan.shards[shard]
    days = live(plan, replace(truth, people=truth.people.take(where)), shard, n)
    counts = np.zeros(len(plan.part_ends), np.int64)
    ends = np.round(plan.part_ends * 1e3)
    held: list[list[world_rows.Rows]] = [[] for _ in ends]
    first = 0  # of the parts that are not written yet
    for day, rows in enumerate(days):
        for part, piece in enumerate(np.split(rows, np.searchsorted(rows["at"], ends[first:-1])), first):
            held[part].append(piece)
        done = int(np.searchsorted(ends, (plan.start + (day + 1) * DAY) * 1e3, side="right"))
        for part in range(first, done):
            found = np.concatenate(held[part])
            counts[part] = len(found)
            np.save(scratch / f"{part}-{shard}.npy", found)
            held[part].clear()
        first = done
    return counts


def _merge(job: tuple[Path, int, Path, int]) -> int:
    """Writes one part of all shards, oldest first; how many rows it has."""
    scratch, part, path, before = job
    files = sorted(scratch.glob(f"{part}-*.npy"), key=lambda file: int(file.stem.split("-")[1]))
    rows = world_rows.in_order([np.load(file, allow_pickle=False) for file in files])
    for file in files:
        file.unlink()
    world_rows.write(world_rows.table(rows, before), path)
    return len(rows)


def _each(work: Callable[[_Job], _Made], jobs: Sequence[_Job], processes: int) -> Iterator[_Made]:
    """What the work makes of each job, as they are done; here for one process or job, else in spawned ones."""
    if min(processes, len(jobs)) <= 1:
        yield from map(work, jobs)
        return
    pool = ProcessPoolExecutor(min(processes, len(jobs)), mp_context=get_context("spawn"))
    try:
        for done in as_completed([pool.submit(work, job) for job in jobs]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)  # after an error the other jobs are for nothing
