"""Codes of values seen often enough in the training part; code 0 stands for all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nextreel.encoding.files import EncodingError, read_json, write_json

OUT_OF_VOCABULARY = 0
FOLDER = "vocabularies"

Value: TypeAlias = int | str


def _plain(value: Hashable) -> Value:
    """The value as a plain int or str, so that JSON keeps its type."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    raise EncodingError(f"Expected values that are integers or strings; got {value!r} ({type(value).__name__}).")


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

    def encode(self, values: Sequence[Value | None] | NDArray[np.generic]) -> NDArray[np.int32]:
        """The code of each value (n,), 0 where it is not known."""
        plain: Sequence[Value | None] = values.tolist() if isinstance(values, np.ndarray) else values
        codes = self.codes
        found = (OUT_OF_VOCABULARY if v is None else codes.get(v, OUT_OF_VOCABULARY) for v in plain)
        return np.fromiter(found, np.int32, len(plain))

    def save(self, folder: Path) -> None:
        """Writes `vocabularies/<name>.json` below the folder."""
        write_json(folder / FOLDER / f"{self.name}.json", {"name": self.name, "values": list(self.values)})


def fit(name: str, values: Iterable[Hashable], min_count: int = 1, max_size: int | None = None) -> Vocabulary:
    """The vocabulary of the values that occur at least `min_count` times, at most `max_size` of the most frequent.

    None is no value. Equally frequent values keep the order in which they first came, so the same values in the same
    order give the same codes. Raises EncodingError for values that are neither integers nor strings.
    """
    counts = Counter(value for value in values if value is not None)
    often = [_plain(value) for value, count in counts.most_common() if count >= min_count]
    return Vocabulary(name, tuple(often[:max_size]))


def load(folder: Path, name: str) -> Vocabulary:
    """The vocabulary of that name which `Vocabulary.save` wrote below the folder."""
    content = read_json(folder / FOLDER / f"{name}.json", "vocabulary", ("name", "values"))
    return Vocabulary(content["name"], tuple(content["values"]))
