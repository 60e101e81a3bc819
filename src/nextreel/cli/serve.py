"""`nextreel serve`: the promoted release over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from nextreel.cli.options import HOME, FeatureLog, Home

Host = Annotated[str, typer.Option(help="Address to listen on; others than loopback need API keys.")]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on.")]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8_000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer.")] = 1,
    clock: Annotated[
        Literal["wall", "end"],
        typer.Option(help="`wall`: it is now. `end`: time goes on from the last event known, for data of years ago."),
    ] = "wall",
    feature_log: FeatureLog = None,
    feature_log_share: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Part of the requests that the feature log keeps; 0.1.")
    ] = None,
    home: Home = HOME,
) -> None:
    """Serve recommendations over HTTP; /docs describes the endpoints.

    Feedback posted to /feedback is on disk before it is answered, and counts in the next list. What is not given here
    is as the environment says: FEATURE_LOG, FEATURE_LOG_SHARE, API_KEYS and so on.
    """
    from nextreel.serving import run

    run.serve(home, host, port, workers, clock, feature_log, feature_log_share)
