"""`nextreel train`: from a folder of interactions to a promoted release."""

from __future__ import annotations

from typing import Annotated

import typer

from nextreel.cli import loading, show
from nextreel.cli.options import (
    HOME,
    ConfigFile,
    Data,
    Home,
    OnError,
    PresetName,
    Quarantine,
    UnknownChannels,
    UnknownUsers,
    UnknownVideos,
    opened,
)
from nextreel.cli.progress import bars

MaxPerMinute = Annotated[
    int | None,
    typer.Option(min=1, help="Leave out the events of users who did more within a minute (`nextreel data bots`)."),
]


def train(
    data: Data,
    config: ConfigFile = None,
    preset: PresetName = "default",
    home: Home = HOME,
    max_per_minute: MaxPerMinute = None,
    on_error: OnError = "fail",
    quarantine: Quarantine = None,
    unknown_users: UnknownUsers = None,
    unknown_videos: UnknownVideos = None,
    unknown_channels: UnknownChannels = None,
) -> None:
    """Train a recommender, publish it as a release and promote it; prints the release's id.

    Choices (epochs, trees) are made on the last part of the data; the release is then fitted on all of it.
    The state of every person is left in the home, and later events move it on.
    """
    from nextreel import training
    from nextreel.assembly import load_config
    from nextreel.data import bots
    from nextreel.declared import DeclaredValue

    settings = load_config(config, preset)
    dataset = loading.load(
        data,
        on_error=on_error,
        quarantine=quarantine,
        unknown_users=unknown_users,
        unknown_videos=unknown_videos,
        unknown_channels=unknown_channels,
    )
    if max_per_minute is not None:
        suspects = bots.suspects(dataset, max_per_minute)
        dataset = dataset.without(suspects.users)
        show.out.print(f"Left out {len(suspects):,} users with {int(suspects.events.sum()):,} events", soft_wrap=True)
    with bars() as progress:
        release = training.train(dataset, settings, home, progress)
    show.out.print(release)
    if DeclaredValue(home).moved():  # one is declared, for releases before this one
        with opened(home, release) as system:
            show.unfollowed(system)
