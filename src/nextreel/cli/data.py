"""`nextreel data`: make, check, fetch and import data sets."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nextreel.cli import show
from nextreel.cli.options import OnError, Quarantine, UnknownChannels, UnknownUsers, UnknownVideos
from nextreel.cli.progress import bars
from nextreel.cli.show import out, rows
from nextreel.types import NextreelError

app = typer.Typer(help="Make, check, fetch and import data sets.", no_args_is_help=True)

REFUSED = 2  # exit code of `check` when something must be put right

Out = Annotated[Path, typer.Option("--out", help="Folder to write; made when it is not there.")]


class Importable(StrEnum):
    """The foreign layouts that can be imported."""

    KUAIRAND_PURE = "kuairand-pure"


@app.command()
def synth(
    out_dir: Out,
    users: Annotated[int, typer.Option(min=1, help="How many people.")] = 1_000,
    videos: Annotated[int, typer.Option(min=1, help="How many videos.")] = 500,
    interactions: Annotated[int, typer.Option(min=1, help="How many things they do, shown videos included.")] = 10_000,
    days: Annotated[int, typer.Option(min=1, help="In how many days, up to 2026-01-01.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same world.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="How many at once; the world is the same for any number.")] = 2,
) -> None:
    """Write a synthetic world: people with known tastes, videos with titles a person can read, and what they did.

    The truth is written too, to DIR/world, so that a recommender can be judged by it. Memory stays bounded: 100 million
    interactions of a million people take 4 GB of disk while they are made.
    """
    from nextreel.data import synthetic

    with bars() as progress:
        synthetic.write(out_dir, users, videos, interactions, seed, days, processes, progress)
    out.print(
        f"Wrote {users:,} users, {videos:,} videos and {interactions:,} interactions to {out_dir}", soft_wrap=True
    )


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder with the data set.", metavar="DIR")],
    on_error: OnError = "fail",
    quarantine: Quarantine = None,
    unknown_users: UnknownUsers = None,
    unknown_videos: UnknownVideos = None,
    unknown_channels: UnknownChannels = None,
) -> None:
    """Read every row and say what is wrong: file, row, column, what was expected and what came.

    Ends with exit code 2 when a row was refused; rows that are set aside (--on-error quarantine) are not.
    """
    from nextreel import data

    reading = data.Reading(
        on_error=on_error,
        quarantine=quarantine,
        unknown_users=unknown_users,
        unknown_videos=unknown_videos,
        unknown_channels=unknown_channels,
    )
    report = data.check(folder, reading)
    for part in show.report(report):
        out.print(part, markup=False, soft_wrap=isinstance(part, str))
    if not report.ok:
        raise typer.Exit(REFUSED)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="The data set: ml-1m.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to write.")],
) -> None:
    """Download a public data set from its publisher and verify its checksum.

    MovieLens may be used for research but not passed on: keep it out of repositories and images.
    """
    from nextreel.data import movielens

    if name != "ml-1m":
        raise NextreelError(f"Expected the name of a data set that can be fetched (ml-1m), got {name!r}.")
    folder = movielens.fetch(to)
    out.print(f"Wrote {name} to {folder}. Next: nextreel train --data {folder}", soft_wrap=True)


@app.command("import")
def import_(
    kind: Annotated[Importable, typer.Argument(help="The layout of the files.", metavar="KIND")],
    folder: Annotated[Path, typer.Argument(help="Folder with the files as they were published.", metavar="DIR")],
    out_dir: Out,
    history: Annotated[
        bool,
        typer.Option(
            "--history",
            help="Also read what people saw before the log, though only the newest of it has a time, which all get.",
        ),
    ] = False,
    on_error: OnError = "fail",
    quarantine: Quarantine = None,
) -> None:
    """Turn a public data set (KIND: kuairand-pure) into a folder that every command reads.

    Prints how many rows of each file became what. KuaiRand-Pure is CC BY-SA 4.0; so is what is made from it.
    """
    from nextreel.data import Reading, kuairand

    made = kuairand.write(folder, out_dir, Reading(on_error=on_error, quarantine=quarantine), history=history)
    lines = ({"file": a.file, "rows": a.rows, "became": a.became, "count": a.count} for a in made.counts)
    out.print(rows(f"What the rows of {kind.value} became", lines))
    out.print(f"Wrote {made.out}. Next: nextreel data check {made.out}", soft_wrap=True)
