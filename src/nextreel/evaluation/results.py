"""What a protocol found: metrics of every model, differences with intervals, stages, segments, seeds and lineage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nextreel.evaluation import describe, tables
from nextreel.evaluation.plots import FIGURES

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from nextreel.evaluation.segments import Segment
    from nextreel.evaluation.stages import StageResults

_FEW = ("recall@10", "ndcg@10", "hit_rate@10", "recall@100")  # with their spread, 80 columns have room for no more


@dataclass(frozen=True)
class Row:
    """The metrics of one model: means over requests, and those of all lists together."""

    model: str
    kind: str  # "baseline", "source" (alone), "stage" (the pipeline cut short) or "pipeline"
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
    seeds: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    """model -> seed -> metric -> value, of what was fitted once for each of several seeds; empty with one."""

    def row(self, model: str) -> Row:
        """The row of a model. Raises KeyError, with the models there are, for any other name."""
        for row in self.rows:
            if row.model == model:
                return row
        raise KeyError(f"Expected one of {[row.model for row in self.rows]}; got {model!r}.")

    def to_json(self) -> dict[str, Any]:
        """All of it as what JSON can write; a metric that nobody has (NaN) is None."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    def main(self) -> list[Row]:
        """The rows of the main table: all but those of a stage of the pipeline."""
        return [row for row in self.rows if row.kind != "stage"]

    def best_baseline(self) -> Row | None:
        """The baseline with the largest NDCG@10; None where no baseline was asked."""
        baselines = [row for row in self.rows if row.kind == "baseline"]
        return max(baselines, key=lambda row: row.metrics["ndcg@10"], default=None)

    def judged(self) -> list[Row]:
        """What is looked at more closely: the pipeline, the sources alone, and the best baseline."""
        best = self.best_baseline()
        own = [row for kind in ("pipeline", "source") for row in self.rows if row.kind == kind]
        return own if best is None else [*own, best]

    def to_markdown(self, figures: Mapping[str, str] = MappingProxyType({})) -> str:
        """The main metrics, differences, seeds, stages, segments and lineage; every metric at every k in a fold.

        `figures` has the file of each plot (see `plots.FIGURES`), relative to the text's own.
        """
        lines = [f"{self._about()} Mean over requests.", "", *tables.summary(self.main()).markdown(), ""]
        lines += [*_image(figures, "models"), *_titled(describe.differences(self._differences()))]
        lines += [*(f"- {line}" for line in self.notes), ""]
        if self.seeds:
            lines += _titled(describe.seeds(self.seeds, self._measured(tables.SHOWN)))
        lines += [*self._stages(figures), *self._segments(figures), *_image(figures, "recall")]
        lines += ["<details><summary>Every metric at every k</summary>", ""]
        for view in (*tables.by_cut(self.rows), tables.others(self.rows)):
            lines += _titled(view)
        lines += [f"- {line}" for line in tables.legend(self.rows)]
        lines += ["", "</details>", "", self._lineage(), ""]
        return "\n".join(lines)

    def table(self) -> Group:
        """The main metrics for a terminal of 80 columns, the differences and what the stages did below them."""
        from rich.console import Group  # noqa: PLC0415  whoever writes files alone needs no terminal

        above = f"Protocol {self.protocol}: {self._asked()}\nMean over requests"
        parts: list[RenderableType] = [tables.narrow_summary(above, self.main()).rich()]
        parts += [describe.differences(self._differences()).rich(), *self.notes]
        if self.stages is not None:
            parts += ["", describe.sources(self.stages).rich(), *describe.stages_in_words(self.stages)]
        return Group(*parts)

    def full_table(self) -> Group:
        """All that was found for a terminal: as many tables beside each other as it has room for, 2 in 100."""
        from rich.columns import Columns  # noqa: PLC0415
        from rich.console import Group  # noqa: PLC0415

        cuts = Columns([view.rich(tight=True) for view in tables.by_cut(self.rows)], padding=(0, 2))
        parts = [tables.others(self.rows).rich(), describe.differences(self._differences()).rich()]
        if self.seeds:
            parts.append(describe.seeds(self.seeds, self._measured(_FEW)).rich())
        if self.stages is not None:
            views = describe.sources(self.stages), describe.orders(self.stages), describe.filters(self.stages)
            parts += [view.rich() for view in views]
        parts += [view.rich() for view in describe.segments(self.segments, [row.model for row in self.judged()])]
        below = [*self.notes, "", *tables.legend(self.rows), "", self._lineage()]
        return Group(f"{self._about()} Mean over requests.", "", cuts, *parts, *below)

    def _about(self) -> str:
        return f"Protocol: {self.protocol}. {self._asked()}, {self.videos:,} videos."

    def _asked(self) -> str:
        each = f"{self.truths:.1f}".removesuffix(".0")
        what = "right video" if each == "1" else "right videos"
        return f"{self.requests:,} requests of {self.users:,} users, {each} {what} each"

    def _differences(self) -> list[Comparison]:
        """The differences of what is in the main table."""
        shown = {row.model for row in self.main()}
        return [one for one in self.comparisons if one.model in shown]

    def _stages(self, figures: Mapping[str, str]) -> list[str]:
        if self.stages is None:
            return []
        lines = _titled(describe.sources(self.stages))
        lines += [
            "Recall: share of the right videos that are among the candidates. Only it: share that no other source "
            "proposed.",
            "",
        ]
        lines += [*_titled(describe.orders(self.stages)), *_titled(describe.filters(self.stages))]
        return [
            *lines,
            *(f"- {line}" for line in describe.stages_in_words(self.stages)),
            "",
            *_image(figures, "stages"),
        ]

    def _segments(self, figures: Mapping[str, str]) -> list[str]:
        lines = []
        for view in describe.segments(self.segments, [row.model for row in self.judged()]):
            lines += _titled(view)
        if lines:
            lines += [
                "By the person: mean over the requests of the part. By the right video: share of the part's right "
                "videos that are among the first k.",
                "",
            ]
        return [*lines, *_image(figures, "segments")]

    def _measured(self, names: Sequence[str]) -> list[str]:
        """Those of the metrics that every seed of every model has."""
        return [name for name in names if all(name in one for of in self.seeds.values() for one in of.values())]

    def _lineage(self) -> str:
        version = self.data.get("version", "unknown")
        return (
            f"Commit {self.commit or 'unknown'}, data {version}, seed {self.seed}, {self.seconds:.0f} s, "
            f"peak memory {self.peak_memory / 1e9:.2f} GB, {self.hardware.get('processor')}, "
            f"{self.hardware.get('cores')} cores."
        )


def _titled(view: tables.View) -> list[str]:
    return [f"**{view.title}**", "", *view.markdown(), ""]


def _image(figures: Mapping[str, str], name: str) -> list[str]:
    return [f"![{FIGURES[name]}]({figures[name]})", ""] if name in figures else []


def _plain(value: Any) -> Any:
    """The same value as what JSON can write: None for a float that it cannot, text for a type it does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
