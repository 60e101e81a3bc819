"""The contract of a SageMaker endpoint; its errors have the shape that contract asks for."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from nextreel.serving import answers
from nextreel.serving.current import Serving
from nextreel.serving.edge import request_id
from nextreel.serving.incoming import InvocationIn
from nextreel.serving.outgoing import InvocationOut, MissingOut, PingOut
from nextreel.serving.security import guarded
from nextreel.types import Request


def router(serving: Serving) -> APIRouter:
    """Ping and invocations."""
    routes = APIRouter(tags=["sagemaker"])
    closed = guarded("read", "sagemaker")

    @routes.get("/ping", responses={200: {"model": PingOut}})
    async def ping() -> Response:
        """200 while the container is up."""
        return answers.reply({"status": "ok"})

    @closed.post(
        "/invocations",
        responses={
            200: {"model": InvocationOut},
            404: {"model": MissingOut, "description": "unknown user, or nothing to recommend"},
        },
    )
    def invocations(wanted: InvocationIn) -> Response:
        """The best k videos for a user who is known."""
        system = serving()
        user_id = answers.user(system, wanted.user_id)
        if not system.store.knows(user_id):
            return answers.reply({"detail": f"User '{user_id}' not found"}, 404)
        slate = answers.ask(system, Request(user_id, system.now(), wanted.k, request_id()))
        if not slate.video_ids:
            return answers.reply({"detail": f"No recommendations for user '{user_id}'"}, 404)
        scored = zip(slate.video_ids, slate.value.tolist(), strict=True)
        items = [{"videoId": video_id, "score": round(score, answers.DIGITS)} for video_id, score in scored]
        return answers.reply({"userId": user_id, "recommendations": items})

    routes.include_router(closed)
    return routes
