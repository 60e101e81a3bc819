"""What every family of rankers fits: a scorer of feature rows, what validation said of it, and what it looks at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nextreel.types import FloatArray, NextreelError

_PLACE = re.compile(r"^(\[[\d:]+\] )?\S+\.[a-z]+:\d+: | at \S+, line \d+ ?\.?$")  # in the library's own source


class FitError(NextreelError):
    """A ranker that its library cannot fit on these rows with these parameters."""


@contextmanager
def refusals(library: str, own: type[Exception]) -> Iterator[None]:
    """Raises `FitError` in place of the library's own error: a person can act on it, and a search can go on."""
    try:
        yield
    except own as error:
        first = str(error).strip().partition("\n")[0].strip()  # a stack may follow
        said = _PLACE.sub("", first).rstrip(" .")
        raise FitError(
            f"Expected rows and parameters that {library} can fit, got its error: {said}. "
            f"Hint: other values below [ranker.{library.lower()}], or more data."
        ) from error


class Scorer(Protocol):
    """One fitted objective: raw scores of feature rows, a row's not depending on the rows around it."""

    @property
    def reads(self) -> frozenset[int]:
        """The columns that can change a score."""
        ...

    def score(self, values: FloatArray) -> FloatArray:
        """(n,) raw scores of the feature rows (n, features): log-odds where a probability was learnt."""
        ...

    def contributions(self, values: FloatArray) -> FloatArray:
        """(n, features + 1) what each column adds to the score, and last what every row begins with; they sum to it.

        Raises `NextreelError` where the model has no such parts.
        """
        ...

    def over(self, columns: Sequence[int]) -> Scorer:
        """The same scorer of rows that have these columns alone, which hold every one that it reads."""
        ...

    def save(self, folder: Path) -> None:
        """Writes everything into the folder."""
        ...


@dataclass(frozen=True)
class Model:
    """One objective as it was fitted."""

    scorer: Scorer
    metrics: Mapping[str, float]  # on validation
    importance: Mapping[str, float]  # each feature's part of the decision, in percent, largest first


def shares(names: Sequence[str], weights: Sequence[float]) -> dict[str, float]:
    """Percent of the sum that each name has, largest first; all 0 where the sum is."""
    total = sum(weights) or 1.0
    found = {name: 100.0 * weight / total for name, weight in zip(names, weights, strict=True)}
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))
