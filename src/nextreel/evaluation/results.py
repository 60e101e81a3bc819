"""What a protocol found: one row of metrics per model, differences with intervals, and lineage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = ("recall@10", "ndcg@10", "hit_rate@10", "recall@100", "mrr", "map@100", "coverage@10", "diversity@10")
TITLES = {"ndcg": "NDCG", "hit_rate": "HitRate", "mrr": "MRR", "map": "MAP"}


@dataclass(frozen=True)
class Row:
    """The metrics of one model, averaged over users."""

    model: str
    kind: str  # "baseline" or "pipeline"
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

    def __str__(self) -> str:
        sign = "above" if self.low > 0 else "below" if self.high < 0 else "not told apart from"
        return (
            f"{title(self.metric)}: {self.model} - {self.against} = {self.difference:+.4f} "
            f"(95 % interval {self.low:+.4f} to {self.high:+.4f}: {sign} {self.against})"
        )


@dataclass(frozen=True)
class Results:
    """Everything one run of a protocol found."""

    protocol: str
    users: int
    truths: float  # mean number of right videos per user
    videos: int  # the catalogue that coverage and Gini are shares of
    rows: Sequence[Row]
    comparisons: Sequence[Comparison]
    notes: Sequence[str]
    seed: int
    seconds: float
    peak_memory: int  # bytes
    data: Mapping[str, Any]  # version manifest of the data set
    commit: str | None
    hardware: Mapping[str, Any]
    versions: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)

    def row(self, model: str) -> Row:
        """The row of a model. Raises KeyError, with the models there are, for any other name."""
        for row in self.rows:
            if row.model == model:
                return row
        raise KeyError(f"Expected one of {[row.model for row in self.rows]}; got {model!r}.")

    def to_json(self) -> dict[str, Any]:
        """All of it as what JSON can write; a metric that nobody has (NaN) is None."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    def to_markdown(self) -> str:
        """A table of the main metrics, the differences and the lineage."""
        lines = [
            f"Protocol: {self.protocol}. {self.users:,} users, {self.truths:.1f} right videos each, "
            f"{self.videos:,} videos. Mean over users.",
            "",
            "| model | " + " | ".join(title(name) for name in SHOWN) + " | seconds |",
            "|---|" + "---:|" * (len(SHOWN) + 1),
        ]
        lines += [f"| {row.model} | {' | '.join(_cells(row))} |" for row in self.rows]
        lines += [""] + [f"- {comparison}" for comparison in self.comparisons] + [f"- {note}" for note in self.notes]
        lines += ["", self._lineage(), ""]
        return "\n".join(lines)

    def table(self) -> Table:
        """The same table for a terminal, the differences below it."""
        from rich.box import SIMPLE_HEAD  # noqa: PLC0415  whoever writes files alone needs no terminal
        from rich.table import Table  # noqa: PLC0415

        below = "\n".join([*map(str, self.comparisons), *self.notes])
        above = f"Protocol {self.protocol}: {self.users:,} users, {self.truths:.1f} right videos each"
        table = Table(title=above, caption=below, caption_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("model", no_wrap=True)
        shown = [name for name in SHOWN if name != "map@100"]  # what fits into 80 columns; files have all
        for name in shown:
            table.add_column(title(name).replace("@", "\n@"), justify="right", no_wrap=True)
        for row in self.rows:
            values = [row.metrics.get(name, math.nan) for name in shown]
            table.add_row(row.model, *map(_cell, values), style="bold" if row.kind == "pipeline" else None)
        return table

    def _lineage(self) -> str:
        version = self.data.get("version", "unknown")
        return (
            f"Commit {self.commit or 'unknown'}, data {version}, seed {self.seed}, {self.seconds:.0f} s, "
            f"peak memory {self.peak_memory / 1e9:.2f} GB, {self.hardware.get('processor')}, "
            f"{self.hardware.get('cores')} cores."
        )


def title(name: str) -> str:
    """A metric's name as people write it.

    >>> title("ndcg@10"), title("recall@100"), title("mrr")
    ('NDCG@10', 'Recall@100', 'MRR')
    """
    stem, at, k = name.partition("@")
    return TITLES.get(stem, stem.capitalize()) + at + k


def _cells(row: Row) -> list[str]:
    return [*(_cell(row.metrics.get(name, math.nan)) for name in SHOWN), f"{row.seconds:.1f}"]


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _plain(value: Any) -> Any:
    """The same value as what JSON can write: None for a float that it cannot, text for a type it does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
