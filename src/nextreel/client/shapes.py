"""What is asked and answered; a test compares every shape with the OpenAPI document of the server.

Answers may hold more than is written here: a newer server is no error, and for that reason words are plain texts.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

Id: TypeAlias = int | str
EventType: TypeAlias = Literal[
    "impression",
    "click",
    "watch",
    "like",
    "dislike",
    "comment",
    "share",
    "complete",
    "hide",
    "subscribe",
    "block",
]


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what is sent: what is left out is not sent."""


class Answer(Struct, frozen=True, kw_only=True):
    """Base of what is answered."""


class Context(Asked, frozen=True, kw_only=True):
    """Where and how the person is watching."""

    device: str | None = None
    country: str | None = None
    surface: str | None = None


class Filters(Asked, frozen=True, kw_only=True):
    """What the person asked to be shown, on top of the hard rules."""

    categories: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    max_maturity: int | None = None  # least suitable age that may be shown
    max_age_days: float | None = None  # only videos that came out so lately


class Wanted(Asked, frozen=True, kw_only=True):
    """A request for a slate; without a user and a session the answer is for a person nobody knows."""

    user_id: Id | None = None
    num_recommendations: int = 10
    session_id: str | None = None  # who asks, while there is no user_id
    context: Context = Context()
    filters: Filters = Filters()
    exclude: tuple[Id, ...] = ()  # videos not to show
    paged: bool = False  # whether the answer has a cursor, by which the list goes on
    cursor: str | None = None  # of the page before, for the next one; goes with user_id and num_recommendations


class Feedback(Asked, frozen=True, kw_only=True):
    """One thing a person did. `subscribe` and `block` are about a channel, everything else about a video.

    With a session_id alone it is an anonymous session's; with both, what the session did becomes the user's as well.
    """

    user_id: Id | None = None
    session_id: str | None = None  # who did it, while there is no user_id
    event_type: EventType
    video_id: Id | None = None
    item_id: Id | None = None  # another name of video_id
    channel_id: Id | None = None
    value: float | None = None
    watch_seconds: float | None = None
    device: str | None = None
    location: str | None = None
    surface: str | None = None
    position: int | None = None  # place in the list that was shown, 0 = first
    request_id: str | None = None  # of the slate in which the video was shown
    event_id: str | None = None  # made by the client where it is left out, so that sending again has no further effect


class Upload(Asked, frozen=True, kw_only=True):
    """A whole record of a video: what it leaves out is not known of the video."""

    video_id: Id
    channel_id: Id | None = None
    title: str | None = None  # the id is shown without one
    description: str | None = None
    category: str | None = None
    child_categories: tuple[str, ...] = ()
    language: str | None = None
    duration: float | None = None  # seconds
    tags: tuple[str, ...] = ()
    published_at: float | str | None = None  # seconds since 1970-01-01 UTC or ISO 8601 with a zone; now if left out
    is_available: bool = True  # whether it may be shown
    maturity_rating: int = 0  # least suitable age
    series: Id | None = None
    episode: int | None = None
    regions: tuple[str, ...] = ()  # where it may be shown; everywhere if left out
    available_from: float | str | None = None  # as published_at
    available_until: float | str | None = None


class Account(Asked, frozen=True, kw_only=True):
    """Whose account a session turned out to be."""

    user_id: Id


class Invocation(Asked, frozen=True, kw_only=True):
    """A request in the manner of SageMaker."""

    user_id: Id
    k: int = 5


class Video(Answer, frozen=True, kw_only=True):
    """One video of an answer; `score` is only comparable within that answer."""

    video_id: Id
    title: str
    score: float | None
    category: str | None


class Recommendation(Video, frozen=True, kw_only=True):
    """One place of a slate."""

    source: str  # the source that ranks the video best; promoted where the place was given to it
    promoted: bool  # the place was given to the video, whatever its score: show it so
    reason: str


class Recommendations(Answer, frozen=True, kw_only=True):
    """A slate; `level` is the rung of the fallback ladder that made it, full when everything worked."""

    user_id: Id | None
    recommendations: list[Recommendation]
    cursor: str | None  # asks for the next page; None where the list ends or is not paged
    request_id: str
    model_version: str
    experiment_variant: str | None
    level: str
    total_latency_ms: float
    latency_ms: dict[str, float]


class SourceRank(Answer, frozen=True, kw_only=True):
    """How one source ranks the video among the candidates of the request."""

    source: str
    rank: int | None  # how many candidates it scores higher; None where it says nothing of it


class Contribution(Answer, frozen=True, kw_only=True):
    """What one feature adds to the raw score of one objective."""

    feature: str
    adds: float


