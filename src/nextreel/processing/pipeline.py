"""From a data set to the rows that models are trained on: prepared once, then part by part, resumable."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import pyarrow.parquet as pq

import nextreel
from nextreel.data.dataset import Dataset
from nextreel.data.splits import part_of
from nextreel.encoding import sentence
from nextreel.encoding.cache import EmbeddingCache
from nextreel.encoding.encoders import ABOUT_FILE as ABOUT_ENCODERS
from nextreel.encoding.encoders import Encoders
from nextreel.folders import alone, write_whole
from nextreel.processing import local
from nextreel.processing.local import Job
from nextreel.processing.output import TABLES, done_parts, keep_only
from nextreel.processing.params import ProcessingError, ProcessingParams
from nextreel.processing.people import tables
from nextreel.processing.retrieved import folder_of
from nextreel.processing.shared import share
from nextreel.processing.specs import FILE as SPECS
from nextreel.processing.specs import FeatureSpec, read_specs, specs_of, write_specs
from nextreel.processing.visits import SPLITS
from nextreel.progress import Progress, silent
from nextreel.store.memory import relevance_of

Engine = Literal["local", "spark"]
WORK, KEY, MANIFEST = "_work", "key.json", "manifest.json"


@dataclass(frozen=True)
class Processed:
    """What lies in a processed folder."""

    out: Path
    rows: dict[str, dict[str, int]]  # table -> split -> rows
    sources: dict[str, int]  # where the ranker's rows come from -> rows
    version: str  # of the data set
    seconds: dict[str, float]  # stage -> wall-clock seconds of this run; empty when all was there


@dataclass(frozen=True)
class ProcessingPipeline:
    """Writes `two_tower` and `ranker` rows, and the encoders fitted on the training part, into one folder.

    ```
    out/vocabularies/ normalizers/ buckets/ embeddings/     fitted on the training part
        two_tower/{train,val,test}.parquet/part-00000.parquet …
        ranker/{train,val,test}.parquet/part-00000.parquet …
        feature_specs.json  manifest.json
    ```
    The same data, parameters and seed give the same rows on either engine, whatever the number of workers. A run
    that was interrupted goes on where it stopped when it is started again.
    """

    out: Path
    params: ProcessingParams = field(default_factory=ProcessingParams)
    engine: Engine = "local"
    workers: int | None = None  # None: all cores
    progress: Progress = silent
    cache: Path | None = None  # folder that keeps embedded titles from run to run

    def run_synthetic(
        self,
        users: int = 1_000,
        videos: int = 500,
        interactions: int = 10_000,
        seed: int = 42,
        *,
        overwrite: bool = False,
    ) -> Processed:
        """What was made of a synthetic world of this size; errors are those of `run`."""
        from nextreel.data import World  # noqa: PLC0415  the world's words are needed here only

        return self.run(World.make(users, videos, interactions, seed).dataset(), overwrite=overwrite)

    def run(
        self, dataset: Dataset, home: Path | None = None, release: str | None = None, *, overwrite: bool = False
    ) -> Processed:
        """What was made of the data set; with a release, half of the negatives that impressions leave are retrieved.

        Raises `ProcessingError` when the folder holds rows of other data or parameters, unless `overwrite`, while
        another run writes there, for data without events, and for a release of other videos.
        """
        if not len(dataset.events):
            raise ProcessingError("Expected events to make rows of, got none. Hint: nextreel data check DIR")
        if (home is None) != (release is None):
            raise ProcessingError(
                f"Expected a release and the folder that holds it, got {home} and {release}. "
                "Hint: give --home DIR and --release ID, or neither."
            )
        if home is not None and release is not None:
            folder_of(home, release, dataset.catalogue)
        with alone(self.out):
            return self._run(dataset, Job(self.out / WORK, self.out, home, release), overwrite)

    def _run(self, dataset: Dataset, job: Job, overwrite: bool) -> Processed:
        key = self._key(dataset, job.release)
        if overwrite:
            self._clear()
        known = self._finished(key)
        if known is not None:
            shutil.rmtree(job.work, ignore_errors=True)  # of a run that was stopped in its last moment
            return known
        seconds: dict[str, float] = {}
        started = perf_counter()
        self._prepare(dataset, job, key)
        seconds["prepare"] = perf_counter() - started
        started = perf_counter()
        encoders = Encoders.load(self.out)  # before there is a thread: Python 3.11.7 may fail to read arrays in two
        with ThreadPoolExecutor(1) as aside:  # no row needs the vectors of titles: they are made meanwhile
            embedded = aside.submit(self._embedded, encoders, dataset)
            counts = self._write(job)
            embedded.result().save(self.out)
        seconds["write"] = perf_counter() - started
        return self._finish(dataset, key, counts, seconds)

    def get_feature_specs(self) -> list[FeatureSpec]:
        """What each column of both tables is: its type, its encoder and how many values it may have.

        Raises `ProcessingError` where nothing was processed yet.
        """
        return read_specs(self.out)

    def _key(self, dataset: Dataset, release: str | None) -> str:
        """A digest of all that decides about the rows."""
        decides = {
            "data": dataset.manifest.version,
            "params": self.params.model_dump(mode="json"),
            "sentences": self.params.encoders.title == "auto" and sentence.installed(),
            "release": release,
            "nextreel": nextreel.__version__,
        }
        return sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def _clear(self) -> None:
        for name in (WORK, *TABLES, "vocabularies", "normalizers", "buckets", "embeddings"):
            shutil.rmtree(self.out / name, ignore_errors=True)
        for name in (MANIFEST, SPECS, ABOUT_ENCODERS):
            (self.out / name).unlink(missing_ok=True)

    def _finished(self, key: str) -> Processed | None:
        """What is there already; None where there is work to do, begun or not."""
        manifest, begun = self.out / MANIFEST, self.out / WORK / KEY
        there = next((one for one in (manifest, begun) if one.is_file()), None)
        if there is None:
            strange = [name for name in TABLES if (self.out / name).exists()]
            if strange:
                raise ProcessingError(
                    f"Expected an empty or a processed folder, got {self.out} with {strange[0]}/ and no {MANIFEST}. "
                    "Hint: name another --out, or pass --overwrite."
                )
            return None
        about = _read(there)
        if about["key"] != key:
            raise ProcessingError(
                f"Expected rows of these data and parameters in {self.out}, got those of others. "
                "Hint: name another --out, or pass --overwrite."
            )
        if not manifest.is_file():
            return None
        return Processed(self.out, about["rows"], about["sources"], about["data"]["version"], {})

    def _prepare(self, dataset: Dataset, job: Job, key: str) -> None:
        """Writes what the parts share and the events of each; passed over when an earlier run has."""
        if (job.work / KEY).is_file():
            return
        shutil.rmtree(job.work, ignore_errors=True)
        job.events(0).parent.mkdir(parents=True)
        params, events = self.params, dataset.events
        graded = relevance_of(events, dataset.catalogue, params.relevance)
        fractions = (params.train, params.val, 1 - params.train - params.val)
        split = part_of(events, fractions, timed=dataset.timed)
        shared = share(dataset, graded, split, params, self.progress)
        shared.encoders.save(self.out)
        shared.save(job.shared)
        with self.progress("sorting people", len(events)) as advance:
            for part, table in enumerate(tables(events, graded, split, len(dataset.catalogue), params)):
                pq.write_table(table, job.events(part), compression="zstd", compression_level=1)
                advance(table.num_rows)
        write_specs(specs_of(shared), self.out)
        write_whole(job.work / KEY, json.dumps({"key": key}))  # last: all of the above is there

    def _embedded(self, encoders: Encoders, dataset: Dataset) -> Encoders:
        """The encoders with the vectors of all titles and tags."""
        cache = None if self.cache is None else EmbeddingCache(self.cache)
        return encoders.extended(dataset.catalogue, cache, self.progress)

    def _write(self, job: Job) -> dict[int, dict[str, Any]]:
        parts = range(len(list(job.events(0).parent.glob("part-*.parquet"))))
        if self.engine == "spark":
            from nextreel.processing import spark  # noqa: PLC0415  needs the spark extra and Java

            keep_only((), job.work, job.out)
            return spark.run(job, self.progress)
        done = done_parts(job.work, job.out)
        keep_only(done, job.work, job.out)
        left = [part for part in parts if part not in done]
        workers = self.workers or os.cpu_count() or 1
        return done | (local.run(job, left, workers, self.progress) if left else {})

    def _finish(
        self, dataset: Dataset, key: str, counts: dict[int, dict[str, Any]], seconds: dict[str, float]
    ) -> Processed:
        rows = {
            table: {split: sum(one[table]["rows"][split] for one in counts.values()) for split in SPLITS}
            for table in TABLES
        }
        sources = _summed([one["ranker"].get("sources", {}) for one in counts.values()])
        about = {
            "key": key,
            "data": dataset.manifest.to_json(),
            "params": self.params.model_dump(mode="json"),
            "nextreel": nextreel.__version__,
            "rows": rows,
            "sources": sources,
        }
        write_whole(self.out / MANIFEST, json.dumps(about, indent=2, sort_keys=True) + "\n")
        shutil.rmtree(self.out / WORK)
        return Processed(self.out, rows, sources, dataset.manifest.version, seconds)


def _read(file: Path) -> dict[str, Any]:
    """What a run wrote of itself, with its key. Raises `ProcessingError` for any other file of that name."""
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        about = None
    if not isinstance(about, dict) or "key" not in about:
        raise ProcessingError(
            f"Expected a processed folder, got {file} of something else. Hint: name another --out, or pass --overwrite."
        )
    return about


def _summed(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    names = sorted({name for one in counts for name in one})
    return {name: sum(one.get(name, 0) for one in counts) for name in names}
