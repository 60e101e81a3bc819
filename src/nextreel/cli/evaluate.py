"""`nextreel evaluate`: train on the parts of a protocol and measure against its baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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

if TYPE_CHECKING:
    from nextreel.assembly import Config
    from nextreel.data import Dataset
    from nextreel.evaluation import Found


def evaluate(
    *,
    data: Data,
    protocol: Annotated[
        Literal["frozen", "live", "leave-last-out", "exposures"],
        typer.Option(
            help="`frozen`: the first 80 % of the events train, 10 % choose, and one list for each person must hold "
            "for the rest. `live`: each row of that rest is a request at its own time, answered from all before it. "
            "`leave-last-out`: everybody's last row, as in papers; models then learn from later rows of other people. "
            "`exposures`: what people were shown in the last 10 %, ordered by how likely each answer is; for data with "
            "impressions."
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
        int,
        typer.Option(
            min=1,
            help="With `live`: ask at each n-th row alone; with `exposures`: judge each n-th visit. 5 is a fifth of "
            "the time.",
        ),
    ] = 1,
    value: Annotated[
        str | None,
        typer.Option(
            metavar="FORMULA",
            help="Preview another value formula, such as `relevance + 2 * like`: the same models order by it as well, "
            "and what would move is told.",
        ),
    ] = None,
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
    difference from the best baseline and its interval, then at the stage that loses most. Protocol `exposures` judges
    probabilities instead: `GAUC` tells how well each person's exposures are ordered, `ECE` how far what is told lies
    from what comes true.
    """
    from nextreel.assembly import load_config
    from nextreel.evaluation import report as reports
    from nextreel.evaluation.preview import reads_more

    if report:
        reports.prepare(report, with_plots=True)
    if json_file:
        reports.prepare(json_file.parent, with_plots=False)
    settings = load_config(config, preset)
    if value is not None:
        reads_more(value)  # a formula that cannot be read is refused before the data are
    dataset = loading.load(
        data,
        on_error=on_error,
        quarantine=quarantine,
        unknown_users=unknown_users,
        unknown_videos=unknown_videos,
        unknown_channels=unknown_channels,
    )
    with bars() as progress:
        results = _run(dataset, protocol, settings, seed, source, every=every, value=value, progress=progress)
    show.out.print(results.full_table() if full else results.table())
    written = [*(reports.write(results, json_file) if json_file else ())]
    if report:
        written += reports.write_report(results, report)
    if written:
        show.out.print(f"Wrote {', '.join(map(str, written))}", soft_wrap=True)


def _run(
    dataset: Dataset,
    protocol: Literal["frozen", "live", "leave-last-out", "exposures"],
    settings: Config,
    seeds: list[int] | None,
    source: str | None,
    **options: Any,
) -> Found:
    """What the protocol finds, once for each of the seeds if there are any."""
    from nextreel import evaluation
    from nextreel.evaluation import seeds as of_seeds

    if protocol != "exposures":
        if seeds:
            return of_seeds.evaluate_seeds(dataset, protocol, settings, seeds=seeds, source=source, **options)
        return evaluation.evaluate(dataset, protocol, settings, source=source, **options)
    if source is not None:
        raise evaluation.EvaluationError(
            f"Expected the whole pipeline for protocol exposures, got {source} alone. Hint: no `--source`."
        )
    if seeds:
        return of_seeds.over(lambda one: evaluation.evaluate_exposures(dataset, one, **options), settings, seeds)
    return evaluation.evaluate_exposures(dataset, settings, **options)
