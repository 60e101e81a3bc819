"""What rankers learn from: judged candidates as columns, grouped by moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nextreel.types import BoolArray, FloatArray, NextreelError

SCORES_AND_RANKS = ("score_", "rank_")  # how the columns begin that every moment has anyway

# "ranking": the order within a moment is learnt, scores mean nothing else; "probability": how likely, or what part
Loss: TypeAlias = Literal["ranking", "probability"]


@dataclass(frozen=True)
class Rows:
    """Judged candidates of many moments, with one label each: what one objective learns from."""

    names: tuple[str, ...]
    values: FloatArray  # (n, features)
    labels: FloatArray  # (n,) graded relevance of 0 and more, or from 0 to 1 where a probability is learnt
    groups: NDArray[np.int64]  # (n,) number of the moment; the rows of a moment stand together
    weights: FloatArray  # (n,) weight of the moment, the same for all its rows
    at: NDArray[np.float64]  # (n,) time of the moment
    users: NDArray[np.int32]  # (n,) code of the person
    start: FloatArray | None = None  # (n,) scores that fitting begins from; None: 0 for all

    def __len__(self) -> int:
        return len(self.labels)

    def over(self, columns: tuple[str, ...]) -> Rows:
        """The same rows with these columns alone, in this order."""
        place = {name: n for n, name in enumerate(self.names)}
        return replace(self, names=columns, values=self.values[:, [place[name] for name in columns]])

    def take(self, mask: NDArray[np.bool_]) -> Rows:
        """The chosen rows in their order."""
        return Rows(
            self.names,
            self.values[mask],
            self.labels[mask],
            self.groups[mask],
            self.weights[mask],
            self.at[mask],
            self.users[mask],
            None if self.start is None else self.start[mask],
        )

    def sizes(self) -> NDArray[np.int64]:
        """(moments,) how many rows each moment has."""
        first = np.flatnonzero(np.diff(self.groups, prepend=self.groups[:1] - 1))
        return np.diff(first, append=len(self)).astype(np.int64)


def varying(tables: Mapping[str, Rows]) -> dict[str, Rows]:
    """The same rows with only the features that are not the same in all of a table; scores and ranks stay.

    The tables have the same columns before and after. Values that tables share stay shared.
    """
    names = next(iter(tables.values())).names
    kept = np.array([name.startswith(SCORES_AND_RANKS) for name in names])
    shared = {id(rows.values): rows.values for rows in tables.values()}
    for values in shared.values():
        kept |= ~_same(values)
    chosen = tuple(name for name, keep in zip(names, kept.tolist(), strict=True) if keep)
    narrow = {key: np.ascontiguousarray(values[:, kept]) for key, values in shared.items()}
    return {name: replace(rows, names=chosen, values=narrow[id(rows.values)]) for name, rows in tables.items()}


def check(train: Rows, valid: Rows, loss: Loss) -> None:
    """Raises `NextreelError` where there is nothing to learn, or a value is infinite; NaN is one that is missing.

    It is one rule for all families: what a library does with such rows is its own affair.
    """
    for name, part in (("training", train), ("validation", valid)):
        if not len(part) or not (part.labels > 0).any():
            raise NextreelError(
                f"Expected {name} moments with at least one positive among the candidates, got none. "
                "Hint: more interactions, or a longer label horizon."
            )
        infinite = np.flatnonzero(np.isinf(part.values).any(axis=0)).tolist()
        if infinite:
            named = ", ".join(part.names[column] for column in infinite)
            raise NextreelError(
                f"Expected {name} rows of numbers, or NaN where one is missing, got infinity in {named}. "
                "Hint: correct what these features are computed from."
            )
    if not _answers_differ(train, loss):
        what = "a training moment" if loss == "ranking" else "training rows"
        raise NextreelError(
            f"Expected {what} with both positives and negatives among the candidates, got none to tell apart. "
            "Hint: more videos to choose from, or more interactions."
        )
    if all(_same(train.values[:, [column]]).all() for column in range(len(train.names))):
        raise NextreelError(
            f"Expected a feature that differs among the training rows, got {len(train.names)} that are the same in all "
            f"{len(train):,}. Hint: more videos and more interactions, or more columns that describe them."
        )


def _answers_differ(rows: Rows, loss: Loss) -> bool:
    """Whether some moment has an order to learn, or some rows have another label than others."""
    if loss == "probability":
        return bool(np.ptp(rows.labels) > 0)
    first = np.cumsum(rows.sizes()) - rows.sizes()
    return bool((np.maximum.reduceat(rows.labels, first) > np.minimum.reduceat(rows.labels, first)).any())


def _same(values: FloatArray) -> BoolArray:
    """(columns,) whether a column has one value in all rows, or none in all."""
    same: BoolArray = ((values == values[:1]) | (np.isnan(values) & np.isnan(values[:1]))).all(axis=0)
    return same
