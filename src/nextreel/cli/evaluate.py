"""`nextreel evaluate`: train on the parts of a protocol and measure against its baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from nextreel.cli import loading, show
from nextreel.cli.options import (
    ConfigFile,
    Data,
    OnError,
    PresetName,
    Quarantine,
    UnknownChannels,
    UnknownUsers,
    UnknownVideos,
)
from nextreel.cli.progress import bars


def evaluate(
    *,
    data: Data,
    protocol: Annotated[
        Literal["frozen", "live", "leave-last-out"],
        typer.Option(
            help="`frozen`: the first 80 % of the events train, 10 % choose, and one list for each person must hold "
            "for the rest. `live`: each row of that rest is a request at its own time, answered from all before it. "
            "`leave-last-out`: everybody's last row, as in papers; models then learn from later rows of other people."
        ),
    ] = "frozen",
    source: Annotated[
        str | None,
        typer.Option(
            help="Judge this source alone, such as `two_tower` or `als`, instead of the whole pipeline; only it is "
            "trained. The report then has no stages."
        ),
    ] = None,
    every: Annotated[
        int, typer.Option(min=1, help="With `live`: ask at each n-th row alone. 5 is a fifth of the time.")
    ] = 1,
    seed: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            help="Seed of the models instead of those of the configuration. Given several times, all is fitted once "
            "for each, and the spread is told: what is smaller than it is luck.",
        ),
    ] = None,
    config: ConfigFile = None,
    preset: PresetName = "default",
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Print all: every metric at every k and what it says, stages, segments, seeds, where it comes from.",
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write DIR/PROTOCOL.json, DIR/PROTOCOL.md and its plots as SVG. Needs the extra `report`.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write all results here as JSON, and as Markdown (.md) without plots beside it."),
    ] = None,
    on_error: OnError = "fail",
    quarantine: Quarantine = None,
    unknown_users: UnknownUsers = None,
    unknown_videos: UnknownVideos = None,
    unknown_channels: UnknownChannels = None,
) -> None:
    """Print how well the recommender and every baseline foresee what people really watched.

    Every request is answered from the whole catalogue, without what the person has watched; metrics are means over
    requests. Nothing is published. `recall@k` tells what a list finds, `NDCG@10` also how far up; look first at the
    difference from the best baseline and its interval, then at the stage that loses most.
    """
    from nextreel import evaluation
    from nextreel.assembly import load_config
    from nextreel.evaluation import report as reports
    from nextreel.evaluation.seeds import evaluate_seeds

    if report:
        reports.prepare(report, with_plots=True)
    if json_file:
        reports.prepare(json_file.parent, with_plots=False)
    settings = load_config(config, preset)
    dataset = loading.load(
        data,
        on_error=on_error,
        quarantine=quarantine,
        unknown_users=unknown_users,
        unknown_videos=unknown_videos,
        unknown_channels=unknown_channels,
    )
    with bars() as progress:
        if seed:
            results = evaluate_seeds(
                dataset, protocol, settings, seeds=seed, source=source, every=every, progress=progress
            )
        else:
            results = evaluation.evaluate(dataset, protocol, settings, source=source, every=every, progress=progress)
    show.out.print(results.full_table() if full else results.table())
    written = [*(reports.write(results, json_file) if json_file else ())]
    if report:
        written += reports.write_report(results, report)
    if written:
        show.out.print(f"Wrote {', '.join(map(str, written))}", soft_wrap=True)
