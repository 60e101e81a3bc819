"""The catalogue comes back from disk as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nextreel import catalogue as catalogue_file
from nextreel.data import Dataset
from nextreel.listed import Rights
from nextreel.types import Catalogue

COLUMNS = ("category", "categories", "channel", "language", "duration", "published_at", "maturity", "available",
           "series", "episode")  # fmt: skip


def assert_equal(one: Catalogue, other: Catalogue) -> None:
    for name in COLUMNS:
        expected, got = getattr(one, name), getattr(other, name)
        assert got.dtype == expected.dtype, name
        np.testing.assert_array_equal(got, expected, err_msg=name)
    assert other.video_ids.dtype == one.video_ids.dtype
    assert other.video_ids.tolist() == one.video_ids.tolist()
    assert list(other.titles) == list(one.titles)
    assert list(other.texts) == list(one.texts)
    assert other.category_names == one.category_names
    assert other.channel_ids == one.channel_ids
    assert other.language_names == one.language_names
    assert other.series_ids == one.series_ids
    assert (other.rights is None) == (one.rights is None)
    if one.rights is not None and other.rights is not None:
        assert other.rights.region_names == one.rights.region_names
        for name in ("starts", "region", "since", "until"):
            np.testing.assert_array_equal(getattr(other.rights, name), getattr(one.rights, name), err_msg=name)
            assert getattr(other.rights, name).dtype == getattr(one.rights, name).dtype
    assert dict(other.row_of) == dict(one.row_of)


def test_a_synthetic_catalogue_survives_the_disk(tiny_dataset: Dataset, tmp_path: Path) -> None:
    catalogue_file.save(tiny_dataset.catalogue, tmp_path / "catalogue.arrow")
    assert_equal(tiny_dataset.catalogue, catalogue_file.load(tmp_path / "catalogue.arrow"))


@pytest.mark.parametrize(
    ("codes", "columns"),
    [
        ([[0], [1, 2], []], {}),  # integer ids
        ([[], []], {"category_names": ()}),  # nobody told any category
        ([[0], [1]], {"video_ids": np.array(["a", "ü/«b»"], object), "titles": ["", "日本"]}),
        ([], {}),  # no video at all
        (
            [[0], [1], []],
            {
                "series": np.array([1, -1, 0], np.int32),
                "episode": np.array([7, -1, -1], np.int32),
                "series_ids": ("a", "b"),
                "rights": Rights.of(
                    np.array([2, 0, 2]), ["DE", None, "FR"], np.array([5.0, 1, np.nan]), np.array([np.nan, 2, 9]), 3
                ),
            },
        ),
    ],
)
def test_a_small_catalogue_survives_the_disk(
    codes: list[list[int]], columns: dict[str, Any], catalogue_of: Callable[..., Catalogue], tmp_path: Path
) -> None:
    catalogue = catalogue_of(codes, **columns)
    catalogue_file.save(catalogue, tmp_path / "catalogue.arrow")
    assert_equal(catalogue, catalogue_file.load(tmp_path / "catalogue.arrow"))


def test_a_file_of_an_older_version_has_neither_series_nor_rights(
    catalogue_of: Callable[..., Catalogue], tmp_path: Path
) -> None:
    plain, path = catalogue_of([[0], [1]]), tmp_path / "catalogue.arrow"
    catalogue_file.save(plain, path)
    with pa.OSFile(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    about = json.loads(table.schema.metadata[b"nextreel"])
    del about["series_ids"]
    older = table.drop_columns(["series", "episode"]).replace_schema_metadata({"nextreel": json.dumps(about)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, older.schema) as writer:
        writer.write_table(older)
    found = catalogue_file.load(path)
    assert_equal(plain, found)
    assert (found.series_ids, found.rights, found.episodes.rows.tolist()) == ((), None, [])


def test_ids_of_unlike_types_stay_what_they_are() -> None:
    assert catalogue_file.as_ids([3, 1]).dtype == np.int64
    texts = catalogue_file.as_ids(["3", "1"])
    assert texts.dtype == object
    assert texts.tolist() == ["3", "1"]


def test_rows_of_unknown_ids_are_minus_one(catalogue_of: Callable[..., Catalogue]) -> None:
    assert catalogue_of([[0], [1]]).rows([101, 7, "x", 100]).tolist() == [1, -1, -1, 0]
