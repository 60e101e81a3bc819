"""Columns of few texts: read piece by piece, they are what each cell read by itself would be."""

from __future__ import annotations

import gc

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextreel.data.ids import any_repeated, codes, distinct, is_known, no_texts
from nextreel.data.parsing import Parsed, parse
from nextreel.data.schemas import CellType
from nextreel.data.texts import Texts
from nextreel.types import UNKNOWN

CELLS = st.sampled_from(["1", "2", "007", " u1 ", "u2", "", "like", "Watch", "true", "3.5", "-4", "nan", None])
PIECES = st.lists(st.tuples(st.sampled_from(["plain", "numbered", "other"]), st.lists(CELLS, max_size=6)), max_size=6)


def _told(parsed: Parsed) -> list[tuple[object, bool, bool]]:
    """Value as text, emptiness and badness of each cell."""
    n = len(parsed.values)
    empty, bad = (pl.repeat(False, n, eager=True) if one is None else one for one in (parsed.empty, parsed.bad))
    values = parsed.values.cast(pl.String).to_list()
    return list(zip(values, empty.to_list(), bad.to_list(), strict=True))


@given(pieces=PIECES, cell=st.sampled_from(["id", "text", "kind", "flag", "number", "whole"]), coded=st.booleans())
def test_pieces_are_read_as_each_of_their_cells_would_be(
    pieces: list[tuple[str, list[str | None]]], cell: CellType, coded: bool
) -> None:
    texts = Texts(cell, coded=coded)
    numbers = {"numbered": no_texts(), "other": no_texts()}
    for how, cells in pieces:
        raw = pl.Series("x", cells, pl.String)
        parsed = texts.parse(raw if how == "plain" else raw.cast(numbers[how].dtype))
        assert _told(parsed) == _told(parse(raw, cell))
        if coded and cell == "text":
            assert isinstance(parsed.values.dtype, pl.Categorical)


def test_texts_of_a_piece_that_is_gone_keep_their_numbers() -> None:
    texts, numbered = Texts("id", coded=True), no_texts()
    first = texts.parse(pl.Series(["b", "a"]).cast(numbered.dtype)).values.cast(pl.String).to_list()
    gc.collect()  # polars forgets the numbers of texts when no column has them
    again = texts.parse(pl.Series(["z", "a", "b"]).cast(numbered.dtype)).values.cast(pl.String).to_list()
    assert (first, again) == (["b", "a"], ["z", "a", "b"])


@given(
    values=st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-5, 5)), max_size=30),
    ids=st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-5, 5)), max_size=10, unique=True),
    text=st.sampled_from(["numbers", "texts", "coded"]),
)
def test_ids_are_found_however_they_are_kept(values: list[int | None], ids: list[int], text: str) -> None:
    column, known = pl.Series("x", values, pl.Int64), pl.Series("id", ids, pl.Int64)
    if text != "numbers":
        column = column.cast(pl.String)
    if text == "coded":
        column = column.cast(no_texts().dtype)
    expected = [ids.index(value) if value in ids else UNKNOWN for value in values]
    assert codes(column, known).tolist() == expected
    assert is_known(column, pl.concat([known, known])).tolist() == [code != UNKNOWN for code in expected]
    there = [value for value in values if value is not None]
    assert [int(one) for one in distinct([column])] == list(dict.fromkeys(there))
    assert any_repeated(column) == (len(set(there)) < len(there))


@pytest.mark.parametrize("kept", ["numbers", "texts", "coded"])
def test_an_empty_column_has_no_ids(kept: str) -> None:
    column = {"numbers": pl.Series([], dtype=pl.Int64), "texts": pl.Series([], dtype=pl.String), "coded": no_texts()}
    assert len(distinct([column[kept]])) == len(codes(column[kept], pl.Series([1, 2]))) == 0
    assert not any_repeated(column[kept])
