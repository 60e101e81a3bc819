"""`nextreel data versions` and `nextreel data diff`: which data set a release or a folder holds, and what changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextreel.cli import show
from nextreel.cli.options import HOME, Home
from nextreel.types import NextreelError

if TYPE_CHECKING:
    from nextreel.data import Manifest

Place = Annotated[str, typer.Argument(help="A folder with a data set, or the id of a release.")]


def versions(
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders with data sets.", metavar="[DIR]...")] = None,
    home: Home = HOME,
) -> None:
    """List the versions of data sets: those of the folders, and those the releases in the home were made from.

    A version is a hash of the files' content: the same data have the same version wherever they lie.
    """
    from nextreel.registry import Registry

    places = [*map(str, folders or []), *(release.id for release in Registry(home).list())]
    found = [_line(place, _manifest(place, home)) for place in places]
    show.out.print(
        show.rows("Versions", found) if found else f"No release in {home}. Hint: name folders with data sets."
    )


def diff(before: Place, after: Place, home: Home = HOME) -> None:
    """Show in what two data sets differ: files, counts, columns, span of time. Each is a folder or a release."""
    from nextreel.data import versions as made

    changes = made.diff(_manifest(before, home), _manifest(after, home))
    lines = [
        {"what": one.what, before: _shown(one.what, one.before), after: _shown(one.what, one.after)} for one in changes
    ]
    show.out.print(show.rows("Changes", lines) if lines else "The same data.")


def _manifest(place: str, home: Path) -> Manifest:
    """The manifest of a folder's data set, or of the one that a release was made from."""
    from nextreel.data import Manifest, load
    from nextreel.registry import Registry

    if Path(place).is_dir():
        return load(Path(place)).manifest
    registry = Registry(home)
    if place not in {release.id for release in registry.list()}:
        raise NextreelError(
            f"Expected a folder with a data set or the id of a release in {home}, got {place!r}. "
            "Hint: nextreel releases list"
        )
    lineage = registry.show(place).get("lineage", {})
    if "dataset" not in lineage:
        raise NextreelError(f"Expected a release that names its data set, got {place} without one.")
    return Manifest.from_json(lineage["dataset"])


def _line(place: str, manifest: Manifest) -> dict[str, str]:
    """One row of the table of versions."""
    counts = {name: f"{manifest.counts.get(name, 0):,}" for name in ("interactions", "users", "videos")}
    return {
        "version": manifest.version,
        **counts,
        "from": show.day(manifest.start),
        "to": show.day(manifest.end),
        "of": place,
    }


def _shown(what: str, value: str | float | None) -> str:
    """A value as a person reads it: times as dates, numbers with their thousands, nothing for what is not there."""
    if value is None:
        return ""
    if what.endswith(" event") and isinstance(value, float):
        return show.day(value, "%Y-%m-%d %H:%M:%S")
    return f"{value:,}" if isinstance(value, int) else str(value)
