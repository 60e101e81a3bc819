"""Where the rows of a part go, and how a part that is there is known again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nextreel.pipeline import Recommender
from nextreel.processing import judgements, pairs
from nextreel.processing.people import Own
from nextreel.processing.shared import Shared
from nextreel.processing.visits import SPLITS
from nextreel.store.memory import MemoryStore

RecommenderOf = Callable[[MemoryStore], Recommender]
TWO_TOWER, RANKER = "two_tower", "ranker"
TABLES = (TWO_TOWER, RANKER)


def rows_of(
    table: str, shared: Shared, own: Own, recommender_of: RecommenderOf | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of one of the two tables for these people; the last column is the number of the split."""
    return (
        pairs.pair_rows(shared, own) if table == TWO_TOWER else judgements.judgement_rows(shared, own, recommender_of)
    )


def schema_of(table: str, shared: Shared) -> pa.Schema:
    """The columns of those rows."""
    return pairs.schema(shared) if table == TWO_TOWER else judgements.schema(shared)


def write_part(
    shared: Shared,
    own: Own,
    out: Path,
    part: int,
    recommender_of: RecommenderOf | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """How many rows of each table, split and source the part has; each file is there whole or not at all.

    `done` is told the rows as they are written.
    """
    counts: dict[str, Any] = {}
    for table in TABLES:
        files = {split: out / table / f"{split}.parquet" / f"part-{part:05}.parquet" for split in SPLITS}
        columns = schema_of(table, shared)
        kept = columns.remove(len(columns) - 1)
        rows, sources = dict.fromkeys(SPLITS, 0), Counter[str]()
        writers = {}
        for split, file in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            writers[split] = pq.ParquetWriter(_half(file), kept, compression="zstd", compression_level=1)
        try:
            for batch in rows_of(table, shared, own, recommender_of):
                for number, split in enumerate(SPLITS):
                    chosen = batch.filter(pc.equal(batch["split"], number))
                    if chosen.num_rows:
                        writers[split].write_batch(chosen.select(kept.names))
                        rows[split] += chosen.num_rows
                if table == RANKER:
                    found = pc.value_counts(batch["source"])
                    sources.update(dict(zip(*(found.field(i).to_pylist() for i in (0, 1)), strict=True)))
                done(batch.num_rows)
        finally:
            for writer in writers.values():
                writer.close()
        for file in files.values():
            _half(file).replace(file)
        counts[table] = {"rows": rows} | ({"sources": dict(sorted(sources.items()))} if sources else {})
    return counts


def _half(file: Path) -> Path:
    return file.with_name(f".{file.name}.half")


def marker(work: Path, part: int) -> Path:
    """The file that says that a part is written, and what it holds."""
    return work / f"done-{part:05}.json"


def done_parts(work: Path) -> dict[int, dict[str, Any]]:
    """What each part that is written holds."""
    return {
        int(file.stem.removeprefix("done-")): json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(work.glob("done-*.json"))
    }


def mark(work: Path, part: int, counts: dict[str, Any]) -> None:
    """Remembers that a part is written."""
    half = _half(marker(work, part))
    half.write_text(json.dumps(counts), encoding="utf-8")
    half.replace(marker(work, part))
