"""`nextreel process`: from interactions to the rows that models are trained on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextreel.cli import loading
from nextreel.cli.options import OnError, Quarantine, UnknownChannels, UnknownUsers, UnknownVideos
from nextreel.cli.progress import bars
from nextreel.cli.show import out, rows
from nextreel.types import NextreelError

if TYPE_CHECKING:
    from nextreel.processing import Processed


class Engine(StrEnum):
    """Where the rows are made."""

    LOCAL = "local"
    SPARK = "spark"


def process(
    *,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder to write; a run that was stopped goes on there.")],
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", "--data", help="Folder with the data set: tables, or a MovieLens folder."),
    ] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Make a synthetic world instead.")] = False,
    users: Annotated[int, typer.Option(min=1, help="People of the synthetic world.")] = 1_000,
    videos: Annotated[int, typer.Option(min=1, help="Videos of the synthetic world.")] = 500,
    interactions: Annotated[int, typer.Option(min=1, help="Interactions of the synthetic world.")] = 10_000,
    seed: Annotated[int | None, typer.Option(help="Decides the world and which negatives are drawn.")] = None,
    negative_ratio: Annotated[
        int | None, typer.Option(min=0, help="Negatives beside each liked video of the ranker's rows (3).")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML or TOML of parameters; see configs/processing.yaml.")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="This machine's cores, or Apache Spark.")] = Engine.LOCAL,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes of the local engine; all cores.")] = None,
    home: Annotated[Path | None, typer.Option("--home", help="Folder of the release to retrieve with.")] = None,
    release: Annotated[
        str | None, typer.Option("--release", help="Retrieve some negatives with it; `production` for that of --home.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over other rows that are there.")] = False,
    on_error: OnError = "fail",
    quarantine: Quarantine = None,
    unknown_users: UnknownUsers = None,
    unknown_videos: UnknownVideos = None,
    unknown_channels: UnknownChannels = None,
) -> None:
    """Write rows to train on: liked pairs for the two towers, labelled candidates for the ranker.

    Rows are made by a replay that reads before it applies: every feature is what serving would have seen. Encoders
    are fitted on the training part alone. The same data, parameters and seed give the same rows on either engine.
    """
    from nextreel.processing import ProcessingPipeline, load_params

    if synthetic == (data_dir is not None):
        raise NextreelError("Expected either --data-dir DIR or --synthetic. Hint: nextreel process --help")
    if synthetic and (home is not None or release is not None):
        raise NextreelError("Expected --home and --release with --data-dir alone: a new world has no release.")
    params = load_params(config, negative_ratio=negative_ratio, seed=seed)
    chosen = _release(home, release)
    with bars() as progress:
        pipeline = ProcessingPipeline(
            out_dir, params, engine.value, workers, progress, cache=out_dir.parent / ".nextreel-embeddings"
        )
        if data_dir is None:
            done = pipeline.run_synthetic(users, videos, interactions, params.seed, overwrite=overwrite)
        else:
            dataset = loading.load(
                data_dir,
                on_error=on_error,
                quarantine=quarantine,
                unknown_users=unknown_users,
                unknown_videos=unknown_videos,
                unknown_channels=unknown_channels,
            )
            done = pipeline.run(dataset, home, chosen, overwrite=overwrite)
    _show(done)


def _release(home: Path | None, release: str | None) -> str | None:
    """The id of the release to retrieve with, None without one."""
    if release is None:
        return None
    if home is None:
        raise NextreelError("Expected --home with --release: the folder that holds it.")
    from nextreel.opening import production

    return production(home) if release == "production" else release


def _show(done: Processed) -> None:
    lines = (
        {"table": table, **{split: f"{count:,}" for split, count in splits.items()}, "all": f"{sum(splits.values()):,}"}
        for table, splits in done.rows.items()
    )
    out.print(rows("Rows", lines))
    out.print(rows("The ranker's rows", ({"source": name, "rows": f"{n:,}"} for name, n in done.sources.items())))
    took = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in done.seconds.items()) or "all was there"
    out.print(f"Wrote {done.out} ({took})", soft_wrap=True)
