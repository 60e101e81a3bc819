"""The app around a system; importing this module starts and loads nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI

from nextreel import __version__
from nextreel.serving import problems, security
from nextreel.serving.current import Holding, Serving
from nextreel.serving.edge import Edge
from nextreel.serving.openapi import DescribedApp, operation_id
from nextreel.serving.routes import (
    discovery,
    feedback,
    operations,
    people,
    recommendations,
    releases,
    sagemaker,
    videos,
)
from nextreel.settings import Settings


def openapi_text() -> str:
    """The OpenAPI document as it is kept in a file; it is that of every release, so none is opened."""
    document = create_app(cast("Serving", None), Settings(api_keys=())).openapi()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def create_app(serving: Serving, settings: Settings, *, container: bool = False) -> FastAPI:
    """The HTTP app of who serves, closed when it shuts down; other origins' scripts get no CORS headers.

    A `container` of SageMaker has nothing but the two routes of its contract, not even its own documentation.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # more threads than cores only add waiting: NumPy's work holds the interpreter for most of its time
        current_default_thread_limiter().total_tokens = settings.serving_threads
        serving.start()
        yield
        serving.close()

    app = DescribedApp(
        title="nextreel",
        summary="Video recommendations in four stages: retrieve, filter, rank, order.",
        version=__version__,
        lifespan=lifespan,
        generate_unique_id_function=operation_id,
        openapi_url=None if container else "/openapi.json",
    )
    app.add_middleware(Holding, serving=serving)
    app.add_middleware(Edge, max_body=settings.max_body_bytes)
    problems.install(app)
    routes = (recommendations, feedback, people, discovery, videos, operations, releases, sagemaker)
    for module in (sagemaker,) if container else routes:
        app.include_router(module.router(serving))
    security.install(app, settings)
    return app
