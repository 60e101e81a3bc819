"""`nextreel demo`: the whole story in one command, from a world that is made up to recommendations over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextreel.cli import show
from nextreel.cli.options import HOME, ConfigFile, Home, opened
from nextreel.cli.progress import bars
from nextreel.cli.serve import Host, Port

if TYPE_CHECKING:
    from nextreel.types import Events, UserId


def demo(
    data: Annotated[
        Path | None, typer.Option("--data", help="Use the data in this folder instead of a synthetic world.")
    ] = None,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Stop before serving.")] = False,
    users: Annotated[int, typer.Option(min=1, help="People in the synthetic world.")] = 1_000,
    videos: Annotated[int, typer.Option(min=1, help="Videos in the synthetic world.")] = 800,
    interactions: Annotated[int, typer.Option(min=1, help="Interactions in the synthetic world.")] = 60_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic world.")] = 0,
    host: Host = "127.0.0.1",
    port: Port = 8_000,
    config: ConfigFile = None,
    home: Home = HOME,
) -> None:
    """Make a world, train, evaluate against the baselines, recommend to one person, then serve.

    Nothing outside the home is written.
    """
    from nextreel import evaluation, training
    from nextreel.assembly import load_config
    from nextreel.data import load, synthetic

    settings = load_config(config)
    if data is None:
        data = home / "data" / f"synthetic-{users}-{videos}-{interactions}-{seed}"
        with step(f"Making a synthetic world in {data}"):
            synthetic.write(data, users, videos, interactions, seed)
    with step(f"Reading {data}"):
        dataset = load(data)
    with step("Training a release"), bars() as progress:
        release = training.train(dataset, settings, home, progress)
    with step("Evaluating on the last tenth of the time, against the baselines"), bars() as progress:
        results = evaluation.evaluate(dataset, "frozen", settings, progress=progress)
    show.out.print(results.table())
    with step(f"Recommending with release {release}"):
        recommend(home, release, typical_user(dataset.events))
    if not no_serve:
        from nextreel.serving import run

        show.out.print(f"Serving on http://{host}:{port}/docs (stop with Ctrl-C)")
        run.serve(home, host, port, 1, "end")  # the world's last event may lie years back


def recommend(home: Path, release: str, user_id: UserId) -> None:
    """Prints one person's history and the list that the release makes for them just after the last event known."""
    from nextreel.types import Request

    with opened(home, release) as system:
        answer = system.recommender.recommend(Request(user_id, system.data_end))
        show.out.print(show.history(system, system.store.user(user_id)))
        show.out.print(show.slate(system, answer))


def typical_user(events: Events) -> UserId:
    """The person whose number of events is nearest to the median of all who did anything; the first of equals."""
    import numpy as np

    counts = np.bincount(events.user, minlength=len(events.user_ids)).astype(np.float64)
    counts[counts == 0] = np.nan
    chosen = events.user_ids[int(np.nanargmin(np.abs(counts - np.nanmedian(counts))))]
    user_id: UserId = chosen.item() if isinstance(chosen, np.generic) else chosen
    return user_id


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says what begins, and how long it took when it is done."""
    show.out.print(f"[bold]{what}[/bold]")
    began = time.perf_counter()
    yield
    show.out.print(f"  done in {time.perf_counter() - began:.1f} s")
