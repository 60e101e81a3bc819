"""What people do, as it happens."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from nextreel.serving import answers
from nextreel.serving.edge import request_id
from nextreel.serving.schemas import FeedbackIn, FeedbackOut
from nextreel.serving.security import guarded
from nextreel.telemetry import count_event
from nextreel.types import Event, Kind

if TYPE_CHECKING:
    from nextreel.system import System


def router(system: System) -> APIRouter:
    """Feedback by POST."""
    routes = guarded("write", "feedback")

    @routes.post("/feedback", status_code=202, responses={202: {"model": FeedbackOut}})
    def feedback(given: FeedbackIn) -> Response:
        """Accepted once the event is in the durable log; the person's next recommendations reflect it."""
        subject = given.subject
        event = Event(
            user_id=answers.user(system, given.user_id),
            at=system.now(),
            kind=Kind[given.event_type.upper()],
            video_id=None if given.about_channel else answers.video(system, subject),
            channel_id=answers.channel(system, subject) if given.about_channel else None,
            value=given.value,
            watch_seconds=given.watch_seconds,
            device=given.device,
            location=given.location,
            surface=given.surface,
            position=given.position,
            request_id=given.request_id,
            event_id=given.event_id or uuid.uuid4().hex,
        )
        system.feedback([event])
        count_event(event)
        return answers.reply({"status": "accepted", "event_id": event.event_id, "request_id": request_id()}, 202)

    return routes
