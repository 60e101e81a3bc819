"""`nextreel videos`: videos that come to the catalogue, or leave it, while servers run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nextreel.cli import show
from nextreel.cli.options import HOME, Home, opened
from nextreel.types import NextreelError

if TYPE_CHECKING:
    from nextreel.uploads import Upload

AT_ONCE = 500  # videos of one change

app = typer.Typer(help="Add videos to the catalogue that is served, or take them out.", no_args_is_help=True)


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="A .csv, .csv.gz or .parquet file, as a data set's `videos`.")],
    home: Home = HOME,
) -> None:
    """Add the videos of a file; those that are there already get their new record. Servers follow within a second."""
    uploads = _read(file)
    with opened(home) as system:
        cuts = range(0, len(uploads), AT_ONCE)
        told = [one for start in cuts for one in system.upload(uploads[start : start + AT_ONCE])]
    many = sum(is_new for _, is_new in told)
    show.out.print(f"{many:,} new videos, {len(told) - many:,} told anew")


@app.command()
def remove(
    video_id: Annotated[str, typer.Argument(help="The video's id.")],
    home: Home = HOME,
) -> None:
    """Take a video out of every list; what people did with it still counts. Servers follow within a second."""
    with opened(home) as system:
        system.withdraw(system.resolve_video(video_id))
    show.out.print(f"Withdrawn: {video_id}", markup=False)


def _read(file: Path) -> list[Upload]:
    """The file's records, checked as those of a data set are. Raises `DataError` that names every wrong cell."""
    from nextreel.data.intake import Intake, Reading
    from nextreel.data.schemas import VIDEOS
    from nextreel.data.tables import pieces
    from nextreel.uploads import Upload

    intake = Intake(file, Reading())
    rows = intake.table(VIDEOS, [pieces(file, file.name, intake.report, intake.sources)])
    intake.settle()
    if rows is None or rows.height == 0:
        raise NextreelError(f"Expected videos in {file}, got none.")
    known = [name for name in Upload.__struct_fields__ if name in rows.columns]

    def told(record: dict[str, Any]) -> dict[str, Any]:
        """What the record says; a cell that is empty says nothing."""
        said = {name: value for name, value in record.items() if value is not None}
        return {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}

    return [Upload(**told(record)) for record in rows.select(known).iter_rows(named=True)]
