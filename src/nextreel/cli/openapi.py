"""`nextreel openapi`: the document from which clients are generated."""

from __future__ import annotations

import typer


def openapi() -> None:
    """Print the OpenAPI document of the HTTP API, the one that a server gives at /openapi.json."""
    from nextreel.serving.app import openapi_text

    typer.echo(openapi_text(), nl=False)
