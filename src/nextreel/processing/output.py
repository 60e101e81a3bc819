"""Where the rows of a part go, and how a part that is there is known again."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nextreel.folders import half, write_whole
from nextreel.pipeline import Recommender
from nextreel.processing import judgements, pairs
from nextreel.processing.people import Own
from nextreel.processing.shared import Shared
from nextreel.processing.visits import SPLITS
from nextreel.store.memory import MemoryStore

RecommenderOf = Callable[[MemoryStore], Recommender]
TWO_TOWER, RANKER = "two_tower", "ranker"
TABLES = (TWO_TOWER, RANKER)
# Values of features seldom repeat: looking for those that do takes as long as all the rest of the writing.
_STYLE: dict[str, Any] = {
    TWO_TOWER: {"compression": "zstd", "compression_level": 1},
    RANKER: {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": ["user_id", "video_id", "source", "visit", "at"],
    },
}


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
        files = {split: _file(out, table, split, part) for split in SPLITS}
        columns = schema_of(table, shared)
        kept = columns.remove(len(columns) - 1)
        rows, sources = dict.fromkeys(SPLITS, 0), Counter[str]()
        writers = {}
        for split, file in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            writers[split] = pq.ParquetWriter(half(file), kept, **_STYLE[table])
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
            half(file).replace(file)
        counts[table] = {"rows": rows} | ({"sources": dict(sorted(sources.items()))} if sources else {})
    return counts


def _file(out: Path, table: str, split: str, part: int) -> Path:
    return out / table / f"{split}.parquet" / f"part-{part:05}.parquet"


def mark(work: Path, part: int, counts: dict[str, Any]) -> None:
    """Remembers that a part is written, and what it holds."""
    write_whole(work / f"done-{part:05}.json", json.dumps(counts))


def done_parts(work: Path, out: Path) -> dict[int, dict[str, Any]]:
    """What each part that is written holds."""
    marks = {int(file.stem.removeprefix("done-")): file for file in sorted(work.glob("done-*.json"))}
    return {
        part: json.loads(file.read_text(encoding="utf-8"))
        for part, file in marks.items()
        if all(_file(out, table, split, part).is_file() for table in TABLES for split in SPLITS)
    }


def keep_only(parts: Collection[int], work: Path, out: Path) -> None:
    """Removes the rows of all but these parts, such as those that the other engine left, and the marks of them."""
    kept = {_file(out, table, split, part) for table in TABLES for split in SPLITS for part in parts}
    for table in TABLES:
        for path in (out / table).glob("*/*"):
            if path.is_dir():
                shutil.rmtree(path)
            elif path not in kept:
                path.unlink()
    for file in work.glob("done-*.json"):
        if int(file.stem.removeprefix("done-")) not in parts:
            file.unlink()
