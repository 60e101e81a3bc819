"""Tables of metrics, and how people read them: the same view becomes Markdown and a table of a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table

    from nextreel.evaluation.rows import Row

SHOWN = ("recall@10", "ndcg@10", "hit_rate@10", "recall@100", "mrr", "map@100", "coverage@10", "diversity@10")
SECONDS = "seconds"  # the column that is no metric
NOTHING = "-"
TITLES = {
    "ndcg": "NDCG",
    "hit_rate": "HitRate",
    "mrr": "MRR",
    "map": "MAP",
    "auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log loss",
    "ece": "ECE",
    "answered": "answered",
}
MEANINGS = {
    "recall": "right videos among the first k, divided by all right ones",
    "ndcg": "sum of 1 / log2(place + 1) over the right videos among the first k, divided by the most it can be",
    "hit_rate": "share of requests with a right video among the first k",
    "precision": "right videos among the first k, divided by k",
    "mrr": "1 / place of the first right video of the whole list, 0 without one",
    "map": "sum of the precision at each right video among the first k, divided by the most it can be",
    "coverage": "share of the videos that are among the first k of any list",
    "gini": "how unequally often videos are among the first k: 0 all alike, near 1 one takes all",
    "diversity": "1 - mean cosine of the categories of every two videos among the first k",
    "novelty": "mean of -log2 of the share of the past watches that the first k had, in bits",
    "auc": "how often an exposure with the answer has a higher score than one without, equals counted half",
    "gauc": "the same within each person, mean weighted by their exposures over people who have both",
    "log_loss": "mean of -ln of the probability of what came true, in nats; less is better",
    "ece": "distance of what was told from what came true, mean over bins of about as many rows; less is better",
}


@dataclass(frozen=True)
class View:
    """One table: its title, what stands above each column, and the cells line by line."""

    title: str
    heads: Sequence[str]
    lines: Sequence[Sequence[str]]
    bold: Sequence[bool] = ()  # for each line; none where left out
    names: int = 1  # so many columns at the left hold names, the others numbers
    prose: Sequence[int] = ()  # columns whose cells may take several lines, so that no other is cut short

    def markdown(self) -> list[str]:
        """The lines of the table as Markdown, without the title."""
        rule = "|" + "---|" * self.names + "---:|" * (len(self.heads) - self.names)
        lines = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in self.lines)  # of a title, say
        return [f"| {' | '.join(self.heads)} |", rule, *(f"| {line} |" for line in lines)]

    def rich(self, caption: str | None = None, *, tight: bool = False) -> Table:
        """The table for a terminal; one blank between the columns if tight, else two."""
        from rich.box import SIMPLE_HEAD  # noqa: PLC0415  whoever writes files alone needs no terminal
        from rich.markup import escape  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        padding = (0, 0 if tight else 1, 0, 0)
        table = Table(title=self.title, caption=caption, caption_justify="left", box=SIMPLE_HEAD, padding=padding)
        for number, head in enumerate(self.heads):
            broken = head[:1] + head[1:].replace("@", "\n@")  # a narrow column for a long name
            side: Literal["left", "right"] = "left" if number < self.names else "right"
            prose = number in self.prose
            table.add_column(broken, justify=side, no_wrap=not prose, overflow="fold" if prose else "ellipsis")
        for line, bold in zip(self.lines, self.bold or [False] * len(self.lines), strict=True):
            table.add_row(*map(escape, line), style="bold" if bold else None)
        return table


def of_rows(about: str, rows: Sequence[Row], columns: Mapping[str, str]) -> View:
    """One line for each model, in bold what is no baseline; `columns` has each metric with what stands above it."""
    lines = [[row.model, *(cell(row, name) for name in columns)] for row in rows]
    return View(about, ["model", *columns.values()], lines, [row.kind != "baseline" for row in rows])


def summary(rows: Sequence[Row]) -> View:
    """The main metrics on one line for each model, for a file."""
    return of_rows("", rows, {name: title(name) for name in SHOWN} | {SECONDS: SECONDS})


def narrow_summary(about: str, rows: Sequence[Row]) -> View:
    """The main metrics that 80 columns of a terminal have room for."""
    return of_rows(about, rows, {name: title(name) for name in SHOWN if name != "map@100"})


def by_cut(rows: Sequence[Row]) -> list[View]:
    """A view of each metric that the rows have at several k, with one column for each k."""
    return [
        of_rows(f"{title(stem)}@k", rows, {name: name.removeprefix(stem) for name in names})
        for stem, names in _families(rows).items()
        if len(names) > 1
    ]


def others(rows: Sequence[Row]) -> View:
    """A view of the metrics that the rows have at one k only, or for the whole list, and the seconds."""
    names = [names[0] for names in _families(rows).values() if len(names) == 1]
    return of_rows("Other metrics", rows, {name: title(name) for name in names} | {SECONDS: SECONDS})


def legend(rows: Sequence[Row]) -> list[str]:
    """What each metric of the rows says, one line each."""
    return [f"{title(stem)}: {MEANINGS[stem]}" for stem in _families(rows) if stem in MEANINGS]


def title(name: str) -> str:
    """A metric's name as people write it.

    >>> title("ndcg@10"), title("recall@100"), title("mrr")
    ('NDCG@10', 'Recall@100', 'MRR')
    """
    stem, at, k = name.partition("@")
    return TITLES.get(stem, stem.capitalize()) + at + k


def cell(row: Row, name: str) -> str:
    """A row's metric as text, `-` where it has none."""
    return f"{row.seconds:.1f}" if name == SECONDS else digits(row.metrics.get(name))


def digits(value: float | None) -> str:
    """The value with four digits, `-` for none and NaN.

    >>> digits(0.25), digits(None)
    ('0.2500', '-')
    """
    return NOTHING if value is None or math.isnan(value) else f"{value:.4f}"


def _families(rows: Iterable[Row]) -> dict[str, list[str]]:
    """The metrics of the rows by what stands before the @, in the order in which they were measured."""
    families: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for row in rows for name in row.metrics):
        families.setdefault(name.partition("@")[0], []).append(name)
    return families
