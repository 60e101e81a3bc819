"""`nextreel sagemaker`: the container of a SageMaker endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sagemaker(
    model: Annotated[
        Path | None, typer.Option(help="Folder that holds a home; SM_MODEL_DIR, or /opt/ml/model, by default.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; whoever reaches it is answered.")] = "0.0.0.0",  # noqa: S104  SageMaker lets in only whom it knows
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="SAGEMAKER_BIND_TO_PORT, or 8080.")] = None,
) -> None:
    """Answer GET /ping and POST /invocations without keys, as the command `serve` does in a SageMaker image."""
    from nextreel.serving import sagemaker

    sagemaker.serve(model, host, port)
