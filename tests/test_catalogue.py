"""The catalogue comes back from disk as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextreel import catalogue as catalogue_file
from nextreel.data import Dataset
from nextreel.types import Catalogue

COLUMNS = ("category", "categories", "channel", "language", "duration", "published_at", "maturity", "available")


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
    ],
)
def test_a_small_catalogue_survives_the_disk(
    codes: list[list[int]], columns: dict[str, Any], catalogue_of: Callable[..., Catalogue], tmp_path: Path
) -> None:
    catalogue = catalogue_of(codes, **columns)
    catalogue_file.save(catalogue, tmp_path / "catalogue.arrow")
    assert_equal(catalogue, catalogue_file.load(tmp_path / "catalogue.arrow"))


def test_ids_of_unlike_types_stay_what_they_are() -> None:
    assert catalogue_file.as_ids([3, 1]).dtype == np.int64
    texts = catalogue_file.as_ids(["3", "1"])
    assert texts.dtype == object
    assert texts.tolist() == ["3", "1"]


def test_rows_of_unknown_ids_are_minus_one(catalogue_of: Callable[..., Catalogue]) -> None:
    assert catalogue_of([[0], [1]]).rows([101, 7, "x", 100]).tolist() == [1, -1, -1, 0]
