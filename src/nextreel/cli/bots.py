"""`nextreel data bots`: who did more within a minute than a person can."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nextreel.cli import show

SHOWN = 20

Folder = Annotated[Path, typer.Argument(help="Folder with the data set.", metavar="DIR")]


def bots(
    folder: Folder,
    max_per_minute: Annotated[int, typer.Option(min=1, help="Events within a minute that a person may make.")] = 60,
) -> None:
    """Show users who did more within a minute than a person can; impressions do not count.

    `nextreel train --max-per-minute N` leaves them out.
    """
    from nextreel import data
    from nextreel.data import bots as rates

    dataset = data.load(folder)
    found = rates.suspects(dataset, max_per_minute)
    ids = dataset.events.user_ids
    lines = [
        {"user": ids[user], "within a minute": peak, "from": show.day(at), "events": events}
        for user, peak, at, events in zip(
            found.users[:SHOWN].tolist(), found.peak.tolist(), found.at.tolist(), found.events.tolist(), strict=False
        )
    ]
    if lines:
        show.out.print(show.rows(f"Above {max_per_minute} events within a minute", lines))
    share = int(found.events.sum()) / max(1, len(dataset.events))
    show.out.print(f"{len(found):,} of {len(ids):,} users, {share:.1%} of the events", soft_wrap=True)
