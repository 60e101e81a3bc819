"""Interactions as numbers, and as a table with the columns of the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nextreel.data.schemas import KIND_NAMES
from nextreel.data.world.words import COUNTRY_CODES, DEVICES

Rows: TypeAlias = NDArray[np.void]  # (n,) of ROW

ROW = np.dtype(
    [
        ("at", np.int64),  # milliseconds since 1970
        ("request", np.int64),
        ("user", np.int32),
        ("video", np.int32),  # -1 where the row is about a channel
        ("channel", np.int32),  # -1 where it is about a video
        ("seconds", np.float32),  # NaN where nothing was watched
        ("kind", np.int8),
        ("position", np.int8),
        ("device", np.int8),
        ("place", np.int8),  # country where the person is
    ]
)
_PAGE = 1 << 26  # bytes of one column's dictionary: ids of a million people stay below


def in_order(parts: list[Rows]) -> Rows:
    """All rows, oldest first; rows of one moment as they come."""
    rows = np.concatenate([np.empty(0, ROW), *parts])
    return rows[np.argsort(rows["at"], kind="stable")]


def table(rows: Rows, first: int) -> pa.Table:
    """The interactions as a data folder holds them, `first` rows coming before; texts are dictionary-coded."""
    n = len(rows)
    position = rows["position"].astype(np.int64)
    seconds = np.round(rows["seconds"].astype(np.float64), 1)
    return pa.table(
        {
            "event_id": pa.array(np.arange(first + 1, first + n + 1)),
            "user_id": _ids("u", rows["user"]),
            "video_id": _ids("v", rows["video"]),
            "channel_id": _ids("c", rows["channel"]),
            "timestamp": pa.array(rows["at"].copy()).cast(pa.timestamp("ms", "UTC")),
            "kind": _named(KIND_NAMES, rows["kind"]),
            "watch_time": pa.array(seconds, mask=np.isnan(seconds)),
            "device": _named(DEVICES, rows["device"]),
            "location": _named(COUNTRY_CODES, rows["place"]),
            "position": pa.array(position, mask=position < 0),
            "request_id": pa.array(rows["request"] + 1),
        }
    )


def write(found: pa.Table, path: Path) -> None:
    """Writes a table into one Parquet file; readers see plain text, whatever was dictionary-coded here."""
    with writer(path, found.schema) as open_writer:
        open_writer.write_table(found)


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """What writes tables of the schema, one after the other, into one Parquet file."""
    texts = [one.name for one in schema if pa.types.is_dictionary(one.type) or pa.types.is_large_string(one.type)]
    return pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=texts, dictionary_pagesize_limit=_PAGE, store_schema=False
    )


def _ids(letter: str, numbers: NDArray[np.integer[Any]]) -> pa.DictionaryArray:
    """Ids counted from 1; null for a number below 0. Each id is formatted once, however often it comes."""
    there = numbers >= 0
    known = np.zeros(int(numbers.max(initial=-1)) + 2, np.bool_)
    known[numbers[there]] = True
    code = np.cumsum(known, dtype=np.int32) - 1
    names = pc.binary_join_element_wise(letter, pc.cast(pa.array(np.flatnonzero(known) + 1), pa.string()), "")
    return pa.DictionaryArray.from_arrays(pa.array(code[numbers], mask=~there), names)


def _named(names: Any, codes: NDArray[np.integer[Any]]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), pa.array(list(names)))
