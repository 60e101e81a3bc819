"""Shapes of what comes in and goes out over HTTP; unknown fields are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
    model_validator,
)

MAX_ITEMS = 100  # videos in one answer
MAX_EXCLUDED = 1000
MAX_EVENTS = 500  # of one list of feedback
MAX_VALUE = 1e9  # of a value, and seconds of a watch: no sum over all events gets out of hand
MAX_POSITION = 1_000_000  # as in files of interactions
MAX_UPLOADS = 500  # of one list of videos
MAX_REGIONS = 250  # of one video
MAX_NAMES = 50  # child categories, or tags, of one video
LATEST = 4_102_444_800.0  # 2100-01-01 UTC, the last time of publication

Number: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text: TypeAlias = Annotated[StrictStr, Field(min_length=1, max_length=256)]
LongText: TypeAlias = Annotated[StrictStr, Field(min_length=1, max_length=5_000)]


def _seconds(given: object) -> object:
    """Seconds since 1970 of a time that ISO 8601 tells with a zone; anything else as it is."""
    if not isinstance(given, str):
        return given
    try:
        told = datetime.fromisoformat(given)
    except ValueError as error:
        raise ValueError("expected seconds since 1970 or a time as 2026-01-31T18:00:00Z") from error
    if told.tzinfo is None:
        raise ValueError("expected a time with its zone, as 2026-01-31T18:00:00Z")
    return told.timestamp()


Time: TypeAlias = Annotated[
    Number, Field(ge=0, le=LATEST), BeforeValidator(_seconds, json_schema_input_type=float | str)
]
Id: TypeAlias = Annotated[StrictInt, Field(ge=-(2**63), le=2**63 - 1)] | Text
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


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ContextIn(_In):
    """Where and how the person is watching."""

    device: Text | None = None
    country: Text | None = None
    surface: Text | None = None


class FiltersIn(_In):
    """What the person asked to be shown, on top of the hard rules."""

    categories: tuple[Text, ...] = Field(default=(), max_length=MAX_ITEMS)
    languages: tuple[Text, ...] = Field(default=(), max_length=MAX_ITEMS)
    max_maturity: StrictInt | None = Field(
        default=None, ge=0, le=120, description="least suitable age that may be shown"
    )
    max_age_days: Number | None = Field(default=None, gt=0, description="only videos that came out so lately")


class RecommendationsIn(_In):
    """A request for a slate; without a user and a session the answer is for a person nobody knows."""

    user_id: Id | None = None
    num_recommendations: StrictInt = Field(default=10, ge=1, le=MAX_ITEMS)
    session_id: Text | None = Field(default=None, description="who asks, while there is no user_id")
    context: ContextIn = ContextIn()
    filters: FiltersIn = FiltersIn()
    exclude: tuple[Id, ...] = Field(default=(), max_length=MAX_EXCLUDED, description="videos not to show")
    paged: StrictBool = Field(default=False, description="whether the answer has a cursor, by which the list goes on")
    cursor: Text | None = Field(
        default=None,
        description="of the page before, for the next one; goes with who asks and num_recommendations",
    )

    @model_validator(mode="after")
    def _goes_on_as_it_began(self) -> RecommendationsIn:
        going_on = {"user_id", "session_id", "num_recommendations", "paged", "cursor"}
        if self.cursor is not None and self.model_fields_set - going_on:
            raise ValueError("a cursor goes with who asks and num_recommendations alone; all else is as it was")
        return self


class FeedbackIn(_In):
    """One thing a person did. `subscribe` and `block` are about a channel, everything else about a video.

    With a session_id alone it is an anonymous session's; with both, what the session did becomes the user's as well.
    """

    user_id: Id | None = None
    session_id: Text | None = Field(default=None, description="who did it, while there is no user_id")
    event_type: EventType
    video_id: Id | None = None
    item_id: Id | None = Field(default=None, description="another name of video_id")
    channel_id: Id | None = None
    value: Number | None = Field(default=None, ge=-MAX_VALUE, le=MAX_VALUE)
    watch_seconds: Number | None = Field(default=None, ge=0, le=MAX_VALUE)
    device: Text | None = None
    location: Text | None = None
    surface: Text | None = None
    position: StrictInt | None = Field(default=None, ge=0, le=MAX_POSITION)
    request_id: Text | None = Field(default=None, description="request_id of the slate in which the video was shown")
    event_id: Text | None = Field(default=None, description="sending the same id again has no further effect")

    @property
    def about_channel(self) -> bool:
        """True for what is done to a channel."""
        return self.event_type in {"subscribe", "block"}

    @property
    def subject(self) -> Id:
        """The id of the video or channel that the event is about."""
        subject = self.channel_id if self.about_channel else self.video_id if self.item_id is None else self.item_id
        if subject is None:  # the validator below has made sure
            raise ValueError("an event is about a video or a channel")
        return subject

    @model_validator(mode="after")
    def _somebody(self) -> FeedbackIn:
        if self.user_id is None and self.session_id is None:
            raise ValueError("an event needs user_id or session_id")
        return self

    @model_validator(mode="after")
    def _one_subject(self) -> FeedbackIn:
        given = {name for name in ("video_id", "item_id", "channel_id") if getattr(self, name) is not None}
        if self.about_channel and given != {"channel_id"}:
            raise ValueError(f"{self.event_type} needs channel_id and no video")
        if not self.about_channel and given not in ({"video_id"}, {"item_id"}):
            raise ValueError(f"{self.event_type} needs one of video_id and item_id, and no channel_id")
        return self


FeedbacksIn: TypeAlias = Annotated[list[FeedbackIn], Field(min_length=1, max_length=MAX_EVENTS)]
OneOrMore: TypeAlias = Annotated[
    Annotated[FeedbackIn, Tag("event")] | Annotated[FeedbacksIn, Tag("events")],
    Discriminator(lambda given: "events" if isinstance(given, list) else "event"),  # what is wrong is told of one alone
]


class VideoIn(_In):
    """A whole record of a video, as in a data set's table of videos: what it leaves out is not known of the video."""

    video_id: Id
    channel_id: Id | None = None
    title: LongText | None = Field(default=None, description="the id is shown without one")
    description: LongText | None = None
    category: Text | None = None
    child_categories: tuple[Text, ...] = Field(default=(), max_length=MAX_NAMES)
    language: Text | None = None
    duration: Number | None = Field(default=None, ge=0, description="seconds")
    tags: tuple[Text, ...] = Field(default=(), max_length=MAX_NAMES)
    published_at: Time | None = Field(
        default=None,
        description="seconds since 1970-01-01 UTC or ISO 8601 with a zone; for a new video, now if left out",
    )
    is_available: StrictBool = Field(default=True, description="whether it may be shown")
    maturity_rating: StrictInt = Field(default=0, ge=0, le=21, description="least suitable age")
    series: Id | None = None
    episode: StrictInt | None = Field(default=None, ge=0, le=1_000_000_000, description="number within the series")
    regions: tuple[Text, ...] = Field(default=(), max_length=MAX_REGIONS, description="where alone it may be shown")
    available_from: Time | None = None
    available_until: Time | None = Field(default=None, description="from when on it may no longer be shown")


