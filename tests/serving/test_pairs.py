"""What the cells of a table of pairs mean, and which are refused: none is scored as what it is not."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from nextreel.serving.pairs import context, ids, seconds
from nextreel.types import NextreelError

DAY = 1_767_052_800  # 2025-12-30


def times(*cells: Any, of: pa.DataType | None = None) -> pa.Table:
    return pa.table({"timestamp": pa.array(cells, of)})


@pytest.mark.parametrize(
    ("cell", "of", "at"),
    [
        (DAY // 86_400, pa.date32(), DAY),
        (DAY * 1_000, pa.date64(), DAY),
        (DAY, pa.timestamp("s"), DAY),
        (DAY * 1_000 + 1, pa.timestamp("ms"), DAY + 1e-3),
        (DAY * 1_000_000 + 1, pa.timestamp("us", "Asia/Tokyo"), DAY + 1e-6),
        (DAY * 1_000_000_000 + 1_999, pa.timestamp("ns"), DAY + 1e-6),  # what is below a microsecond is dropped
        (DAY + 0.1, pa.float64(), DAY + 0.1),
        (DAY, pa.int64(), DAY),
        (Decimal("1.25"), pa.decimal128(10, 2), 1.25),
        (str(DAY), pa.string(), DAY),
        ("2025-12-30", pa.large_string(), DAY),
        (" 2025-12-30T09:00:00+09:00", pa.string_view(), DAY),
        ("2025-12-30", pa.dictionary(pa.int8(), pa.string()), DAY),
    ],
)
def test_a_time_is_the_same_moment_however_it_is_written(cell: Any, of: pa.DataType, at: float) -> None:
    assert seconds(times(cell, of=of)) == [at]


@pytest.mark.parametrize(
    ("cell", "good", "of", "told"),
    [
        (None, DAY, pa.int64(), "none"),
        (None, DAY, pa.timestamp("us"), "none"),
        (None, 1, pa.date32(), "none"),
        ("", "0", pa.string(), "none"),
        ("yesterday", "2025-12-30", pa.string(), "'yesterday'"),
        (math.nan, 0.0, pa.float64(), "'nan'"),
        (math.inf, 0.0, pa.float32(), "'inf'"),
        (-1e18, 0.0, pa.float64(), r"'-1e\+18'"),
        (DAY * 1_000, DAY, pa.int64(), f"'{DAY}000'"),  # milliseconds
        (-1, 0, pa.date32(), "'1969-12-31'"),
        (-1, 0, pa.timestamp("us", "Nowhere/AtAll"), "'1969-12-31 23:59:59.999999'"),
        (10**18, 0, pa.timestamp("s"), "out of range"),
        (2**31 - 1, 0, pa.date32(), "out of range"),
    ],
)
def test_a_row_without_a_possible_time_is_told(cell: Any, good: Any, of: pa.DataType, told: str) -> None:
    with pytest.raises(NextreelError, match=rf"got .*{told}.* in row 2 \(2 such rows\)\. Hint"):
        seconds(times(good, cell, good, cell, of=of))


@pytest.mark.parametrize("of", [pa.bool_(), pa.time32("s"), pa.binary(), pa.list_(pa.int64())])
def test_a_column_that_cannot_hold_times_is_refused_with_its_type(of: pa.DataType) -> None:
    with pytest.raises(NextreelError, match=r"timestamp .*, got (bool|time32|binary|list).*Hint"):
        seconds(times(None, of=of))


def test_a_table_without_rows_has_no_times_and_no_ids() -> None:
    assert seconds(times(of=pa.null())) == []
    assert ids(pa.table({"user_id": pa.array([], pa.null())}), "user_id") == []


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (pa.array([7, -1]), ["7", "-1"]),
        (pa.array(["007", " x "]), ["007", " x "]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([Decimal(7)], pa.decimal128(38, 0)), ["7"]),
        (pa.array([UUID(int=1).bytes], pa.uuid()), [str(UUID(int=1))]),
    ],
)
def test_ids_are_read_as_text(cells: pa.Array, expected: list[str]) -> None:
    assert ids(pa.table({"user_id": cells}), "user_id") == expected


@pytest.mark.parametrize("cells", [[1, None], ["a", None], ["a", ""], ["a", " "]])
def test_a_row_without_an_id_is_told_and_is_nobody_called_none(cells: list[Any]) -> None:
    with pytest.raises(NextreelError, match=r"video_id in every row, got none in row 2 \(1 such rows\)\. Hint"):
        ids(pa.table({"video_id": cells}), "video_id")


@pytest.mark.parametrize("cells", [[7.0, 8.0], [b"a"], [True]])
def test_ids_that_are_neither_integers_nor_texts_are_refused(cells: list[Any]) -> None:
    with pytest.raises(NextreelError, match=r"integers or texts as user_id, got (double|binary|bool)\. Hint"):
        ids(pa.table({"user_id": cells}), "user_id")


def test_where_a_person_was_is_text_or_nothing() -> None:
    pairs = pa.table({"surface": [3, None], "device": pa.array(["tv", "tv"]).dictionary_encode()})
    assert context(pairs) == [["tv", "tv"], [None, None], ["3", None]]


def test_where_a_person_was_cannot_be_bytes_that_are_no_text() -> None:
    with pytest.raises(NextreelError, match=r"text as location, got binary.*Hint"):
        context(pa.table({"location": [b"S\xe3o Paulo"]}))


def test_of_two_columns_of_one_name_none_is_chosen() -> None:
    twice = pa.table([pa.array(["tv"]), pa.array(["phone"])], ["device", "device"])
    with pytest.raises(NextreelError, match="one column device in the pairs, got 2"):
        context(twice)
