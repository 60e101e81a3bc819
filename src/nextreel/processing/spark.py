"""Parts on Apache Spark: the same functions, handed people's events by `mapInArrow`.

Where the session comes from is Spark's business: `spark-submit`, EMR or Glue set it up; alone it runs on all cores of
this machine. Each part of the people is one partition; what is shared is memory-mapped from the folder that is
written, which every executor must see under the path that the driver gives it.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from nextreel.processing.local import Job
from nextreel.processing.output import RANKER, TABLES, rows_of, schema_of
from nextreel.processing.params import ProcessingError
from nextreel.processing.people import own_of
from nextreel.processing.retrieved import recommender_of
from nextreel.processing.shared import Shared
from nextreel.processing.visits import SPLITS
from nextreel.progress import Progress

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_SPARK = {
    pa.int8(): "tinyint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.list_(pa.int32()): "array<int>",
}


def run(job: Job, progress: Progress, session: SparkSession | None = None) -> dict[int, dict[str, Any]]:
    """What was written, all of it told as part 0.

    A run that was interrupted writes all rows anew. Raises `ProcessingError` without PySpark.
    """
    spark, own = _session() if session is None else (session, False)
    try:
        return _run(job, progress, spark)
    finally:
        if own:
            spark.stop()


def _run(job: Job, progress: Progress, spark: SparkSession) -> dict[int, dict[str, Any]]:
    shared = Shared.open(job.shared, job.out)
    events = spark.read.parquet(_uri(job.events(0).parent))
    parts = events.select("part").distinct().count()
    by_part = events.repartitionByRange(parts, "part")
    counts: dict[str, Any] = {}
    for table in TABLES:
        schema = schema_of(table, shared)
        with progress(f"writing {table}"):
            rows = by_part.mapInArrow(
                _mapper(table, job), ", ".join(f"{one.name} {_SPARK[one.type]}" for one in schema)
            )
            counts[table] = _written(rows, table, job.out)
    return {0: counts}


def _uri(path: Path) -> str:
    """The path as Spark must be told it: without a scheme it would be one of the cluster's own file system."""
    return f"file://{path.resolve()}"


def _session() -> tuple[SparkSession, bool]:
    """The session that is there, or a new one, and whether it is new."""
    try:
        from pyspark import SparkConf  # noqa: PLC0415  an extra
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ImportError as error:
        raise ProcessingError(
            "Expected PySpark for --engine spark, got none. Hint: pip install 'nextreel[spark]' and Java 17."
        ) from error
    there = SparkSession.getActiveSession()
    if there is not None:
        return there, False
    builder = SparkSession.builder.appName("nextreel process").config("spark.sql.session.timeZone", "UTC")
    if SparkConf().get("spark.master", "local[*]").startswith("local"):  # executors here have this Python
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return builder.getOrCreate(), True


def _mapper(table: str, job: Job) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    # No files are given to the session: they stay with it, and another run's would not fit beside them.
    kept, out = job.shared.resolve(), job.out.resolve()
    home, release = None if job.home is None else job.home.resolve(), job.release

    def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        received = list(batches)
        if not received:
            return
        shared = Shared.open(kept, out)
        over = None if home is None or release is None else recommender_of(home, release, shared.catalogue)
        everything = pa.Table.from_batches(received)
        for part in sorted(everything["part"].unique().to_pylist()):
            people = everything.filter(pc.equal(everything["part"], part))
            yield from rows_of(table, shared, own_of(shared, people), over)

    return rows


def _written(rows: DataFrame, table: str, out: Path) -> dict[str, Any]:
    """Rows by split and by source, which now lie in a folder for each split."""
    from pyspark import StorageLevel  # noqa: PLC0415  an extra

    kept = rows.persist(StorageLevel.DISK_ONLY)
    for number, split in enumerate(SPLITS):
        chosen = kept.where(kept["split"] == number).drop("split")
        chosen.write.mode("overwrite").option("compression", "zstd").parquet(_uri(out / table / f"{split}.parquet"))
    found, sources = Counter[str](), Counter[str]()
    for row in kept.groupBy("split", *(["source"] if table == RANKER else [])).count().collect():
        found[SPLITS[row["split"]]] += row["count"]
        if table == RANKER:
            sources[row["source"]] += row["count"]
    kept.unpersist()
    counts: dict[str, Any] = {"rows": {split: found[split] for split in SPLITS}}
    return counts | ({"sources": dict(sorted(sources.items()))} if sources else {})
