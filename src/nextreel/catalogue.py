"""The catalogue on disk: one Arrow file, memory-mapped when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel.listed import Rights
from nextreel.types import Catalogue, IdArray

_NUMERIC = ("category", "channel", "language", "duration", "published_at", "maturity", "available")
_SERIES = ("series", "episode")  # which files of an older version do not have; nor do they have rights


def save(catalogue: Catalogue, path: Path) -> None:
    """Writes the catalogue into one Arrow IPC file."""
    width = max(catalogue.categories.shape[1], 1)
    flat = catalogue.categories if catalogue.categories.shape[1] else np.zeros((len(catalogue), 1), np.float32)
    columns = {
        "video_id": pa.array(catalogue.video_ids.tolist()),
        "title": pa.array(list(catalogue.titles), pa.string()),
        "text": pa.array(list(catalogue.texts), pa.string()),
        "tags": pa.array(list(catalogue.tags) or [[]] * len(catalogue), pa.list_(pa.string())),
        "categories": pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(flat).ravel()), width),
    }
    columns |= {name: pa.array(getattr(catalogue, name)) for name in (*_NUMERIC, *_SERIES)}
    names: dict[str, Any] = {
        "category_names": catalogue.category_names,
        "channel_ids": catalogue.channel_ids,
        "language_names": catalogue.language_names,
        "series_ids": catalogue.series_ids,
    }
    if catalogue.rights is not None:
        columns["rights"] = _entries(catalogue.rights)
        names["region_names"] = catalogue.rights.region_names
    table = pa.table(columns).replace_schema_metadata({"nextreel": json.dumps(names)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def load(path: Path) -> Catalogue:
    """The catalogue that `save` wrote; its numeric columns stay on disk until they are read."""
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all().combine_chunks()
    names = json.loads(table.schema.metadata[b"nextreel"])
    there = [*_NUMERIC, *(name for name in _SERIES if name in table.column_names)]
    columns = {name: _numpy(table[name].combine_chunks()) for name in there}
    width = len(names["category_names"])
    categories = _numpy(table["categories"].combine_chunks().values).reshape(len(table), max(width, 1))[:, :width]
    ids = table["video_id"].to_pylist()
    return Catalogue(
        video_ids=as_ids(ids),
        titles=table["title"].to_pylist(),
        texts=table["text"].to_pylist(),
        tags=table["tags"].to_pylist(),
        categories=categories,
        category_names=tuple(names["category_names"]),
        channel_ids=tuple(names["channel_ids"]),
        language_names=tuple(names["language_names"]),
        series_ids=tuple(names.get("series_ids", ())),
        rights=_rights(table["rights"].combine_chunks(), names["region_names"]) if "region_names" in names else None,
        row_of={video_id: row for row, video_id in enumerate(ids)},
        **columns,  # each has the type that it was saved with
    )


def _entries(rights: Rights) -> pa.LargeListArray:
    """The rights as a column of lists, one for each video."""
    fields = {"region": rights.region, "since": rights.since, "until": rights.until}
    flat = pa.StructArray.from_arrays([pa.array(column) for column in fields.values()], list(fields))
    return pa.LargeListArray.from_arrays(pa.array(rights.starts), flat)


def _rights(lists: pa.LargeListArray, region_names: list[str]) -> Rights:
    """The rights of the column that `_entries` made."""
    flat = lists.values
    region, since, until = (_numpy(flat.field(name)) for name in ("region", "since", "until"))
    return Rights(_numpy(lists.offsets), region, since, until, tuple(region_names))


def _numpy(array: pa.Array) -> NDArray[Any]:
    """The numbers of an array without nulls, where they lie; Arrow's own way would import pandas where it can."""
    if pa.types.is_boolean(array.type):  # one bit each
        return _numpy(array.cast(pa.int8())).astype(np.bool_)
    return np.from_dlpack(array)


def as_ids(ids: list[int] | list[str]) -> IdArray:
    """An int64 array where all ids are integers, an object array of them otherwise."""
    if all(isinstance(one, int) for one in ids):
        return np.array(ids, np.int64)
    array = np.empty(len(ids), object)
    array[:] = ids
    return array
