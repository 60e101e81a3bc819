"""What protocol exposures found: for every objective the metrics of all models, differences, and reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from nextreel.evaluation import describe, tables
from nextreel.evaluation.answers import Bin
from nextreel.evaluation.found import Found, image, titled
from nextreel.evaluation.rows import Comparison, Row
from nextreel.evaluation.tables import View, cell, digits, title

if TYPE_CHECKING:
    from rich.console import Group

WHOLE, BEFORE, VALUE = "nextreel", "before calibration", "by value"
METRICS = ("auc", "gauc", "ndcg@10", "log_loss", "ece")


@dataclass(frozen=True)
class Outcome:
    """How well one objective was foretold."""

    objective: str
    rate: float  # mean label of the exposures
    positives: int  # exposures whose label is above one half
    people: int  # who have exposures with and without it
    rows: Sequence[Row]  # the ranker's own head first, then its raw score, the value formula, the baselines
    comparisons: Sequence[Comparison]  # of the head, from the best baseline
    calibrated: Sequence[Bin]
    uncalibrated: Sequence[Bin]


@dataclass(frozen=True, kw_only=True)
class ExposureResults(Found):
    """Everything one run of protocol exposures found."""

    people: int
    visits: int
    exposures: int
    outcomes: Sequence[Outcome]

    @property
    def about(self) -> str:
        """Exposures, visits and people."""
        return f"{self.exposures:,} exposures in {self.visits:,} visits of {self.people:,} people"

    @property
    def counted(self) -> str:
        """The number of exposures."""
        return f"{self.exposures:,} exposures"

    def outcome(self, objective: str) -> Outcome:
        """What was found of an objective. Raises KeyError, with the objectives there are, for any other name."""
        for one in self.outcomes:
            if one.objective == objective:
                return one
        raise KeyError(f"Expected one of {[one.objective for one in self.outcomes]}; got {objective!r}.")

    def fitted(self) -> dict[str, Mapping[str, float]]:
        """The metrics of the ranker's own head for each objective."""
        return {one.objective: one.rows[0].metrics for one in self.outcomes}

    def to_markdown(self, figures: Mapping[str, str] = MappingProxyType({})) -> str:
        """What was shown, all metrics, differences, reliability bin by bin, the preview and the lineage.

        `figures` has the file of each plot (see `found.FIGURES`), relative to the text's own.
        """
        lines = [f"Protocol: {self.protocol}. {self.about}.", ""]
        for view in (self._answers(), self._metrics(self.outcomes)):
            lines += titled(view)
        lines += [*image(figures, "order"), *titled(self._differences())]
        lines += [*(f"- {line}" for line in (*self.notes, *self._legend())), ""]
        if self.seeds:
            lines += titled(describe.seeds(self.seeds, self.shared(METRICS)))
        lines += [*self.preview_lines(), *image(figures, "reliability")]
        lines += ["<details><summary>Reliability, bin by bin</summary>", ""]
        for one in self.outcomes:
            lines += titled(_reliability(one))
        return "\n".join([*lines, "</details>", "", self.lineage(), ""])

    def table(self) -> Group:
        """What was shown, the metrics and the differences for a terminal of 80 columns."""
        from rich.console import Group  # noqa: PLC0415  whoever writes files alone needs no terminal

        views = self._answers(), self._metrics(self.outcomes), self._differences()
        about = f"Protocol {self.protocol}: {self.about}"
        return Group(about, *(view.rich() for view in views), *self.notes, *self.preview_tables(examples=1))

    def full_table(self) -> Group:
        """All that was found for a terminal."""
        from rich.console import Group  # noqa: PLC0415

        views = [self._answers(), self._metrics(self.outcomes), self._differences()]
        if self.seeds:
            views.append(describe.seeds(self.seeds, self.shared(METRICS)))
        views += [_reliability(one) for one in self.outcomes]
        parts = [*(view.rich() for view in views), *self.preview_tables()]
        about = f"Protocol {self.protocol}: {self.about}"
        return Group(about, *parts, *self.notes, "", *self._legend(), "", self.lineage())

    def _answers(self) -> View:
        lines = [[one.objective, f"{one.positives:,}", f"{one.rate:.2%}", f"{one.people:,}"] for one in self.outcomes]
        return View("What people answered", ["objective", "positives", "rate", "people with both"], lines)

    def _metrics(self, outcomes: Sequence[Outcome]) -> View:
        lines, bold = [], []
        for one in outcomes:
            for number, row in enumerate(one.rows):
                lines.append([one.objective if number == 0 else "", row.model, *(cell(row, name) for name in METRICS)])
                bold.append(row.kind == "pipeline")
        heads = ["objective", "model", *map(title, METRICS)]
        return View("How well each objective was foretold", heads, lines, bold, names=2)

    def _differences(self) -> View:
        lines = [
            [
                f"{one.objective} {title(found.metric)}",
                found.against,
                f"{found.difference:+.4f}",
                f"{found.low:+.4f} to {found.high:+.4f}",
                found.verdict,
            ]
            for one in self.outcomes
            for found in one.comparisons
        ]
        heads = ["metric", "best baseline", "difference", "95 % interval", "verdict"]
        return View("nextreel less the best baseline", heads, lines, names=2)

    def _legend(self) -> list[str]:
        return [f"{title(name)}: {tables.MEANINGS[name.partition('@')[0]]}" for name in METRICS if name != "ndcg@10"]


def _reliability(one: Outcome) -> View:
    """The bins of an objective before and after calibration; there may be fewer of one than of the other."""
    lines = []
    for number in range(max(len(one.uncalibrated), len(one.calibrated))):
        line = [str(number + 1)]
        for bins in (one.uncalibrated, one.calibrated):
            if number < len(bins):
                found = bins[number]
                line += f"{found.rows:,}", digits(found.predicted), digits(found.observed)
            else:
                line += "", "", ""
        lines.append(line)
    heads = ["bin", *(f"{what}, {when}" for when in ("raw", "calibrated") for what in ("rows", "told", "true"))]
    return View(f"Reliability of {one.objective}", heads, lines)
