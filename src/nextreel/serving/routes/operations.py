"""What operators and their machines ask."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from nextreel import __version__
from nextreel.serving import answers
from nextreel.serving.current import Serving
from nextreel.serving.schemas import AliveOut, HealthOut, ModelsOut, ReadyOut
from nextreel.serving.security import guarded
from nextreel.telemetry import render_metrics

if TYPE_CHECKING:
    from nextreel.system import System

WORST_LAST = ("healthy", "degraded", "unhealthy")


def router(serving: Serving) -> APIRouter:
    """Health, metrics and releases."""
    routes = APIRouter(tags=["operations"])
    closed = guarded("read", "operations")

    @routes.get(
        "/health",
        responses={200: {"model": HealthOut}, 503: {"model": HealthOut, "description": "unhealthy"}},
    )
    def health() -> Response:
        """Every part's state; 503 when one without which nothing can be answered is down."""
        system = serving()
        report = _report(system)
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
        system = serving()
        unhealthy = _report(system)["status"] == "unhealthy"
        return answers.reply({"status": "unready" if unhealthy else "ready"}, 503 if unhealthy else 200)

    @routes.get("/metrics", response_class=PlainTextResponse)
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
                "created_at": _timestamp(datetime.fromtimestamp(info.created_at, UTC)),
                "stage": info.stage,
                "metrics": info.metrics,
            }
            for info in system.registry.list()
        ]
        production = system.registry.production()
        return answers.reply({"serving": system.release, "production": production, "models": releases})

    routes.include_router(closed)
    return routes


def _report(system: System) -> dict[str, Any]:
    checks = [
        {"name": name, "status": status, "latency_ms": round(latency, 3)} for name, status, latency in system.health()
    ]
    return {
        "status": max((check["status"] for check in checks), key=WORST_LAST.index, default="healthy"),
        "version": __version__,
        "timestamp": _timestamp(datetime.now(UTC)),
        "checks": checks,
    }


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
