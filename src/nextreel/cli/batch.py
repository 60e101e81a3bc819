"""`nextreel batch` and `nextreel score`: many lists, vectors, or scores of given pairs, into files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nextreel.cli import show, tables
from nextreel.cli.options import HOME, At, Home, Moments, Source, moment, opened
from nextreel.cli.progress import bars
from nextreel.types import NextreelError

if TYPE_CHECKING:
    from nextreel.progress import Progress
    from nextreel.system import System
    from nextreel.types import UserId

Out = Annotated[
    Path,
    typer.Option(
        "--out",
        help="A file (.parquet or .csv) that is written at once, or a folder of Parquet parts: a batch that was "
        "stopped goes on there with the parts that are missing.",
    ),
]
K = 100


def batch(
    out: Out,
    users: Annotated[
        str | None, typer.Option(help="`all` (default), a table with the column user_id, or a file of one id a line.")
    ] = None,
    k: Annotated[int | None, typer.Option("-k", min=1, help=f"Videos for each person.  [default: {K}]")] = None,
    at: At = "end",
    source: Source = None,
    vectors: Annotated[
        Literal["videos", "users"] | None,
        typer.Option(help="Instead of lists, the vectors that the two towers give to all videos, or to people."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the batch that is in the folder.")] = False,
    part_size: Annotated[int, typer.Option(min=1, help="People or videos in each part of a folder.")] = 5_000,
    home: Home = HOME,
) -> None:
    """Write the k best videos of many people: user_id, rank (from 1), video_id, score.

    The lists come from the same code that answers requests. With --vectors, the columns are user_id or video_id,
    vector and trends; the towers' score is the inner product of two vectors plus that of two trends.
    """
    if vectors is not None and (k is not None or source is not None):
        raise NextreelError("Expected --vectors alone, got -k or --source, which are about lists.")
    if vectors == "videos" and users is not None:
        raise NextreelError("Expected --vectors videos alone, got --users: it is about all videos of the release.")
    when = moment(at)
    asked = None if users in (None, "all") else tables.read_ids(Path(str(users)))
    parts = out.is_dir() or not out.suffix
    if not parts and out.suffix not in ({".parquet", ".csv"} if vectors is None else {".parquet"}):
        raise NextreelError(
            f"Expected --out to be a folder, or a file that ends in .parquet{'' if vectors else ' or .csv'}, got {out}."
        )
    with opened(home) as system, bars() as progress:
        chosen = None if asked is None else [system.resolve_user(user_id) for user_id in asked]
        if parts:
            told = _to_parts(system, out, chosen, k, (at, when), source, vectors, overwrite, part_size, progress)
        else:
            told = _to_file(system, out, chosen, k, when, source, vectors, progress)
    show.out.print(told, soft_wrap=True)


def _to_file(
    system: System,
    out: Path,
    users: list[UserId] | None,
    k: int | None,
    when: Moments,
    source: str | None,
    vectors: Literal["videos", "users"] | None,
    progress: Progress,
) -> str:
    """Writes the batch into one file; what there is to say of it."""
    if vectors is None:
        from nextreel.serving.batch import top_n

        table = top_n(system, users, k or K, when, source, progress)
    else:
        from nextreel.serving import batch as batches

        table = batches.vectors(system, vectors, users, when, progress)
    tables.write(table, out)
    return f"Wrote {table.num_rows:,} rows to {out}"


def _to_parts(
    system: System,
    out: Path,
    users: list[UserId] | None,
    k: int | None,
    at: tuple[str, Moments],
    source: str | None,
    vectors: Literal["videos", "users"] | None,
    overwrite: bool,
    part_size: int,
    progress: Progress,
) -> str:
    """Writes the missing parts of the batch into the folder; what there is to say of them."""
    from nextreel.serving.batch import Asked, write

    asked = Asked("lists", at[0], k or K, source) if vectors is None else Asked(vectors, at[0])
    done = write(system, asked, out, users, at[1], overwrite=overwrite, part_size=part_size, progress=progress)
    if not done.made:
        return (
            f"{out} is complete already: {done.rows:,} rows in {done.parts:,} parts. Hint: --overwrite makes it anew."
        )
    kept = f", {done.parts - done.made:,} of them from before" if done.made < done.parts else ""
    return f"Wrote {done.rows:,} rows to {out} in {done.parts:,} parts{kept}"


def score(
    pairs: Annotated[
        Path,
        typer.Option(
            help="Table (.parquet or .csv) with user_id, video_id, timestamp; device, location, surface where known."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write: .parquet or .csv.")],
    home: Home = HOME,
) -> None:
    """Write what the recommender thinks of given pairs: one column for each objective, and the joined value."""
    from nextreel.serving.batch import score_pairs

    asked = tables.read(pairs, ("user_id", "video_id", "timestamp"), text=("user_id", "video_id"))
    with opened(home) as system, bars() as progress:
        table = score_pairs(system, asked, progress)
    tables.write(table, out)
    show.out.print(f"Wrote {table.num_rows:,} rows to {out}", soft_wrap=True)
