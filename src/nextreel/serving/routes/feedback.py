"""What people do, as it happens."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from nextreel.serving import answers
from nextreel.serving.current import Serving
from nextreel.serving.edge import request_id
from nextreel.serving.incoming import FeedbackIn, OneOrMore
from nextreel.serving.outgoing import FeedbackOut, FeedbacksOut
from nextreel.serving.routes import not_found
from nextreel.serving.security import guarded
from nextreel.telemetry import count_event
from nextreel.types import Event, Kind

if TYPE_CHECKING:
    from nextreel.system import System


def router(serving: Serving) -> APIRouter:
    """Feedback by POST."""
    routes = guarded("write", "feedback")

    @routes.post(
        "/feedback",
        status_code=202,
        responses={
            202: {"model": FeedbackOut | FeedbacksOut, "description": "in the log"},
            **not_found("a video or a channel is not in the catalogue"),
        },
    )
    def feedback(given: OneOrMore) -> Response:
        """Accepted once the event, or all events of a list, are in the durable log; the next lists reflect them.

        Of a list with an event that is wrong nothing is taken.
        """
        system = serving()
        at = system.now()
        several = [given] if isinstance(given, FeedbackIn) else given
        events = [_event(system, one, at) for one in several]
        for one, event in zip(several, events, strict=True):
            if one.user_id is not None and one.session_id is not None:
                system.merge(one.session_id, event.user_id, at)
        system.feedback(events)
        for event in events:
            count_event(event)
        ids = [event.event_id for event in events]
        told = {"event_id": ids[0]} if isinstance(given, FeedbackIn) else {"event_ids": ids}
        return answers.reply({"status": "accepted", **told, "request_id": request_id()}, 202)

    return routes


def _event(system: System, given: FeedbackIn, at: float) -> Event:
    subject = given.subject
    person = answers.person(system, given.user_id, given.session_id)
    if person is None:  # the schema has made sure
        raise ValueError("an event is somebody's")
    return Event(
        user_id=person,
        at=at,
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
