"""What a protocol found: one row of metrics per model, differences with intervals, and lineage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from nextreel.evaluation import tables

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from nextreel.evaluation.segments import Segment
    from nextreel.evaluation.stages import StageResults


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
            f"{tables.title(self.metric)}: {self.model} - {self.against} = {self.difference:+.4f} "
            f"(95 % interval {self.low:+.4f} to {self.high:+.4f}: {sign} {self.against})"
        )


@dataclass(frozen=True)
class Results:
    """Everything one run of a protocol found."""

    protocol: str
    users: int
    requests: int
    truths: float  # mean number of right videos per request
    videos: int  # the catalogue that coverage and Gini are shares of
    rows: Sequence[Row]
    comparisons: Sequence[Comparison]
    stages: StageResults | None  # None where one source alone was asked
    segments: Sequence[Segment]
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
        """The main metrics, the differences and the lineage; every metric at every k and its meaning in a fold."""
        lines = [f"{self._about()} Mean over requests.", "", *tables.summary().markdown(self.rows), ""]
        lines += [f"- {line}" for line in self._remarks()]
        lines += ["", "<details><summary>Every metric at every k</summary>", ""]
        for view in (*tables.by_cut(self.rows), tables.others(self.rows)):
            lines += [f"**{view.title}**", "", *view.markdown(self.rows), ""]
        lines += [f"- {line}" for line in tables.legend(self.rows)]
        lines += ["", "</details>", "", self._lineage(), ""]
        return "\n".join(lines)

    def table(self) -> Table:
        """The main metrics for a terminal of 80 columns, the differences below them."""
        above = f"Protocol {self.protocol}: {self._asked()}"
        return tables.narrow_summary(above).rich(self.rows, caption="\n".join(self._remarks()))

    def full_table(self) -> Group:
        """Every metric at every k for a terminal: as many tables beside each other as it has room for, 2 in 100."""
        from rich.columns import Columns  # noqa: PLC0415  whoever writes files alone needs no terminal
        from rich.console import Group  # noqa: PLC0415

        cuts = Columns([view.rich(self.rows, tight=True) for view in tables.by_cut(self.rows)], padding=(0, 2))
        other = tables.others(self.rows).rich(self.rows)
        below = [*self._remarks(), "", *tables.legend(self.rows), "", self._lineage()]
        return Group(self._about(), "", cuts, other, *below)

    def _about(self) -> str:
        return f"Protocol: {self.protocol}. {self._asked()}, {self.videos:,} videos."

    def _asked(self) -> str:
        return f"{self.requests:,} requests of {self.users:,} users, {self.truths:.1f} right videos each"

    def _remarks(self) -> list[str]:
        return [*map(str, self.comparisons), *self.notes]

    def _lineage(self) -> str:
        version = self.data.get("version", "unknown")
        return (
            f"Commit {self.commit or 'unknown'}, data {version}, seed {self.seed}, {self.seconds:.0f} s, "
            f"peak memory {self.peak_memory / 1e9:.2f} GB, {self.hardware.get('processor')}, "
            f"{self.hardware.get('cores')} cores."
        )


def _plain(value: Any) -> Any:
    """The same value as what JSON can write: None for a float that it cannot, text for a type it does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
