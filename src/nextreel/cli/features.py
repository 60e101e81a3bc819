"""`nextreel features`: what the ranker reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from nextreel.cli.options import HOME, Home
from nextreel.cli.progress import bars
from nextreel.cli.show import out
from nextreel.types import NextreelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nextreel.parity import Column, Parity

DIFFERENT = 1  # exit code when served and recomputed numbers differ

app = typer.Typer(help="Show what the ranker reads.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Show what the ranker reads."""


@app.command("list")
def list_features(
    markdown: Annotated[bool, typer.Option("--markdown", help="A Markdown page instead of a table.")] = False,
    home: Annotated[
        Path | None, typer.Option("--home", help="Show how much the ranker of its release relies on each.")
    ] = None,
    release: Annotated[str | None, typer.Option("--release", help="That release; the one in production.")] = None,
) -> None:
    """List every feature: what it describes, its meaning and unit, what it reads, and where it is used.

    Every one is a column of `nextreel process` and `nextreel features history`; a release uses those that its data
    tell apart. With --home the table says which these are, and how much of the ranker's decision each makes.
    """
    from nextreel import features
    from nextreel.features.describe import describe, page

    if markdown:
        from nextreel.processing import specs

        typer.echo(page(features.choose(timed=True), features.TIMED) + specs.page(), nl=False)
        return
    used = None if home is None else _importance(home, release)
    table = Table(title=f"{len(features.choose(timed=True))} features; * needs timestamps", show_lines=False)
    for name in ("feature", "of", "what it is", "unit", "reads", *(["in the ranker"] if used else [])):
        table.add_column(name, overflow="fold")
    for feature in features.choose(timed=True):
        one = describe(feature)
        name = one.name + ("*" if feature in features.TIMED else "")
        weight = [] if used is None else [f"{used[one.name]:.2f} %" if one.name in used else "not used"]
        table.add_row(name, one.of, one.meaning, one.unit, ", ".join(one.reads), *weight)
    out.print(table)


def _importance(home: Path, release: str | None) -> Mapping[str, float]:
    """How much of the change of the ranker's score each column makes, in percent, in a release that has a ranker."""
    from nextreel.assembly import load_ranker
    from nextreel.opening import production
    from nextreel.ranking.ranker import RELEVANCE
    from nextreel.registry import Registry

    release = release or production(home)
    ranker = load_ranker(Registry(home).open(release))
    if ranker is None:
        raise NextreelError(f"Expected a release with a ranker, got {release} without.")
    return ranker.head(RELEVANCE).model.importance


@app.command()
def verify(
    log: Annotated[
        Path, typer.Option("--log", help="Feature log: the folder given to --feature-log, or a file of it.")
    ],
    release: Annotated[
        str | None, typer.Option("--release", help="The release that served; the one in production if left out.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Replay only the first so many requests.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result here, too.")] = None,
    home: Home = HOME,
) -> None:
    """Replay logged requests and compare the rows that the ranker read with rows computed now.

    Exit code 1 when a number differs. Whole numbers must be equal, others may differ by one part in a million.
    """
    from nextreel import parity
    from nextreel.opening import production
    from nextreel.settings import get_settings

    settings = get_settings()
    places = {"state_url": settings.shared_url, "log_url": settings.event_log_url}
    with bars() as progress:
        found = parity.verify(home, release or production(home), log, limit, progress, **places)
    out.print(_comparison(found))
    for line in _summary(found):
        out.print(line, markup=False, soft_wrap=True)
    if json_file:
        json_file.write_text(json.dumps(found.to_json(), indent=2) + "\n", encoding="utf-8")
    if found.rate > 0:
        raise typer.Exit(DIFFERENT)


def _comparison(found: Parity) -> Table:
    """A line for each column, those that differ first and in red."""
    table = Table(title=f"Served against recomputed rows of release {found.release}", title_justify="left")
    table.add_column("column")
    for name in ("compared", "mismatches", "rate", "bit-exact", "largest difference"):
        table.add_column(name, justify="right")

    def rate(column: Column) -> float:
        return -column.rate

    for column in sorted(found.columns, key=rate):
        table.add_row(
            column.name,
            f"{column.compared:,}",
            f"{column.mismatches:,}",
            f"{column.rate:.6f}",
            f"{column.exact / max(column.compared, 1):.4%}",
            f"{column.largest:.3g}",
            style="red" if column.mismatches else None,
        )
    return table


def _summary(found: Parity) -> list[str]:
    lines = [
        f"Mismatch rate {found.rate:.6f} over {found.requests:,} requests with {found.rows:,} rows; "
        f"{found.exact:.4%} of the numbers are equal to the last bit."
    ]
    if found.moved:
        lines.append(
            f"{found.moved:,} more requests read counters while an event moved them, or an older catalogue than others "
            "did by then: they are not compared."
        )
    if found.dropped:
        lines.append(f"{found.dropped:,} requests were not logged: the writer could not keep up, or not write.")
    lines += [
        f"{path}: the last {lost:,} bytes are no whole answer and are left out." for path, lost in found.lost.items()
    ]
    return lines
