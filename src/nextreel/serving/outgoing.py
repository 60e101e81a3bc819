"""Shapes of what goes out over HTTP, as the OpenAPI document describes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


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