class Why(Answer, frozen=True, kw_only=True):
    """What became of one video in the list that this request would get: which stage decided it, and what it saw."""

    user_id: Id
    video: Video
    outcome: str
    told: str  # the outcome in a sentence
    place: int | None  # in the list, 1 = first; None where it is not shown
    removed_by: list[str]  # every filter that removes it
    proposed: bool
    sources: list[SourceRank]
    candidates: int
    judged: int
    higher_valued: int | None  # judged candidates of a higher value; None for one that is removed
    contributions: dict[str, list[Contribution]]  # by objective, the largest first
    moves: dict[str, int]  # the place, 1 = first, that each step of the final order left it at
    request_id: str
    model_version: str
    total_latency_ms: float


class Videos(Answer, frozen=True, kw_only=True):
    """A list of videos that is nobody's in particular."""

    videos: list[Video]
    request_id: str
    model_version: str
    total_latency_ms: float


class Accepted(Answer, frozen=True, kw_only=True):
    """The event is in the log and will not be lost."""

    status: str
    event_id: str
    request_id: str


class AllAccepted(Answer, frozen=True, kw_only=True):
    """All events of the list are in the log and will not be lost; their ids in the order of the list."""

    status: str
    event_ids: list[str]
    request_id: str


class InvocationItem(Answer, frozen=True, kw_only=True):
    """One video in the manner of SageMaker."""

    videoId: Id  # noqa: N815  the contract's name
    score: float | None


class Invoked(Answer, frozen=True, kw_only=True):
    """A slate in the manner of SageMaker."""

    userId: Id  # noqa: N815  the contract's name
    recommendations: list[InvocationItem]


class Status(Answer, frozen=True, kw_only=True):
    """One word about a server."""

    status: str


class Check(Answer, frozen=True, kw_only=True):
    """One part's state."""

    name: str
    status: str
    latency_ms: float


class Health(Answer, frozen=True, kw_only=True):
    """The worst of all checks, and each of them."""

    status: str
    version: str
    timestamp: str
    checks: list[Check]


class Model(Answer, frozen=True, kw_only=True):
    """One release."""

    version: str
    created_at: str
    stage: str
    metrics: dict[str, Any]


class Models(Answer, frozen=True, kw_only=True):
    """All releases, oldest first, and the one that answers here."""

    serving: str
    production: str | None
    models: list[Model]


class Serves(Answer, frozen=True, kw_only=True):
    """What is in production now, and what answers here."""

    production: str  # the release that every process serves within about a second, once it is open
    serving: str  # the release that answers here from now on
    problem: str | None  # why the release in production does not answer here


class Feature(Answer, frozen=True, kw_only=True):
    """One feature of a person now, as the ranker reads it."""

    name: str
    value: float | None  # None where it is not known
    unit: str
    meaning: str


class State(Answer, frozen=True, kw_only=True):
    """How much of a person is in the store."""

    version: int  # grows with every event applied
    events: int  # in the history: all but impressions, subscriptions and blocks
    impressions: int
    clicks: int
    watches: int  # that came with a watch time
    full_watches: int
    watch_seconds: float
    subscribed: int  # channels that the person follows
    blocked: int  # channels that the person has blocked


class Features(Answer, frozen=True, kw_only=True):
    """What the store knows of a person now."""

    user_id: Id
    known: bool  # False for somebody never heard of, for whom all else is that of a newcomer
    newest_event_at: str | None
    newest_event_of_all_at: str
    state: State
    features: list[Feature]
    request_id: str
    model_version: str


class Variant(Answer, frozen=True, kw_only=True):
    """One arm of an experiment."""

    name: str
    share: float  # of the people in the experiment, 0 to 1


class Experiment(Answer, frozen=True, kw_only=True):
    """One experiment that is running."""

    name: str
    variants: list[Variant]


class Experiments(Answer, frozen=True, kw_only=True):
    """The experiments that are running, and whether people are assigned to their variants."""

    assignment: str  # off: every list is made in the same way, and has no variant
    experiments: list[Experiment]


class Uploaded(Answer, frozen=True, kw_only=True):
    """One video that is in the catalogue now."""

    video_id: Id
    new: bool  # False where the catalogue had it, and its record was replaced


class Uploads(Answer, frozen=True, kw_only=True):
    """All videos of the list are in the catalogue now, in the order of the list."""

    videos: list[Uploaded]
    request_id: str


class Withdrawn(Answer, frozen=True, kw_only=True):
    """The video is in no list any more."""

    status: str
    video_id: Id
    request_id: str


class Merged(Answer, frozen=True, kw_only=True):
    """What the session did is the user's; `merged` is False where it had done nothing."""

    user_id: Id
    merged: bool
    request_id: str


class Receipt(Answer, frozen=True, kw_only=True):
    """That a person was forgotten, without saying who."""

    receipt_id: str
    erased_at: str
    digest: str  # of the id, salted: who has the id and the home can check it
    counts: dict[str, int]  # place → records of the person that were there
    releases: list[str]  # whose states were searched
    request_id: str


class Problem(Answer, frozen=True, kw_only=True):
    """An error as RFC 9457 describes it."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[dict[str, str]] | None = None  # each wrong field and what is wrong with it
