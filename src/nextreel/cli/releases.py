"""`nextreel releases`: what was published, and which release serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nextreel.cli import show
from nextreel.cli.options import HOME, Home

if TYPE_CHECKING:
    from pathlib import Path

    from nextreel.registry import Registry

app = typer.Typer(help="List, show, promote and roll back releases.", no_args_is_help=True)

Release = Annotated[str, typer.Argument(help="The release's id, as `nextreel releases list` prints it.")]


def _registry(home: Path) -> Registry:
    from nextreel.registry import Registry

    return Registry(home)


@app.command("list")
def list_releases(home: Home = HOME) -> None:
    """List the published releases with their stage and metrics."""
    found = [
        {"release": r.id, "created": show.day(r.created_at), "stage": r.stage, "metrics": show.metrics(r.metrics)}
        for r in _registry(home).list()
    ]
    show.out.print(show.rows("Releases", found) if found else f"No release in {home}. Next: nextreel train --data DIR")


@app.command("show")
def show_release(release: Release, home: Home = HOME) -> None:
    """Print the manifest of a release: files and checksums, configuration, metrics and lineage."""
    show.out.print_json(data=_registry(home).show(release))


@app.command()
def promote(release: Release, home: Home = HOME) -> None:
    """Make this the release that serves."""
    _registry(home).promote(release)
    show.out.print(f"Promoted {release}")


@app.command()
def rollback(home: Home = HOME) -> None:
    """Make the release that served before this one serve again."""
    show.out.print(f"Promoted {_registry(home).rollback()}")
