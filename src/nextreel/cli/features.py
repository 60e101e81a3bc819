"""`nextreel features`: what the ranker reads."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from nextreel.cli.show import out

app = typer.Typer(help="Show what the ranker reads.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Show what the ranker reads."""


@app.command("list")
def list_features(
    markdown: Annotated[bool, typer.Option("--markdown", help="A Markdown page instead of a table.")] = False,
) -> None:
    """List every feature: what it describes, its meaning and unit, and what it reads."""
    from nextreel import features
    from nextreel.features.describe import describe, page

    if markdown:
        typer.echo(page(features.choose(timed=True), features.TIMED), nl=False)
        return
    table = Table(title=f"{len(features.choose(timed=True))} features; * needs timestamps", show_lines=False)
    for name in ("feature", "of", "what it is", "unit", "reads"):
        table.add_column(name, overflow="fold")
    for feature in features.choose(timed=True):
        one = describe(feature)
        table.add_row(
            one.name + ("*" if feature in features.TIMED else ""), one.of, one.meaning, one.unit, ", ".join(one.reads)
        )
    out.print(table)
