"""Lists of videos that are nobody's in particular."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from nextreel.serving import answers
from nextreel.serving.current import Serving
from nextreel.serving.edge import request_id
from nextreel.serving.outgoing import VideosOut
from nextreel.serving.routes import NO_VIDEO, Count, Country, PathId
from nextreel.serving.security import guarded
from nextreel.types import Request


def router(serving: Serving) -> APIRouter:
    """Similar and trending videos."""
    routes = guarded("read", "discovery")

    @routes.get("/similar/{video_id:any}", responses={200: {"model": VideosOut}, **NO_VIDEO})
    def similar(video_id: PathId, n: Count = 10, country: Country = None) -> Response:
        """The n videos most like this one, of those that anybody may be shown now."""
        system = serving()
        known = answers.video(system, video_id)
        request = Request(user_id=None, at=system.now(), k=n, request_id=request_id(), country=country)
        return answers.list_reply(system, "similar", lambda: system.similar(known, request))

    @routes.get("/trending", responses={200: {"model": VideosOut}})
    def trending(n: Count = 10, country: Country = None) -> Response:
        """The n videos that most people watch now."""
        system = serving()
        request = Request(user_id=None, at=system.now(), k=n, request_id=request_id(), country=country)
        return answers.list_reply(system, "trending", lambda: system.trending(request))

    return routes
