"""Who somebody is: sessions that turn out to be an account, and people who want to be forgotten."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Path
from starlette.responses import Response

from nextreel.backends import NotWritable, StillRead
from nextreel.serving import answers
from nextreel.serving.current import Serving
from nextreel.serving.edge import request_id
from nextreel.serving.incoming import MergeIn
from nextreel.serving.outgoing import MergeOut, ProblemOut, ReceiptOut, RecommendationsOut
from nextreel.serving.problems import Problem
from nextreel.serving.routes import Count, Country, Cursor, Paged, PathId
from nextreel.serving.security import guarded
from nextreel.types import Request, session_person

SessionId: TypeAlias = Annotated[
    str, Path(min_length=1, max_length=256, description="what the client calls the session")
]

FIXED: dict[str, Any] = {"model": ProblemOut, "description": "this process can only read the home"}
BUSY: dict[str, Any] = {"model": ProblemOut, "description": "somebody reads a file that is to be rewritten; repeat it"}


def router(serving: Serving) -> APIRouter:
    """Lists of a session, its merge into an account, and the end of all that is known of a person."""
    routes = APIRouter()
    reading, writing, ruling = guarded("read", "people"), guarded("write", "people"), guarded("admin", "people")

    @reading.get("/sessions/{session_id}/recommendations", responses={200: {"model": RecommendationsOut}})
    def session_recommendations(
        session_id: SessionId, n: Count = 10, country: Country = None, paged: Paged = False, cursor: Cursor = None
    ) -> Response:
        """The best n videos for an anonymous session now, or a list's next page, by what was done in it."""
        system, person = serving(), session_person(session_id)
        request = Request(person, system.now(), n, request_id(), session_id=session_id, country=country)
        return answers.slate_reply(system, request, paged=paged, cursor=cursor)

    @writing.post("/sessions/{session_id}/merge", responses={200: {"model": MergeOut}})
    def merge(session_id: SessionId, given: MergeIn) -> Response:
        """What was done in the session is the user's from now on; what is done in it later is a new session's."""
        system = serving()
        user_id = answers.user(system, given.user_id)
        merged = system.merge(session_id, user_id, system.now())
        return answers.reply({"user_id": user_id, "merged": merged, "request_id": request_id()})

    @ruling.delete("/users/{user_id:any}", responses={200: {"model": ReceiptOut}, 409: FIXED, 503: BUSY})
    def forget(user_id: PathId) -> Response:
        """Removes all that is known of the user, and of sessions merged into them; what comes later is a newcomer's."""
        system = serving()
        try:
            receipt = system.forget(answers.user(system, user_id))
        except StillRead as error:
            raise Problem(503, str(error), {"Retry-After": "10"}) from error
        except NotWritable as error:
            raise Problem(409, str(error)) from error
        return answers.reply(
            {
                "receipt_id": receipt.receipt_id,
                "erased_at": receipt.erased_at,
                "digest": receipt.digest,
                "counts": dict(receipt.counts),
                "releases": list(receipt.releases),
                "request_id": request_id(),
            }
        )

    for part in (reading, writing, ruling):
        routes.include_router(part)
    return routes
