"""From ids in a request to ids of the data, and from slates to JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from starlette.responses import Response

from nextreel.paging import Page, UnknownCursor
from nextreel.serving.edge import request_id
from nextreel.serving.problems import Problem
from nextreel.telemetry import observe_slate, timed
from nextreel.types import SESSION, UNKNOWN, Catalogue, Request, Slate, UserId, VideoId, is_session, session_person

if TYPE_CHECKING:
    from nextreel.system import System

DIGITS = 6  # of scores and milliseconds in answers


def reply(content: Any, status: int = 200) -> Response:
    """The content as a JSON response, past FastAPI's own much slower serialisation; NaN becomes null."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type="application/json")


def user(system: System, given: int | str) -> UserId:
    """The user's id as the data have it; a 422 for one that looks like a session's."""
    user_id = _resolved(system.resolve_user, given)
    if is_session(user_id):
        raise Problem(
            422, f"Expected a user_id that does not start with '{SESSION}'. Hint: send the rest as session_id."
        )
    return user_id


def person(system: System, user_id: int | str | None, session_id: str | None) -> UserId | None:
    """Who it is: the user, else the anonymous session, else nobody."""
    if user_id is not None:
        return user(system, user_id)
    return None if session_id is None else session_person(session_id)


def video(system: System, given: int | str) -> VideoId:
    """The id of a video that is in the catalogue; a 404 otherwise."""
    video_id = _resolved(system.resolve_video, given)
    if video_id not in system.catalogue.row_of and video_id not in system.newest_catalogue().row_of:
        raise Problem(404, f"Video {str(video_id)!r} is not in the catalogue of release {system.release}.")
    return video_id


def videos(system: System, given: Sequence[int | str]) -> tuple[VideoId, ...]:
    """The ids as the data have them, also of videos that are not in the catalogue."""
    return tuple(_resolved(system.resolve_video, one) for one in given)


def channel(system: System, given: int | str) -> VideoId:
    """The id of a channel that is in the catalogue; a 404 otherwise."""
    text = str(given)
    found = _channel(system.catalogue, text)
    if found is None:
        found = _channel(system.newest_catalogue(), text)
    if found is None:
        raise Problem(404, f"Channel {text!r} is not in the catalogue of release {system.release}.")
    return found


def _channel(catalogue: Catalogue, text: str) -> VideoId | None:
    return next((one for one in catalogue.channel_ids if str(one) == text), None)


def _resolved(resolve: Callable[[str], int | str], given: int | str) -> int | str:
    resolved = resolve(str(given))
    if isinstance(resolved, int) and not -(2**63) <= resolved < 2**63:
        raise Problem(422, f"Expected an id of at most 64 bits, got {given}.")
    return resolved


def ask(system: System, request: Request) -> Slate:
    """The slate, counted in the metrics."""
    slate: Slate = system.recommend(request)
    observe_slate(slate)
    return slate


def slate_reply(system: System, request: Request, *, paged: bool = False, cursor: str | None = None) -> Response:
    """The slate as JSON, with titles, categories and the time each stage took.

    Where it is `paged` it is a page, with the cursor of the next one; with a `cursor` the page that comes after.
    """
    started = perf_counter()
    if cursor is not None:
        found: Page | Slate = _following(system, cursor, request)
    else:
        found = (system.page if paged else system.recommend)(request)
    slate, following = (found.slate, found.cursor) if isinstance(found, Page) else (found, None)
    observe_slate(slate)
    request = slate.request
    catalogue: Catalogue = system.catalogue
    recommendations = [
        _item(catalogue, video_id, row, score) | {"source": source, "promoted": promoted, "reason": reason}
        for video_id, row, score, source, promoted, reason in zip(
            slate.video_ids,
            slate.rows.tolist(),
            slate.value.tolist(),
            slate.sources,
            slate.promoted.tolist(),
            slate.reasons,
            strict=True,
        )
    ]
    return reply(
        {
            "user_id": None if is_session(request.user_id) else request.user_id,
            "recommendations": recommendations,
            "cursor": following,
            "request_id": request.request_id,
            "model_version": slate.release,
            "experiment_variant": request.variant,
            "level": slate.level,
            "total_latency_ms": _milliseconds(started),
            "latency_ms": {stage: round(ms, DIGITS) for stage, ms in slate.trace.milliseconds.items()},
        }
    )


