"""`nextreel tune`: search the parameters of a ranker on the part of the data that is there to choose by."""

from __future__ import annotations

from functools import partial
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


def tune(
    *,
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder of the study: what rankers are judged on, and for each family every trial, `study.md` and "
            "`best.toml`. The same command goes on where it stopped.",
        ),
    ],
    family: Annotated[
        Literal["catboost", "lightgbm", "xgboost", "deepfm"] | None,
        typer.Option(help="Whose parameters are searched; the configured one where left out."),
    ] = None,
    metric: Annotated[
        Literal["ndcg@10", "recall@10", "hit_rate@10", "recall@100", "ndcg@100"],
        typer.Option(help="What is to become as high as it can, as a mean over all lists."),
    ] = "ndcg@10",
    trials: Annotated[
        int, typer.Option(min=0, help="So many more trials; the first is the configuration itself.")
    ] = 50,
    seeds: Annotated[
        int, typer.Option(min=1, help="Seeds that each trial is fitted with, unless it falls behind before.")
    ] = 3,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="MINUTES", help="No trial begins after so many minutes.")
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file that narrows what is searched or names other parameters."),
    ] = None,
    times: Annotated[
        int, typer.Option(min=1, help="Times, spread over the part that is judged, at which everybody is asked.")
    ] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what the search draws.")] = 42,
    config: ConfigFile = None,
    preset: PresetName = "default",
    on_error: OnError = "fail",
    quarantine: Quarantine = None,
    unknown_users: UnknownUsers = None,
    unknown_videos: UnknownVideos = None,
    unknown_channels: UnknownChannels = None,
) -> None:
    """Search the parameters of a ranker for what is best on the 10 % of the events before the last.

    All else is fitted once, on the first 80 %, and kept: a trial fits a ranker and orders the same candidates. The last
    10 % are never looked at. Ctrl-C leaves a study that goes on with the same command.
    """
    from nextreel.assembly import load_config
    from nextreel.evaluation import tuning
    from nextreel.folders import alone

    settings = load_config(config, preset)
    family = family or settings.ranker.family
    settings = settings.model_copy(update={"ranker": settings.ranker.model_copy(update={"family": family})})
    searched = tuning.space_of(settings, family, space)
    tuning.require()  # before the data are read
    dataset = loading.load(
        data,
        on_error=on_error,
        quarantine=quarantine,
        unknown_users=unknown_users,
        unknown_videos=unknown_videos,
        unknown_channels=unknown_channels,
    )
    terms = tuning.Terms(metric, seeds, trials, timeout, seed)
    with alone(out), bars() as progress:
        offered = tuning.prepare(dataset, settings, out, times, progress)
        judge = partial(offered.judge, metric=metric)
        found = tuning.search(searched, settings, judge, out / family, offered.version, terms, progress)
    show.out.print(found.view().rich())
    for more in (found.important(), found.failures()):
        if more is not None:
            show.out.print(more.rich())
    if found.interrupted:
        show.out.print("Interrupted: the same command goes on.")
    show.out.print(found.summary(), soft_wrap=True)
    show.out.print(f"Wrote {out / family / 'study.md'}, {out / family / 'best.toml'}", soft_wrap=True)
