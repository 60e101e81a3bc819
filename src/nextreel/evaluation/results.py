"""What a protocol found: metrics of every model, differences with intervals, stages, segments, seeds and lineage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from nextreel.evaluation import describe, tables
from nextreel.evaluation.found import Found, image, titled
from nextreel.evaluation.rows import Comparison, Row

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from nextreel.evaluation.segments import Segment
    from nextreel.evaluation.stages import StageResults

_FEW = ("recall@10", "ndcg@10", "hit_rate@10", "recall@100")  # with their spread, 80 columns have room for no more


@dataclass(frozen=True, kw_only=True)
class Results(Found):
    """Everything one run of a protocol of lists found."""

    users: int
    requests: int
    truths: float  # mean number of right videos per request
    videos: int  # the catalogue that coverage and Gini are shares of
    rows: Sequence[Row]
    comparisons: Sequence[Comparison]
    stages: StageResults | None  # None where one source alone was asked
    segments: Sequence[Segment]

    @property
    def about(self) -> str:
        """Requests, people and right videos."""
        each = f"{self.truths:.1f}".removesuffix(".0")
        what = "right video" if each == "1" else "right videos"
        return f"{self.requests:,} requests of {self.users:,} users, {each} {what} each"

    @property
    def counted(self) -> str:
        """The number of requests."""
        return f"{self.requests:,} requests"

    def row(self, model: str) -> Row:
        """The row of a model. Raises KeyError, with the models there are, for any other name."""
        for row in self.rows:
            if row.model == model:
                return row
        raise KeyError(f"Expected one of {[row.model for row in self.rows]}; got {model!r}.")

    def fitted(self) -> dict[str, Mapping[str, float]]:
        """The metrics of every model that is no baseline, by its name."""
        return {row.model: row.metrics for row in self.rows if row.kind != "baseline"}

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

        `figures` has the file of each plot (see `found.FIGURES`), relative to the text's own.
        """
        lines = [f"{self._about()} Mean over requests.", "", *tables.summary(self.main()).markdown(), ""]
        lines += [*image(figures, "models"), *titled(describe.differences(self._differences()))]
        lines += [*(f"- {line}" for line in self.notes), "", *self.preview_lines()]
        if self.seeds:
            lines += titled(describe.seeds(self.seeds, self.shared(tables.SHOWN)))
        lines += [*self._stages(figures), *self._segments(figures), *image(figures, "recall")]
        lines += ["<details><summary>Every metric at every k</summary>", ""]
        for view in (*tables.by_cut(self.rows), tables.others(self.rows)):
            lines += titled(view)
        lines += [f"- {line}" for line in tables.legend(self.rows)]
        lines += ["", "</details>", "", self.lineage(), ""]
        return "\n".join(lines)

    def table(self) -> Group:
        """The main metrics for a terminal of 80 columns, the differences and what the stages did below them."""
        from rich.console import Group  # noqa: PLC0415  whoever writes files alone needs no terminal

        above = f"Protocol {self.protocol}: {self.about}\nMean over requests"
        parts: list[RenderableType] = [tables.narrow_summary(above, self.main()).rich()]
        parts += [describe.differences(self._differences()).rich(), *self.notes]
        if self.stages is not None:
            parts += ["", describe.sources(self.stages).rich(), *describe.stages_in_words(self.stages)]
        return Group(*parts, *self.preview_tables(examples=1))

    def full_table(self) -> Group:
        """All that was found for a terminal: as many tables beside each other as it has room for, 2 in 100."""
        from rich.columns import Columns  # noqa: PLC0415
        from rich.console import Group  # noqa: PLC0415

        cuts = Columns([view.rich(tight=True) for view in tables.by_cut(self.rows)], padding=(0, 2))
        parts: list[RenderableType] = [
            tables.others(self.rows).rich(),
            describe.differences(self._differences()).rich(),
        ]
        if self.seeds:
            parts.append(describe.seeds(self.seeds, self.shared(_FEW)).rich())
        if self.stages is not None:
            views = describe.sources(self.stages), describe.orders(self.stages), describe.filters(self.stages)
            parts += [view.rich() for view in views]
        parts += [view.rich() for view in describe.segments(self.segments, [row.model for row in self.judged()])]
        parts += self.preview_tables()
        below = [*self.notes, "", *tables.legend(self.rows), "", self.lineage()]
        return Group(f"{self._about()} Mean over requests.", "", cuts, *parts, *below)

    def _about(self) -> str:
        return f"Protocol: {self.protocol}. {self.about}, {self.videos:,} videos."

    def _differences(self) -> list[Comparison]:
        """The differences of what is in the main table."""
        shown = {row.model for row in self.main()}
        return [one for one in self.comparisons if one.model in shown]

    def _stages(self, figures: Mapping[str, str]) -> list[str]:
        if self.stages is None:
            return []
        lines = titled(describe.sources(self.stages))
        lines += [
            "Recall: share of the right videos that are among the candidates. Only it: share that no other source "
            "proposed.",
            "",
        ]
        lines += [*titled(describe.orders(self.stages)), *titled(describe.filters(self.stages))]
        return [
            *lines,
            *(f"- {line}" for line in describe.stages_in_words(self.stages)),
            "",
            *image(figures, "stages"),
        ]

    def _segments(self, figures: Mapping[str, str]) -> list[str]:
        lines = []
        for view in describe.segments(self.segments, [row.model for row in self.judged()]):
            lines += titled(view)
        if lines:
            lines += [
                "By the person: mean over the requests of the part. By the right video: share of the part's right "
                "videos that are among the first k.",
                "",
            ]
        return [*lines, *image(figures, "segments")]
