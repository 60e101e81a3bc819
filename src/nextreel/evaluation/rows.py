"""What a run of a protocol finds, as plain data: metrics of models, differences, previews, the luck of seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Seeds = Mapping[str, Mapping[str, Mapping[str, float]]]  # model -> seed -> metric -> value


@dataclass(frozen=True)
class Row:
    """The metrics of one model: means over requests, and those of all lists together."""

    model: str
    kind: str  # "baseline", "source" (alone), "stage" (the pipeline cut short), "pipeline" or "preview" of a formula
    metrics: Mapping[str, float]
    seconds: float  # to fit and to answer


@dataclass(frozen=True)
class Comparison:
    """A model's mean difference from another on one metric, with the 95 % interval of a paired bootstrap."""

    metric: str
    model: str
    against: str
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """ "better" or "worse" where the whole interval is on one side of 0, else "unclear"."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "unclear"


@dataclass(frozen=True)
class Change:
    """A figure under the configured formula and under the previewed one, with a 95 % interval of the difference."""

    name: str
    before: float
    after: float
    low: float | None = None  # None: no interval was computed
    high: float | None = None


@dataclass(frozen=True)
class Example:
    """The head of one person's list in both orders."""

    person: str
    before: Sequence[str]  # titles, best first
    after: Sequence[str]
    was: Sequence[int | None]  # the place from 1 that each of `after` had before; None where it was not in the list


@dataclass(frozen=True)
class Preview:
    """What another value formula would change of the lists."""

    configured: str
    previewed: str
    lists: int
    places: str  # which places of each list are looked at
    changed: float  # mean part of these places that goes to videos that were not among them
    same: float  # part of the lists that keep all of these places as they are
    other_first: float  # part of the lists with another video in the first place
    shift: float  # mean distance that a video of these places moves
    longest: int  # a video that is among so many no more counts as moved to just behind them
    predicted: Sequence[Change]  # mean of every objective over these places
    metrics: Sequence[Change]
    categories: Sequence[Change]  # share of these places, largest changes first
    examples: Sequence[Example]
