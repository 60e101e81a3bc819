"""Shapes of what comes in over HTTP; unknown fields are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

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

from nextreel.types import LATEST

MAX_ITEMS = 100  # videos in one answer
MAX_EXCLUDED = 1000
MAX_EVENTS = 500  # of one list of feedback
MAX_VALUE = 1e9  # of a value, and seconds of a watch: no sum over all events gets out of hand
MAX_POSITION = 1_000_000  # as in files of interactions
MAX_UPLOADS = 500  # of one list of videos
MAX_REGIONS = 250  # of one video
MAX_NAMES = 50  # child categories, or tags, of one video

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