VideosIn: TypeAlias = Annotated[list[VideoIn], Field(min_length=1, max_length=MAX_UPLOADS)]
OneOrMoreVideos: TypeAlias = Annotated[
    Annotated[VideoIn, Tag("video")] | Annotated[VideosIn, Tag("videos")],
    Discriminator(lambda given: "videos" if isinstance(given, list) else "video"),
]


class MergeIn(_In):
    """Whose account a session turned out to be."""

    user_id: Id


class InvocationIn(_In):
    """A request in the manner of SageMaker."""

    user_id: Id
    k: StrictInt = Field(default=5, ge=1, le=MAX_ITEMS)


class VideoOut(BaseModel):
    """One video of an answer; `score` is only comparable within that answer."""

    video_id: int | str
    title: str
    score: float | None
    category: str | None


class RecommendationOut(VideoOut):
    """One place of a slate."""

    source: str = Field(
        description="the source that ranks it best; promoted, continue_watching or next_episode for a given place"
    )
    promoted: bool = Field(description="the place was given to the video, whatever its score: show it so")
    reason: str


class RecommendationsOut(BaseModel):
    """A slate; `level` is the rung of the fallback ladder that made it, full when everything worked."""

    user_id: int | str | None
    recommendations: list[RecommendationOut]
    cursor: str | None = Field(description="asks for the next page; null where the list ends or is not paged")
    request_id: str
    model_version: str
    experiment_variant: str | None
    level: str
    total_latency_ms: float
    latency_ms: dict[str, float]


class SourceRankOut(BaseModel):
    """How one source ranks the video among the candidates of the request."""

    source: str
    rank: int | None = Field(description="how many candidates it scores higher; null where it says nothing of it")


class ContributionOut(BaseModel):
    """What one feature adds to the raw score of one objective."""

    feature: str
    adds: float


class WhyOut(BaseModel):
    """What became of one video in the list that this request would get: which stage decided it, and what it saw."""

    user_id: int | str
    video: VideoOut
    outcome: Literal["shown", "removed", "not proposed", "not judged", "outranked"]
    told: str = Field(description="the outcome in a sentence")
    place: int | None = Field(description="in the list, 1 = first; null where it is not shown")
    removed_by: list[str] = Field(description="every filter that removes it")
    proposed: bool
    sources: list[SourceRankOut]
    candidates: int
    judged: int
    higher_valued: int | None = Field(description="judged candidates of a higher value; null for one that is removed")
    contributions: dict[str, list[ContributionOut]] = Field(description="by objective, the largest first")
    moves: dict[str, int] = Field(description="the place, 1 = first, that each step of the final order left it at")
    request_id: str
    model_version: str
    total_latency_ms: float


