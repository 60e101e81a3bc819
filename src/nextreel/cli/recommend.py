"""`nextreel recommend`: one person's list on the terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

import typer

from nextreel.cli import show
from nextreel.cli.options import HOME, At, FeatureLog, Home, moment, opened


def recommend(
    user: Annotated[str, typer.Argument(help="The person's id; one that nobody has gets a newcomer's list.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many videos.")] = 10,
    at: At = "end",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Tell what each feature added to every score.")] = False,
    feature_log: FeatureLog = None,
    home: Home = HOME,
) -> None:
    """Recommend videos to one person, each with its source and the reason."""
    from nextreel.serving import batch

    when = moment(at)
    with opened(home, feature_log=feature_log) as system:
        user_id = system.resolve_user(user)
        answer = system.recommend(replace(batch.request_of(system, user_id, when, k), explain=explain))
        if as_json:
            typer.echo(json.dumps(show.slate_json(system, answer), indent=2))
        else:
            show.out.print(show.slate(system, answer))
            for table in show.explanation(system, answer):
                show.out.print(table)
