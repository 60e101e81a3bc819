"""`nextreel evaluate`: train on the parts of a protocol and measure against its baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from nextreel.cli import loading, show
from nextreel.cli.options import ConfigFile, Data, OnError, Quarantine, UnknownChannels, UnknownUsers, UnknownVideos
from nextreel.cli.progress import bars


def evaluate(
    data: Data,
    protocol: Annotated[
        Literal["frozen", "live", "leave-last-out"],
        typer.Option(
            help="`frozen`: first 80 % of the time trains, 10 % chooses, and one list must hold for the rest. `live`: "
            "each row of that rest is a request at its own time. `leave-last-out`: everybody's last row, as in papers."
        ),
    ] = "frozen",
    source: Annotated[
        str | None, typer.Option(help="Judge this source alone, such as `two_tower`, instead of the whole pipeline.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="With `live`: ask at each n-th row alone.")] = 1,
    config: ConfigFile = None,
    full: Annotated[bool, typer.Option("--full", help="Print every metric at every k, and what each says.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all results here as JSON, and as Markdown (.md) beside it.")
    ] = None,
    on_error: OnError = "fail",
    quarantine: Quarantine = None,
    unknown_users: UnknownUsers = None,
    unknown_videos: UnknownVideos = None,
    unknown_channels: UnknownChannels = None,
) -> None:
    """Print how well the recommender and every baseline foresee what people really watched.

    Full ranking over the whole catalogue; nothing is published.
    """
    from nextreel import evaluation
    from nextreel.assembly import load_config

    settings = load_config(config)
    dataset = loading.load(
        data,
        on_error=on_error,
        quarantine=quarantine,
        unknown_users=unknown_users,
        unknown_videos=unknown_videos,
        unknown_channels=unknown_channels,
    )
    with bars() as progress:
        results = evaluation.evaluate(dataset, protocol, settings, source=source, every=every, progress=progress)
    show.out.print(results.full_table() if full else results.table())
    if json_file:
        show.out.print(f"Wrote {' and '.join(map(str, evaluation.write(results, json_file)))}", soft_wrap=True)
