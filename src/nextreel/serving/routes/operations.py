"""What operators and their machines ask."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from nextreel import __version__
from nextreel.serving import answers
from nextreel.serving.current import Serving
from nextreel.serving.outgoing import AliveOut, ExperimentsOut, FeaturesOut, HealthOut, ReadyOut
from nextreel.serving.routes import PathId
from nextreel.serving.security import guarded
from nextreel.telemetry import render_metrics

WORST_LAST = ("healthy", "degraded", "unhealthy")


def router(serving: Serving) -> APIRouter:
    """Health and metrics, features of a person, experiments."""
    routes = APIRouter(tags=["operations"])
    closed = guarded("read", "operations")

    @routes.get(
        "/health",
        responses={200: {"model": HealthOut}, 503: {"model": HealthOut, "description": "unhealthy"}},
    )
    def health() -> Response:
        """Every part's state; 503 when one without which nothing can be answered is down."""
        report = _report(serving)
        return answers.reply(report, 503 if report["status"] == "unhealthy" else 200)

    @routes.get("/health/live", responses={200: {"model": AliveOut}})
    async def live() -> Response:
        """200 as long as the process answers at all; when it does not, restart it."""
        return answers.reply({"status": "alive"})

    @routes.get(
        "/health/ready",
        responses={200: {"model": ReadyOut}, 503: {"model": ReadyOut, "description": "send no requests here now"}},
    )
    def ready() -> Response:
        """200 when recommendations can be answered."""
        unhealthy = _report(serving)["status"] == "unhealthy"
        return answers.reply({"status": "unready" if unhealthy else "ready"}, 503 if unhealthy else 200)

    @routes.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """Counters and histograms in Prometheus' text format."""
        body, content_type = render_metrics()
        return Response(body, headers={"content-type": content_type})

    @closed.get("/features/{user_id:any}", responses={200: {"model": FeaturesOut}})
    def features(user_id: PathId) -> Response:
        """What the store knows of the person now, as the features that the release computes of a person alone."""
        system = serving()
        return answers.features_reply(system, answers.user(system, user_id))

    @closed.get("/ab/status", responses={200: {"model": ExperimentsOut}})
    def experiments() -> Response:
        """The experiments that are running: none, as nobody is assigned to variants."""
        return answers.reply({"assignment": "off", "experiments": []})

    routes.include_router(closed)
    return routes


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
