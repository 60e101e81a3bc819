"""What the results of every protocol have in common: where they come from and how they are written."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nextreel.evaluation import describe, tables
from nextreel.evaluation.rows import Preview, Seeds

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

FIGURES = {  # every plot of any protocol, by its name: what it shows
    "models": "NDCG@10 and hit rate of every model",
    "recall": "Recall among the first k",
    "stages": "What sources propose and what the order gains",
    "segments": "By how well the person, and the video, are known",
    "order": "How well what people were shown is ordered",
    "reliability": "What was told and what came true",
}


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
    def to_markdown(self, figures: Mapping[str, str] = MappingProxyType({})) -> str:
        """All of it as text; `figures` has the file of each plot (see FIGURES), relative to the text's own."""

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


def image(files: Mapping[str, str], name: str) -> list[str]:
    """The plot of this name as Markdown, nothing where there is no file of it."""
    return [f"![{FIGURES[name]}]({files[name]})", ""] if name in files else []


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
