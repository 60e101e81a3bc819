"""`nextreel releases`: what was published, and which release serves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextreel.cli import show
from nextreel.cli.options import HOME, Home

if TYPE_CHECKING:
    from nextreel.registry import Registry

app = typer.Typer(help="List, show, promote, roll back and pack releases.", no_args_is_help=True)

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


@app.command()
def pack(
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("model.tar.gz"),
    release: Annotated[str | None, typer.Option(help="Release; by default the one in production.")] = None,
    home: Home = HOME,
) -> None:
    """Pack a release, and the states of people that training left, as SageMaker's archive of a model."""
    from nextreel.serving import sagemaker

    show.out.print(f"Packed {sagemaker.archive(home, out, release)} as {out}")
