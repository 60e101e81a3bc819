"""Every operation of the API as a request to be sent: built here once, for both clients."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from nextreel.client.shapes import (
    Accepted,
    Account,
    AllAccepted,
    Experiments,
    Features,
    Feedback,
    Health,
    Id,
    Invocation,
    Invoked,
    Merged,
    Models,
    Receipt,
    Recommendations,
    Serves,
    Status,
    Upload,
    Uploads,
    Videos,
    Wanted,
    Why,
    Withdrawn,
)

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

UNHEALTHY = frozenset({503})


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request and how its answer is read."""

    method: str
    path: str
    read: Callable[[bytes], T]
    query: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = True  # sent twice it does what it does once
    also: frozenset[int] = frozenset()  # statuses past 299 that are answers and no errors


def _json(shape: type[S]) -> Callable[[bytes], S]:
    return msgspec.json.Decoder(shape).decode


_recommendations, _why, _videos = _json(Recommendations), _json(Why), _json(Videos)
_accepted, _all_accepted = _json(Accepted), _json(AllAccepted)
_serves, _features, _experiments = _json(Serves), _json(Features), _json(Experiments)
_uploads, _withdrawn = _json(Uploads), _json(Withdrawn)
_merged, _receipt = _json(Merged), _json(Receipt)
_invoked, _status, _health, _models = _json(Invoked), _json(Status), _json(Health), _json(Models)


def _path(*parts: Id) -> str:
    return "".join(f"/{quote(str(part), safe='')}" for part in parts)


def _page(n: int, paged: bool) -> dict[str, str]:
    return {"n": str(n)} | ({"paged": "true"} if paged else {})


def _said(**query: str | None) -> dict[str, str]:
    return {name: value for name, value in query.items() if value is not None}


def recommendations(
    user_id: Id, n: int = 10, country: str | None = None, paged: bool = False, cursor: str | None = None
) -> Call[Recommendations]:
    """The best n videos for the user now, or a list's next page; a user nobody knows gets a cold-start list."""
    query = _page(n, paged) | _said(country=country, cursor=cursor)
    return Call("GET", _path("recommendations", user_id), _recommendations, query)


def recommend(wanted: Wanted) -> Call[Recommendations]:
    """The best videos for the user now, in a context, by filters, without the excluded ones."""
    return Call("POST", "/recommendations", _recommendations, body=msgspec.json.encode(wanted))


def next_page(wanted: Wanted, page: Recommendations) -> Wanted | None:
    """What asks for the page after this one, None where the list ends."""
    if page.cursor is None:
        return None
    return Wanted(
        user_id=wanted.user_id,
        session_id=wanted.session_id,
        num_recommendations=wanted.num_recommendations,
        cursor=page.cursor,
    )


def explain(user_id: Id, video_id: Id, n: int = 10, country: str | None = None) -> Call[Why]:
    """Why the video is, or is not, among the n best for the user now."""
    return Call("GET", _path("explain", user_id, video_id), _why, {"n": str(n)} | _said(country=country))


def similar(video_id: Id, n: int = 10, country: str | None = None) -> Call[Videos]:
    """The n videos most like this one, of those that anybody may be shown now."""
    return Call("GET", _path("similar", video_id), _videos, {"n": str(n)} | _said(country=country))


def trending(n: int = 10, country: str | None = None) -> Call[Videos]:
    """The n videos that most people watch now."""
    return Call("GET", "/trending", _videos, {"n": str(n)} | _said(country=country))


def feedback(event: Feedback) -> Call[Accepted]:
    """Tells of one thing that a person did; done once it is in the durable log. The next lists reflect it."""
    return Call("POST", "/feedback", _accepted, body=msgspec.json.encode(_named(event)))


def feedback_all(events: Sequence[Feedback]) -> Call[AllAccepted]:
    """Tells of several things at once; nothing is taken where one of them is wrong."""
    return Call("POST", "/feedback", _all_accepted, body=msgspec.json.encode([_named(event) for event in events]))


def _named(event: Feedback) -> Feedback:
    return replace(event, event_id=uuid.uuid4().hex) if event.event_id is None else event


def upload(video: Upload) -> Call[Uploads]:
    """Puts a video into the catalogue, or a new record in the place of its old one: the next lists know it."""
    return Call("POST", "/videos", _uploads, body=msgspec.json.encode(video))


def upload_all(videos: Sequence[Upload]) -> Call[Uploads]:
    """The same for several videos; nothing is taken where one of them is wrong."""
    return Call("POST", "/videos", _uploads, body=msgspec.json.encode(videos))


def withdraw(video_id: Id) -> Call[Withdrawn]:
    """Takes the video out of every list; what people did with it still counts."""
    return Call("DELETE", _path("videos", video_id), _withdrawn)


def session_recommendations(
    session_id: str, n: int = 10, country: str | None = None, paged: bool = False, cursor: str | None = None
) -> Call[Recommendations]:
    """The best n videos for an anonymous session now, or a list's next page, by what was done in it."""
    query = _page(n, paged) | _said(country=country, cursor=cursor)
    return Call("GET", _path("sessions", session_id, "recommendations"), _recommendations, query)


def merge(session_id: str, user_id: Id) -> Call[Merged]:
    """What was done in the session is the user's from now on; what is done in it later is a new session's."""
    body = msgspec.json.encode(Account(user_id=user_id))
    return Call("POST", _path("sessions", session_id, "merge"), _merged, body=body)


def forget(user_id: Id) -> Call[Receipt]:
    """Removes all that is known of the user, and of sessions merged into them."""
    return Call("DELETE", _path("users", user_id), _receipt)


def health() -> Call[Health]:
    """Every part's state, also of a server that is unhealthy."""
    return Call("GET", "/health", _health, also=UNHEALTHY)


def live() -> Call[Status]:
    """`alive` as long as the process answers at all."""
    return Call("GET", "/health/live", _status)


def ready() -> Call[Status]:
    """`ready` when recommendations can be answered, `unready` otherwise."""
    return Call("GET", "/health/ready", _status, also=UNHEALTHY)


def metrics() -> Call[str]:
    """Counters and histograms in Prometheus' text format."""
    return Call("GET", "/metrics", bytes.decode)


def models() -> Call[Models]:
    """All releases with their stage and metrics, oldest first."""
    return Call("GET", "/models", _models)


def promote(version: str) -> Call[Serves]:
    """Puts the release into production, once every file of it is found to be as published."""
    return Call("POST", _path("models", version, "promote"), _serves)


def rollback() -> Call[Serves]:
    """Puts the release that was in production before into production again; never sent twice."""
    return Call("POST", "/models/rollback", _serves, repeatable=False)


def rollback_from(version: str) -> Call[Serves]:
    """The same, as long as the release is the one in production: an `ApiError` 409 otherwise."""
    return Call("POST", _path("models", version, "rollback"), _serves)


def features(user_id: Id) -> Call[Features]:
    """What the store knows of the person now, as the features that the release computes of a person alone."""
    return Call("GET", _path("features", user_id), _features)


def experiments() -> Call[Experiments]:
    """The experiments that are running."""
    return Call("GET", "/ab/status", _experiments)


def ping() -> Call[Status]:
    """`ok` while the container is up."""
    return Call("GET", "/ping", _status)


def invocations(user_id: Id, k: int = 5) -> Call[Invoked]:
    """The best k videos for a user who is known, in the manner of SageMaker; an `ApiError` 404 for others."""
    return Call("POST", "/invocations", _invoked, body=msgspec.json.encode(Invocation(user_id=user_id, k=k)))
