"""`nextreel keys`: who may ask the server what."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Make API keys.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `new` a name of its own while it is the only command."""


@app.command()
def new(
    scope: Annotated[
        list[str],
        typer.Option(help="`read`: lists; `write`: feedback; `admin`: changes of videos, releases and people."),
    ],
    name: Annotated[str, typer.Option(help="Who will use it; logs say who asked.")],
) -> None:
    """Print a new key, once, and the entry of API_KEYS that lets it in; the entry is no secret."""
    from nextreel import keys

    key, kept = keys.new(name, scope)
    typer.echo(f"Key of {name}, for the header X-API-Key; it is kept nowhere:", err=True)
    typer.echo(key)
    typer.echo("Entry of API_KEYS, after a comma where there are others:", err=True)
    typer.echo(kept.entry())
