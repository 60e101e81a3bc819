"""Codes of values seen often enough in the training part; code 0 stands for all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextreel.encoding.files import EncodingError, read_json, write_json

OUT_OF_VOCABULARY = 0
FOLDER = "vocabularies"

Value: TypeAlias = int | str
_MANY = 10_000  # values from which on columns pay


def _plain(value: Hashable) -> Value:
    """The value as a plain int or str, so that JSON keeps its type."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    raise EncodingError(f"Expected values that are integers or strings; got {value!r} ({type(value).__name__}).")


def _arrow(values: Sequence[Value | None] | NDArray[np.generic]) -> pa.Array | None:
    """The values as Arrow's strings; None where some are no texts, or texts that are not valid Unicode."""
    try:
        array = pa.array(values)
    except (pa.ArrowException, UnicodeError, OverflowError):
        return None
    return array if isinstance(array, pa.Array) and pa.types.is_string(array.type) else None


@dataclass(frozen=True)
class Vocabulary:
    """Values and their codes 1, 2, …, most frequent first; 0 is out of vocabulary, and the code of None.

    >>> genres = fit("genre", ["drama", "comedy", "drama", None])
    >>> genres.encode(["comedy", "drama", "western", None]).tolist()
    [2, 1, 0, 0]
    """

    name: str
    values: tuple[Value, ...]

    def __len__(self) -> int:
        """How many codes there are, out of vocabulary included: the rows an embedding table needs."""
        return len(self.values) + 1

    @cached_property
    def codes(self) -> dict[Value, int]:
        """Each value's code, from 1 on."""
        return {value: code for code, value in enumerate(self.values, start=1)}

    def code(self, value: Value | None) -> int:
        """The code of one value, 0 when it is not known."""
        return OUT_OF_VOCABULARY if value is None else self.codes.get(value, OUT_OF_VOCABULARY)

    @cached_property
    def _numbers(self) -> tuple[NDArray[np.int64], NDArray[np.int32]] | None:
        """All values sorted and their codes, where all are integers of 64 bits; None otherwise."""
        if not self.values or any(isinstance(value, str) or abs(value) >= 1 << 63 for value in self.values):
            return None
        values = np.array(self.values, np.int64)
        order = np.argsort(values)
        return values[order], (order + 1).astype(np.int32)

    @cached_property
    def _words(self) -> pa.Array | None:
        """All values as an Arrow array, where all are texts that Arrow can hold; None otherwise."""
        return _arrow(self.values)

    def encode(self, values: Sequence[Value | None] | NDArray[np.generic]) -> NDArray[np.int32]:
        """The code of each value (n,), 0 where it is not known; of a million texts in about a quarter of a second."""
        if isinstance(values, np.ndarray) and values.dtype.kind == "i" and self._numbers is not None:
            known, codes = self._numbers
            place = np.minimum(np.searchsorted(known, values), len(known) - 1)
            return np.where(known[place] == values, codes[place], np.int32(OUT_OF_VOCABULARY))
        # Arrow hashes the vocabulary anew in every call: that pays where there are many values to look up
        if len(values) >= max(_MANY, len(self.values) // 2) and self._words is not None:
            words = _arrow(values)
            if words is not None:
                found = pc.index_in(words, value_set=self._words)
                return np.asarray(np.from_dlpack(pc.fill_null(found, -1)), np.int32) + np.int32(1)
        plain = values.tolist() if isinstance(values, np.ndarray) else values
        return np.fromiter(map(self.codes.get, plain, repeat(OUT_OF_VOCABULARY)), np.int32, len(plain))

    def save(self, folder: Path) -> None:
        """Writes `vocabularies/<name>.json` below the folder."""
        write_json(folder / FOLDER / f"{self.name}.json", {"name": self.name, "values": list(self.values)})


def fit(name: str, values: Iterable[Hashable], min_count: int = 1, max_size: int | None = None) -> Vocabulary:
    """The vocabulary of the values that occur at least `min_count` times, at most `max_size` of the most frequent.

    None is no value. Equally frequent values keep the order in which they first came, so the same values in the same
    order give the same codes. Raises EncodingError for values that are neither integers nor strings.
    """
    return from_counts(name, Counter(value for value in values if value is not None).items(), min_count, max_size)


def from_counts(
    name: str, counts: Iterable[tuple[Hashable, int]], min_count: int = 1, max_size: int | None = None
) -> Vocabulary:
    """The same as `fit`, of values that were counted already.

    >>> from_counts("genre", [("comedy", 1), ("drama", 2)]).values
    ('drama', 'comedy')
    """
    often = sorted(((value, n) for value, n in counts if n >= min_count), key=lambda one: -one[1])
    return Vocabulary(name, tuple(_plain(value) for value, _ in often[:max_size]))


def load(folder: Path, name: str) -> Vocabulary:
    """The vocabulary of that name which `Vocabulary.save` wrote below the folder."""
    content = read_json(folder / FOLDER / f"{name}.json", "vocabulary", ("name", "values"))
    return Vocabulary(content["name"], tuple(content["values"]))
