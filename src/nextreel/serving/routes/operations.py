"""What operators and their machines ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Path
from starlette.responses import Response

from nextreel import __version__
from nextreel.registry import CorruptRelease, NoSuchRelease, NotInProduction, Registry
from nextreel.serving import answers
from nextreel.serving.current import Serving
from nextreel.serving.problems import Problem
from nextreel.serving.routes import PathId
from nextreel.serving.schemas import ExperimentsOut, FeaturesOut, HealthOut, ModelsOut, ProblemOut, ServesOut
from nextreel.serving.security import guarded
from nextreel.telemetry import render_metrics

WORST_LAST = ("healthy", "degraded", "unhealthy")
CHANGED: dict[int | str, dict[str, Any]] = {
    200: {"model": ServesOut},
    404: {"model": ProblemOut, "description": "no such release, or none to go back to"},
    409: {"model": ProblemOut, "description": "the release is damaged, or not the one to roll back"},
}

Version: TypeAlias = Annotated[str, Path(max_length=256, description="a release, as GET /models names it")]


def router(serving: Serving) -> APIRouter:
    """Health, metrics and releases."""
    routes = APIRouter(tags=["operations"])
    closed, changing = guarded("read", "operations"), guarded("admin", "operations")

    @routes.get("/health", responses={200: {"model": HealthOut}, 503: {"model": HealthOut}})
    def health() -> Response:
        """Every part's state; 503 when one without which nothing can be answered is down."""
        report = _report(serving)
        return answers.reply(report, 503 if report["status"] == "unhealthy" else 200)

    @routes.get("/health/live")
    async def live() -> Response:
        """200 as long as the process answers at all; when it does not, restart it."""
        return answers.reply({"status": "alive"})

    @routes.get("/health/ready", responses={503: {"description": "send no requests here now"}})
    def ready() -> Response:
        """200 when recommendations can be answered."""
        unhealthy = _report(serving)["status"] == "unhealthy"
        return answers.reply({"status": "unready" if unhealthy else "ready"}, 503 if unhealthy else 200)

    @routes.get("/metrics")
    def metrics() -> Response:
        """Counters and histograms in Prometheus' text format."""
        body, content_type = render_metrics()
        return Response(body, headers={"content-type": content_type})

    @closed.get("/models", responses={200: {"model": ModelsOut}})
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

    @closed.get("/features/{user_id:path}", responses={200: {"model": FeaturesOut}})
    def features(user_id: PathId) -> Response:
        """What the store knows of the person now, as the features that the release computes of a person alone."""
        system = serving()
        return answers.features_reply(system, answers.user(system, user_id))

    @closed.get("/ab/status", responses={200: {"model": ExperimentsOut}})
    def experiments() -> Response:
        """The experiments that are running: none, as nobody is assigned to variants."""
        return answers.reply({"assignment": "off", "experiments": []})

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

    routes.include_router(closed)
    routes.include_router(changing)
    return routes


def _changed(serving: Serving, change: Callable[[Registry], object]) -> Response:
    """Which release serves after the change of the registry."""
    registry = serving().registry
    try:
        change(registry)
    except NoSuchRelease as error:
        raise Problem(404, str(error)) from error
    except (NotInProduction, CorruptRelease) as error:
        raise Problem(409, str(error)) from error
    serving.look(again=True)
    answer = {"production": registry.production(), "serving": serving.newest.release, "problem": serving.problem}
    return answers.reply(answer)


def _report(serving: Serving) -> dict[str, Any]:
    release = ("release", "healthy" if serving.problem is None else "degraded", 0.0)
    checks = [
        {"name": name, "status": status, "latency_ms": round(latency, 3)}
        for name, status, latency in (release, *serving().health())
    ]
    return {
        "status": max((check["status"] for check in checks), key=WORST_LAST.index, default="healthy"),
        "version": __version__,
        "timestamp": answers.timestamp(time.time()),
        "checks": checks,
    }
