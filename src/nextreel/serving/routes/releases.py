"""Releases: which there are, which one serves, and which shall."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Path
from starlette.responses import Response

from nextreel.backends import NotWritable
from nextreel.registry import CorruptRelease, NoSuchRelease, NotInProduction, Registry
from nextreel.serving import answers
from nextreel.serving.current import Serving
from nextreel.serving.outgoing import ModelsOut, ProblemOut, ServesOut
from nextreel.serving.problems import Problem
from nextreel.serving.security import guarded

CHANGED: dict[int | str, dict[str, Any]] = {
    200: {"model": ServesOut, "description": "what serves now"},
    404: {"model": ProblemOut, "description": "no such release, or none to go back to"},
    409: {"model": ProblemOut, "description": "a damaged release, one not in production, or a home only to read"},
}

Version: TypeAlias = Annotated[str, Path(max_length=256, description="a release, as GET /models names it")]


def router(serving: Serving) -> APIRouter:
    """The releases, promotion and the way back."""
    routes = APIRouter()
    reading, changing = guarded("read", "operations"), guarded("admin", "operations")

    @reading.get("/models", responses={200: {"model": ModelsOut}})
    def models() -> Response:
        """All releases with their stage and metrics, oldest first."""
        system = serving()
        releases = [
            {
                "version": info.id,
                "created_at": answers.timestamp(info.created_at),
                "stage": info.stage,
                "metrics": info.metrics,
            }
            for info in system.registry.list()
        ]
        production = system.registry.production()
        return answers.reply({"serving": system.release, "production": production, "models": releases})

    @changing.post("/models/{version}/promote", responses=CHANGED)
    def promote(version: Version) -> Response:
        """Puts the release into production, once every file of it is found to be as published.

        The worker that answers serves it from now on, the others within about a second of having opened it; requests
        under way are answered by the release that they began with.
        """
        return _changed(serving, lambda registry: registry.promote(version, at=time.time()))

    @changing.post("/models/rollback", responses=CHANGED)
    def rollback() -> Response:
        """Puts the release that was in production before into production again."""
        return _changed(serving, lambda registry: registry.rollback(at=time.time()))

    @changing.post("/models/{version}/rollback", responses=CHANGED)
    def rollback_from(version: Version) -> Response:
        """The same, as long as the release is the one in production: who asks twice does not go back twice."""
        return _changed(serving, lambda registry: registry.rollback(at=time.time(), instead_of=version))

    routes.include_router(reading)
    routes.include_router(changing)
    return routes


def _changed(serving: Serving, change: Callable[[Registry], object]) -> Response:
    """Which release serves after the change of the registry."""
    registry = serving().registry
    try:
        change(registry)
    except NoSuchRelease as error:
        raise Problem(404, str(error)) from error
    except (NotInProduction, CorruptRelease, NotWritable) as error:
        raise Problem(409, str(error)) from error
    serving.look(again=True)
    answer = {"production": registry.production(), "serving": serving.newest.release, "problem": serving.problem}
    return answers.reply(answer)