class VideosOut(BaseModel):
    """A list of videos that is nobody's in particular."""

    videos: list[VideoOut]
    request_id: str
    model_version: str
    total_latency_ms: float


class FeedbackOut(BaseModel):
    """The event is in the log and will not be lost."""

    status: Literal["accepted"]
    event_id: str
    request_id: str


class FeedbacksOut(BaseModel):
    """All events of the list are in the log and will not be lost; their ids in the order of the list."""

    status: Literal["accepted"]
    event_ids: list[str]
    request_id: str


class UploadedOut(BaseModel):
    """One video that is in the catalogue now."""

    video_id: int | str
    new: bool = Field(description="false where the catalogue had it, and its record was replaced")


class UploadsOut(BaseModel):
    """All videos of the list are in the catalogue now, in the order of the list."""

    videos: list[UploadedOut]
    request_id: str


class WithdrawnOut(BaseModel):
    """The video is in no list any more."""

    status: Literal["withdrawn"]
    video_id: int | str
    request_id: str


class MergeOut(BaseModel):
    """What the session did is the user's; `merged` is false where it had done nothing."""

    user_id: int | str
    merged: bool
    request_id: str


class ReceiptOut(BaseModel):
    """That a person was forgotten, without saying who."""

    receipt_id: str
    erased_at: str
    digest: str = Field(description="of the id, salted: who has the id and the home can check it")
    counts: dict[str, int] = Field(description="place → records of the person that were there")
    releases: list[str] = Field(description="whose states were searched")
    request_id: str


class InvocationItemOut(BaseModel):
    """One video in the manner of SageMaker."""

    videoId: int | str  # noqa: N815  the contract's name
    score: float | None


class InvocationOut(BaseModel):
    """A slate in the manner of SageMaker."""

    userId: int | str  # noqa: N815  the contract's name
    recommendations: list[InvocationItemOut]


class MissingOut(BaseModel):
    """What is missing, in the manner of SageMaker."""

    detail: str


class PingOut(BaseModel):
    """The container is up."""

    status: Literal["ok"]


class AliveOut(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class ReadyOut(BaseModel):
    """Whether recommendations can be answered."""

    status: Literal["ready", "unready"]


class CheckOut(BaseModel):
    """One part's state."""

    name: str
    status: Literal["healthy", "degraded", "unhealthy"]
    latency_ms: float


class HealthOut(BaseModel):
    """The worst of all checks, and each of them."""

    status: Literal["healthy", "degraded", "unhealthy"]
    version: str
    timestamp: str
    checks: list[CheckOut]


class ModelOut(BaseModel):
    """One release."""

    version: str
    created_at: str
    stage: Literal["candidate", "production", "retired"]
    metrics: dict[str, Any]


class ModelsOut(BaseModel):
    """All releases, oldest first, and the one that answers here."""

    serving: str
    production: str | None
    models: list[ModelOut]


class FeatureOut(BaseModel):
    """One feature of a person now, as the ranker reads it."""

    name: str
    value: float | None = Field(description="null where it is not known")
    unit: str
    meaning: str


class StateOut(BaseModel):
    """How much of a person is in the store."""

    version: int = Field(description="grows with every event applied")
    events: int = Field(description="in the history: all but impressions, subscriptions and blocks")
    impressions: int
    clicks: int
    watches: int = Field(description="that came with a watch time")
    full_watches: int
    watch_seconds: float
    subscribed: int = Field(description="channels that the person follows")
    blocked: int = Field(description="channels that the person has blocked")


class FeaturesOut(BaseModel):
    """What the store knows of a person now."""

    user_id: int | str
    known: bool = Field(description="false for somebody never heard of, for whom all else is that of a newcomer")
    newest_event_at: str | None = Field(description="time of the newest event in the person's history")
    newest_event_of_all_at: str = Field(description="time of the newest event of anybody that is applied here")
    state: StateOut
    features: list[FeatureOut]
    request_id: str
    model_version: str


class VariantOut(BaseModel):
    """One arm of an experiment."""

    name: str
    share: float = Field(description="of the people in the experiment, 0 to 1")


class ExperimentOut(BaseModel):
    """One experiment that is running."""

    name: str
    variants: list[VariantOut]


class ExperimentsOut(BaseModel):
    """The experiments that are running, and whether people are assigned to their variants."""

    assignment: Literal["off"] = Field(description="off: every list is made in the same way, and has no variant")
    experiments: list[ExperimentOut]


class ServesOut(BaseModel):
    """What is in production now, and what answers here."""

    production: str = Field(description="the release that every process serves within about a second, once it is open")
    serving: str = Field(description="the release that answers here from now on")
    problem: str | None = Field(description="why the release in production does not answer here")


class ProblemOut(BaseModel):
    """An error as RFC 9457 describes it."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[dict[str, str]] | None = Field(default=None, description="each wrong field and what is wrong with it")
