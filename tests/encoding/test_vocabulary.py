from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextreel.encoding import vocabulary
from nextreel.encoding.files import EncodingError


def test_rare_and_unknown_values_and_none_share_code_zero() -> None:
    words = vocabulary.fit("word", ["a", "a", "b", None, None], min_count=2)
    assert words.encode(["a", "b", "never", None]).tolist() == [1, 0, 0, 0]
    assert len(words) == 2


def test_the_size_limit_keeps_the_most_frequent() -> None:
    assert vocabulary.fit("n", [1, 2, 2, 3, 3, 3], max_size=2).values == (3, 2)


def test_numbers_and_their_spelling_are_different_values_also_after_a_save(tmp_path: Path) -> None:
    vocabulary.fit("id", [7, "7", 7]).save(tmp_path)
    loaded = vocabulary.load(tmp_path, "id")
    assert loaded.encode([7, "7"]).tolist() == [1, 2]
    assert loaded.encode(np.array([7, 8])).tolist() == [1, 0]


def test_a_value_json_cannot_keep_is_refused() -> None:
    with pytest.raises(EncodingError, match="integers or strings"):
        vocabulary.fit("bad", [1.5])


def test_a_missing_vocabulary_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EncodingError, match="Hint"):
        vocabulary.load(tmp_path, "none")


@given(st.lists(st.text(max_size=3) | st.integers(0, 9)), st.integers(1, 3))
def test_every_frequent_value_has_a_code_of_its_own(values: list[str | int], floor: int) -> None:
    words = vocabulary.fit("v", values, min_count=floor)
    codes = words.encode(list(words.values))
    assert codes.tolist() == list(range(1, len(words)))
    assert all(values.count(value) >= floor for value in words.values)


def test_many_values_are_encoded_as_few_are() -> None:
    rng = np.random.default_rng(0)
    words = vocabulary.fit("w", [f"w{i}" for i in range(500)])
    many: list[str | int | None] = [f"w{i}" if i < 600 else None for i in rng.integers(0, 700, 20_000).tolist()]
    alone = [words.code(one) for one in many]
    assert words.encode(many).tolist() == alone
    assert words.encode(np.array(many, object)).tolist() == alone
    mixed = [*many, 7, "cut \ud83d"]  # neither an integer nor half a surrogate pair fits a column of texts
    assert words.encode(mixed).tolist() == [*alone, 0, 0]
    assert words.encode(np.array(many[:5_000] * 3, object)).dtype == np.int32


def test_integers_are_found_by_search_as_they_are_by_name() -> None:
    numbers = vocabulary.fit("n", [30, 10, 10, -20])
    assert numbers.encode(np.array([10, -20, 30, 11, 99, -99])).tolist() == [1, 3, 2, 0, 0, 0]
    assert numbers.encode(np.array([10, 30], np.int8)).tolist() == [1, 2]
    assert numbers.encode(np.array([10, 30], np.uint64)).tolist() == [1, 2]
    assert vocabulary.fit("big", [2**70, 5]).encode(np.array([5])).tolist() == [2]
    assert vocabulary.fit("none", []).encode(np.array([5])).tolist() == [0]


def test_counted_values_give_the_vocabulary_of_the_values_themselves() -> None:
    values = ["b", "a", "c", "a", "b", "d"]
    counted = vocabulary.from_counts("v", [("b", 2), ("a", 2), ("c", 1), ("d", 1)], max_size=3)
    assert counted == vocabulary.fit("v", values, max_size=3)
