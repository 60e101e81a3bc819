"""Slates for a person."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from nextreel.serving import answers
from nextreel.serving.current import Serving
from nextreel.serving.edge import request_id
from nextreel.serving.incoming import RecommendationsIn
from nextreel.serving.outgoing import RecommendationsOut, WhyOut
from nextreel.serving.routes import NO_PAGE, NO_VIDEO, Count, Country, Cursor, Paged, PathId
from nextreel.serving.security import guarded
from nextreel.types import Request

SLATE: dict[int | str, dict[str, Any]] = {200: {"model": RecommendationsOut}, **NO_PAGE}


def router(serving: Serving) -> APIRouter:
    """Recommendations by GET and by POST, and why."""
    routes = guarded("read", "recommendations")

    @routes.get("/recommendations/{user_id:any}", responses=SLATE)
    def recommendations(
        user_id: PathId, n: Count = 10, country: Country = None, paged: Paged = False, cursor: Cursor = None
    ) -> Response:
        """The best n videos for the user now, or a list's next page; a user nobody knows gets a cold-start list."""
        system = serving()
        request = Request(answers.user(system, user_id), system.now(), n, request_id(), country=country)
        return answers.slate_reply(system, request, paged=paged, cursor=cursor)

    @routes.get("/explain/{user_id}/{video_id:any}", responses={200: {"model": WhyOut}, **NO_VIDEO})
    def explain(user_id: PathId, video_id: PathId, n: Count = 10, country: Country = None) -> Response:
        """Why the video is, or is not, among the n best for the user now."""
        system = serving()
        known = answers.video(system, video_id)
        request = Request(answers.user(system, user_id), system.now(), n, request_id(), country=country)
        return answers.why_reply(system, request, known)

    @routes.post("/recommendations", responses=SLATE)
    @routes.post("/recommend", operation_id="recommend_alias", responses=SLATE)
    def recommend(wanted: RecommendationsIn) -> Response:
        """The best videos for the user now, in a context, by filters, without the excluded ones.

        With a cursor the next page of a list, for which all of that is as it was for its first page.
        """
        system = serving()
        request = Request(
            user_id=answers.person(system, wanted.user_id, wanted.session_id),
            at=system.now(),
            k=wanted.num_recommendations,
            request_id=request_id(),
            session_id=wanted.session_id,
            device=wanted.context.device,
            country=wanted.context.country,
            surface=wanted.context.surface,
            categories=wanted.filters.categories,
            languages=wanted.filters.languages,
            max_maturity=wanted.filters.max_maturity,
            max_age_days=wanted.filters.max_age_days,
            exclude=answers.videos(system, wanted.exclude),
        )
        return answers.slate_reply(system, request, paged=wanted.paged, cursor=wanted.cursor)

    return routes
