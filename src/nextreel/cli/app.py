"""The command `nextreel`: every subcommand by name, and how an error is told to a person."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from nextreel import __version__
from nextreel.cli import (
    batch,
    bots,
    data,
    demo,
    evaluate,
    features,
    historical,
    keys,
    openapi,
    process,
    recommend,
    releases,
    sagemaker,
    serve,
    train,
    tune,
    users,
    value,
    versions,
    videos,
)
from nextreel.types import NextreelError

USER_ERROR = 2  # what a shell takes for wrong use: something the person can put right

app = typer.Typer(
    name="nextreel",
    help="A video recommender in four stages: retrieve, filter, rank, order. "
    "Start with `nextreel demo`, or train on your own data: `nextreel train --data DIR`, then `nextreel serve`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # locals may hold what people watched
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version  # its callback has answered


app.command()(demo.demo)
data.app.command()(versions.versions)
data.app.command()(versions.diff)
data.app.command()(bots.bots)
app.add_typer(data.app, name="data")
app.command()(process.process)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(tune.tune)
app.command()(recommend.recommend)
app.command()(batch.batch)
app.command()(batch.score)
app.command()(serve.serve)
app.command()(openapi.openapi)
app.command()(sagemaker.sagemaker)
app.command()(value.value)
app.add_typer(releases.app, name="releases")
app.add_typer(videos.app, name="videos")
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="users")
features.app.command()(historical.history)
app.add_typer(features.app, name="features")


def main() -> None:
    """Runs the command line; an error that a person can act on is one red message and exit code 2."""
    try:
        app()
    except NextreelError as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/bold red] [red]{escape(str(error))}[/red]")
        sys.exit(USER_ERROR)