def _following(system: System, cursor: str, asked: Request) -> Page:
    """The page after the one that the cursor came with, for who asks and of so many videos.

    A 404 for a cursor that is not, or no longer, known; a 422 where a country is given anew.
    """
    if asked.country is not None:
        raise Problem(422, "Expected a cursor without country, which is as it was for the first page.")
    try:
        page: Page = system.next_page(cursor, asked.user_id, asked.k, asked.at, asked.request_id)
    except UnknownCursor as error:
        raise Problem(404, str(error)) from error
    return page


def list_reply(system: System, stage: str, scored: Callable[[], list[tuple[VideoId, float]]]) -> Response:
    """Scored videos as JSON, with titles and categories; metrics know what made them as the stage."""
    started = perf_counter()
    with timed(stage):
        chosen = scored()
    catalogue: Catalogue = system.catalogue
    items = [_item(catalogue, video_id, catalogue.row_of[video_id], score) for video_id, score in chosen]
    return reply(
        {
            "videos": items,
            "request_id": request_id(),
            "model_version": system.release,
            "total_latency_ms": _milliseconds(started),
        }
    )


def why_reply(system: System, request: Request, video_id: VideoId) -> Response:
    """What becomes of the video in the list for the request, as JSON."""
    started = perf_counter()
    with timed("why"):
        found = system.why(request, video_id)
    row = system.catalogue.row_of[video_id]
    parts = {
        objective: [
            {"feature": name, "adds": round(adds, DIGITS)}
            for name, adds in sorted(of.items(), key=lambda part: -abs(part[1]))
        ]
        for objective, of in found.contributions.items()
    }
    return reply(
        {
            "user_id": request.user_id,
            "video": _item(system.catalogue, video_id, row, np.nan if found.value is None else found.value),
            "outcome": found.outcome,
            "told": found.told,
            "place": None if found.place is None else found.place + 1,
            "removed_by": found.removed_by,
            "proposed": found.proposed,
            "sources": [{"source": name, "rank": rank} for name, rank in found.ranks.items()],
            "candidates": found.candidates,
            "judged": found.judged,
            "higher_valued": found.by_value,
            "contributions": parts,
            "moves": {step: place + 1 for step, place in found.moves.items()},
            "request_id": request.request_id,
            "model_version": system.release,
            "total_latency_ms": _milliseconds(started),
        }
    )


def features_reply(system: System, user_id: UserId) -> Response:
    """What the store knows of the person, as JSON."""
    user, found = system.features_of(user_id)
    features = [
        {"name": about.name, "value": value, "unit": about.unit, "meaning": about.meaning} for about, value in found
    ]
    return reply(
        {
            "user_id": user_id,
            "known": user.known,
            "newest_event_at": timestamp(user.last_at) if len(user.history) else None,
            "newest_event_of_all_at": timestamp(system.store.newest_at),
            "state": {
                "version": user.version,
                "events": len(user.history),
                "impressions": user.impressions,
                "clicks": user.clicks,
                "watches": user.watches,
                "full_watches": user.full_watches,
                "watch_seconds": user.watch_seconds,
                "subscribed": len(user.subscribed),
                "blocked": len(user.blocked),
            },
            "features": features,
            "request_id": request_id(),
            "model_version": system.release,
        }
    )


def timestamp(at: float) -> str:
    """The time in seconds since 1970 as people and programs read it, in UTC.

    >>> timestamp(0.5)
    '1970-01-01T00:00:00.500Z'
    """
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _item(catalogue: Catalogue, video_id: VideoId, row: int, score: float) -> dict[str, Any]:
    category = int(catalogue.category[row])
    return {
        "video_id": video_id,
        "title": catalogue.titles[row],
        "score": round(float(score), DIGITS),
        "category": None if category == UNKNOWN else catalogue.category_names[category],
    }


def _milliseconds(started: float) -> float:
    return round((perf_counter() - started) * 1000, 3)
