"""Several categories of one video as a row of zeros and ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from nextreel.encoding.files import EncodingError
from nextreel.encoding.vocabulary import Value, Vocabulary
from nextreel.types import FloatArray


@dataclass(frozen=True)
class MultiHot:
    """Columns by the codes of a vocabulary: 1.0 where a row has the value, column 0 where it has one out of it.

    It is saved and loaded as its vocabulary.

    >>> genres = MultiHot(Vocabulary("genre", ("drama", "comedy")))
    >>> genres.encode([["comedy"], ["western", "drama"], []]).tolist()
    [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    vocabulary: Vocabulary

    def __len__(self) -> int:
        """How many columns there are."""
        return len(self.vocabulary)

    def encode(self, lists: Sequence[Sequence[Value]]) -> FloatArray:
        """Zeros and ones (n, len(self)) of the values of each row."""
        owner = np.repeat(np.arange(len(lists)), np.fromiter(map(len, lists), np.int64, len(lists)))
        rows = np.zeros((len(lists), len(self)), np.float32)
        rows[owner, self.vocabulary.encode(list(chain.from_iterable(lists)))] = 1.0
        return rows

    def aligned(self, names: Sequence[Value], matrix: FloatArray) -> FloatArray:
        """The same of a matrix (n, names) of zeros and ones whose columns are named otherwise, as a catalogue's are."""
        if matrix.ndim != 2 or matrix.shape[1] != len(names):
            raise EncodingError(f"Expected a matrix of {len(names)} columns, one per name; got shape {matrix.shape}.")
        rows = np.zeros((len(matrix), len(self)), np.float32)
        for column, code in enumerate(self.vocabulary.encode(names).tolist()):
            np.maximum(rows[:, code], matrix[:, column], out=rows[:, code])
        return rows
