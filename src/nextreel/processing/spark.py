"""Parts on Apache Spark: the same functions, handed people's events by `mapInArrow`.

Where the session comes from is Spark's business: `spark-submit`, EMR or Glue set it up; alone it runs on all cores of
this machine. What is shared is sent to every executor once; each part of the people is one partition.
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
    spark = _session() if session is None else session
    shared = Shared.open(job.shared, job.out)
    events = spark.read.parquet(str(job.events(0).parent))
    parts = events.select("part").distinct().count()
    by_part = events.repartitionByRange(parts, "part")
    spark.sparkContext.addFile(str(job.shared), recursive=True)
    _send_encoders(spark, job)
    counts: dict[str, Any] = {}
    for table in TABLES:
        schema = schema_of(table, shared)
        with progress(f"writing {table}"):
            rows = by_part.mapInArrow(
                _mapper(table, job), ", ".join(f"{one.name} {_SPARK[one.type]}" for one in schema)
            )
            counts[table] = _written(rows, table, job.out)
    return {0: counts}


def _session() -> SparkSession:
    try:
        from pyspark import SparkConf  # noqa: PLC0415  an extra
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ImportError as error:
        raise ProcessingError(
            "Expected PySpark for --engine spark, got none. Hint: pip install 'nextreel[spark]' and Java 17."
        ) from error
    builder = SparkSession.builder.appName("nextreel process").config("spark.sql.session.timeZone", "UTC")
    if SparkConf().get("spark.master", "local[*]").startswith("local"):  # executors here have this Python
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return builder.getOrCreate()


def _send_encoders(spark: SparkSession, job: Job) -> None:
    """Puts the encoders where executors find them: beside what is shared."""
    for name in ("vocabularies", "normalizers", "buckets", "embeddings"):
        spark.sparkContext.addFile(str(job.out / name), recursive=True)
    spark.sparkContext.addFile(str(job.out / "encoders.json"))


def _mapper(table: str, job: Job) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    home, release = job.home, job.release

    def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import SparkFiles  # noqa: PLC0415  runs on an executor

        received = list(batches)
        if not received:
            return
        root = Path(SparkFiles.getRootDirectory())
        shared = Shared.open(root / "shared", root)
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
    found = {}
    for number, split in enumerate(SPLITS):
        chosen = kept.where(kept["split"] == number).drop("split")
        chosen.write.mode("overwrite").option("compression", "zstd").parquet(str(out / table / f"{split}.parquet"))
        found[split] = chosen.count()
    counts: dict[str, Any] = {"rows": found}
    if table == RANKER:
        sources = Counter({row["source"]: row["count"] for row in kept.groupBy("source").count().collect()})
        counts["sources"] = dict(sorted(sources.items()))
    kept.unpersist()
    return counts
