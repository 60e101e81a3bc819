"""What the results of every protocol have in common: where they come from, how they are written, the luck of seeds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nextreel.evaluation import describe, tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Group, RenderableType

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


@dataclass(frozen=True, kw_only=True)
class Found(ABC):
    """What one run of a protocol found, with its lineage."""

    protocol: str
    notes: Sequence[str]
    seed: int
    seconds: float
    peak_memory: int  # bytes
    data: Mapping[str, Any]  # version manifest of the data set
    commit: str | None
    hardware: Mapping[str, Any]
    versions: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)
    seeds: Seeds = field(default_factory=dict)
    """Of what was fitted once for each of several seeds; empty with one."""
    preview: Preview | None = None  # of another value formula

    @property
    @abstractmethod
    def about(self) -> str:
        """Who was asked or judged, and how often, in a few words."""

    @property
    @abstractmethod
    def counted(self) -> str:
        """How much was judged, in two words."""

    @abstractmethod
    def fitted(self) -> Mapping[str, Mapping[str, float]]:
        """The metrics of every model that another seed fits otherwise, by its name."""

    @abstractmethod
    def drawings(self) -> Mapping[str, Callable[[], Figure]]:
        """What draws each plot that there are figures for, by its name in `plots.FIGURES`."""

    @abstractmethod
    def to_markdown(self, figures: Mapping[str, str] = MappingProxyType({})) -> str:
        """All of it as text; `figures` has the file of each plot (see `plots.FIGURES`), relative to the text's own."""

    @abstractmethod
    def table(self) -> Group:
        """The main figures for a terminal of 80 columns."""

    @abstractmethod
    def full_table(self) -> Group:
        """All that was found for a terminal."""

    def to_json(self) -> dict[str, Any]:
        """All of it as what JSON can write; a metric that nobody has (NaN) is None."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    def preview_lines(self) -> list[str]:
        """The preview of another formula as Markdown, nothing without one."""
        if self.preview is None:
            return []
        about = describe.preview_in_words(self.preview)
        return [about, "", *(line for view in describe.preview(self.preview) for line in titled(view))]

    def preview_tables(self, examples: int | None = None) -> list[RenderableType]:
        """The preview of another formula for a terminal, with so many examples at most; nothing without one."""
        if self.preview is None:
            return []
        from rich.markup import escape  # noqa: PLC0415  whoever writes files alone needs no terminal

        views = [view.rich() for view in describe.preview(self.preview, examples)]
        return ["", escape(describe.preview_in_words(self.preview)), *views]

    def shared(self, names: Sequence[str]) -> list[str]:
        """Those of the metrics that every seed of every model has."""
        return [name for name in names if all(name in one for of in self.seeds.values() for one in of.values())]

    def lineage(self) -> str:
        """Code, data, seed, time and machine in one line."""
        version = self.data.get("version", "unknown")
        return (
            f"Commit {self.commit or 'unknown'}, data {version}, seed {self.seed}, {self.seconds:.0f} s, "
            f"peak memory {self.peak_memory / 1e9:.2f} GB, {self.hardware.get('processor')}, "
            f"{self.hardware.get('cores')} cores."
        )


def titled(view: tables.View) -> list[str]:
    """The table as Markdown below its title."""
    return [f"**{view.title}**", "", *view.markdown(), ""]


def _plain(value: Any) -> Any:
    """The same value as what JSON can write: None for a float that it cannot, text for a type it does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
