"""Parts in processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow.parquet as pq

from nextreel.processing.output import RecommenderOf, mark, write_part
from nextreel.processing.params import ProcessingError
from nextreel.processing.people import own_of
from nextreel.processing.retrieved import recommender_of
from nextreel.processing.shared import Shared
from nextreel.progress import Progress

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
_LOOK = 0.5  # seconds between looks at how far the workers are


@dataclass(frozen=True)
class Job:
    """What a worker needs to write any part."""

    work: Path  # folder of what is shared and of the events of each part
    out: Path
    home: Path | None
    release: str | None

    def events(self, part: int) -> Path:
        """The table of a part's events."""
        return self.work / "events" / f"part-{part:05}.parquet"

    @property
    def shared(self) -> Path:
        """What all parts share."""
        return self.work / "shared"


class _Worker:
    """What a worker process keeps open from part to part."""

    def __init__(self, job: Job, written: Any) -> None:
        self.job, self.written = job, written
        self.shared = Shared.open(job.shared, job.out)
        self.recommender_of: RecommenderOf | None = None
        if job.home is not None and job.release is not None:
            self.recommender_of = recommender_of(job.home, job.release, self.shared.catalogue)

    def write(self, part: int) -> dict[str, Any]:
        own = own_of(self.shared, pq.read_table(self.job.events(part)))
        counts = write_part(self.shared, own, self.job.out, part, self.recommender_of, self._count)
        mark(self.job.work, part, counts)
        return counts

    def _count(self, rows: int) -> None:
        with self.written.get_lock():
            self.written.value += rows


_given: dict[str, Any] = {}  # to this process when it starts
_worker: dict[str, _Worker] = {}  # of this process; opened by its first part, whose future tells what went wrong


def _start(job: Job, written: Any) -> None:
    _given.update(job=job, written=written)
    _worker.clear()
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the run that started it is killed: it would write on, beside the run that goes on."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write(part: int) -> dict[str, Any]:
    if not _worker:
        _worker["here"] = _Worker(**_given)
    return _worker["here"].write(part)


def run(job: Job, parts: Sequence[int], workers: int, progress: Progress) -> dict[int, dict[str, Any]]:
    """What each of the parts holds, now that they are written, by so many processes at once.

    Raises `ProcessingError` when a process dies, as one does that is out of memory; parts that are done stay.
    """
    for name in _THREADS:  # each process has a core of its own; threads would only fight over them
        os.environ.setdefault(name, "1")
    context = get_context("spawn")  # a fork would copy threads' locks
    written = context.Value("q", 0)
    found: dict[int, dict[str, Any]] = {}
    seen = 0
    with (
        progress("writing rows") as advance,
        ProcessPoolExecutor(min(workers, len(parts)), context, _start, (job, written)) as pool,
    ):
        part_of: dict[Future[dict[str, Any]], int] = {pool.submit(_write, part): part for part in parts}
        waiting = set(part_of)
        try:
            while waiting:
                done, waiting = wait(waiting, _LOOK, FIRST_COMPLETED)
                for one in done:
                    found[part_of[one]] = one.result()
                advance(written.value - seen)
                seen = written.value
        except BrokenProcessPool as error:
            raise ProcessingError(
                f"Expected {len(parts)} parts, got {len(found)}: a process died, perhaps out of memory. "
                "Hint: run the same command again to go on, with fewer --workers or smaller shard_events."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return found
