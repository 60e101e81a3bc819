"""`nextreel batch` and `nextreel score`: many lists, or scores of given pairs, from a file to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nextreel.cli import show, tables
from nextreel.cli.options import HOME, At, Home, Source, moment, opened
from nextreel.cli.progress import bars

Out = Annotated[Path, typer.Option("--out", help="File to write: .parquet or .csv.")]


def batch(
    users: Annotated[str, typer.Option(help="`all`, a table with the column user_id, or a file of one id a line.")],
    out: Out,
    k: Annotated[int, typer.Option("-k", min=1, help="Videos for each person.")] = 100,
    at: At = "end",
    source: Source = None,
    home: Home = HOME,
) -> None:
    """Write the k best videos of many people: user_id, rank (from 1), video_id, score.

    The lists come from the same code that answers requests.
    """
    from nextreel.serving.batch import top_n

    when = moment(at)
    asked = None if users == "all" else tables.read_ids(Path(users))
    with opened(home) as system, bars() as progress:
        chosen = None if asked is None else [system.resolve_user(user_id) for user_id in asked]
        table = top_n(system, chosen, k, when, source, progress)
    tables.write(table, out)
    show.out.print(f"Wrote {table.num_rows:,} rows to {out}", soft_wrap=True)


def score(
    pairs: Annotated[Path, typer.Option(help="Table (.parquet or .csv) with user_id, video_id and timestamp.")],
    out: Out,
    home: Home = HOME,
) -> None:
    """Write what the recommender thinks of given pairs: one column for each objective, and the joined value."""
    from nextreel.serving.batch import score_pairs

    asked = tables.read(pairs, ("user_id", "video_id", "timestamp"), text=("user_id", "video_id"))
    with opened(home) as system, bars() as progress:
        table = score_pairs(system, asked, progress)
    tables.write(table, out)
    show.out.print(f"Wrote {table.num_rows:,} rows to {out}", soft_wrap=True)
