from __future__ import annotations

import numpy as np
import pytest

from nextreel.encoding.files import EncodingError
from nextreel.encoding.multihot import MultiHot
from nextreel.encoding.vocabulary import Vocabulary

GENRES = MultiHot(Vocabulary("genre", ("drama", "comedy")))


def test_a_value_out_of_vocabulary_has_the_first_column() -> None:
    assert GENRES.encode([["western"], []]).tolist() == [[1, 0, 0], [0, 0, 0]]
    assert GENRES.encode([]).shape == (0, 3)


def test_a_catalogues_columns_and_lists_of_names_give_the_same() -> None:
    names = ("western", "comedy", "noir", "drama")
    matrix = np.array([[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 1, 1]], np.float32)
    lists = [[name for name, has in zip(names, row, strict=True) if has] for row in matrix.tolist()]
    assert GENRES.aligned(names, matrix).tolist() == GENRES.encode(lists).tolist()


def test_a_matrix_of_other_columns_is_refused() -> None:
    with pytest.raises(EncodingError, match="2 columns"):
        GENRES.aligned(("a", "b"), np.zeros((1, 3), np.float32))
