"""What may be chosen of the final order."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from nextreel.params import Params
from nextreel.resuming import ResumeParams


class DppParams(Params):
    """How a determinantal point process weighs value against likeness."""

    strength: float = Field(default=1.0, ge=0)  # of the value: quality is exp(strength × standardised value)
    likeness: float = Field(default=0.9, ge=0, le=1)  # of two videos of the same kind; 1 = one shuts out the other
    channel: float = Field(default=0.0, ge=0, le=1)  # part of the likeness that is the channel; the rest is categories
    depth: int = Field(default=10, ge=1)  # candidates looked at for each place in the list


class CapParams(Params):
    """How many videos of a kind may be near each other; None is no cap."""

    per_channel: int | None = Field(default=None, ge=1)  # videos of one channel among `window` places in a row
    per_category: int | None = Field(default=None, ge=1)  # the same for videos of one main category
    window: int | None = Field(default=None, ge=1)  # places in a row that are counted; None: the whole list


class ExploreParams(Params):
    """Which places of the list are given to chance."""

    slots: int = Field(default=0, ge=0)  # places drawn from the candidates below the k best; 0 = none
    places: tuple[int, ...] = ()  # which ones they are, 0 = first; empty: the last of the list
    temperature: float = Field(default=1.0, ge=1e-3)  # in standard deviations of the values; high = all alike
    novelty: float = Field(default=0.0, ge=0)  # 1 = of two videos, the one played half as often is drawn twice as often

    @model_validator(mode="after")
    def _as_many_places_as_slots(self) -> Self:
        if self.places and (len(set(self.places)) != self.slots or len(self.places) != self.slots):
            raise ValueError(f"expected {self.slots} distinct places, one for each slot, got {list(self.places)}")
        if min(self.places, default=0) < 0:
            raise ValueError(f"expected places from 0 on, got {list(self.places)}")
        return self


class PromoteParams(Params):
    """Which videos are promoted, and which places of the list they are given."""

    videos: tuple[int | str, ...] = ()  # ids as the catalogue has them; none = nothing is promoted
    places: tuple[int, ...] = ()  # the places that are theirs, 0 = first
    share: float = Field(default=0.0, ge=0, le=1)  # or this part of the places, rounded down, spread over the list
    most: int | None = Field(default=None, ge=1)  # promoted videos in one list at most; None: as many as have a place

    @field_validator("videos", mode="before")
    @classmethod
    def _ids(cls, videos: Any) -> Any:
        if isinstance(videos, list | tuple) and any(isinstance(video, bool) for video in videos):
            raise ValueError(f"expected ids of videos, got {list(videos)}")  # true would be the video 1
        return videos

    @model_validator(mode="after")
    def _one_kind_of_places(self) -> Self:
        if len(set(map(str, self.videos))) != len(self.videos):  # 7 and "7" are one
            raise ValueError(f"expected each promoted video once, got {list(self.videos)}")
        if len(set(self.places)) != len(self.places) or min(self.places, default=0) < 0:
            raise ValueError(f"expected distinct places from 0 on, got {list(self.places)}")
        if self.videos and bool(self.places) == (self.share > 0):
            raise ValueError("expected either places or a share of them above 0 for the promoted videos")
        return self


class OrderParams(Params):
    """How far the final order may leave the ranker's."""

    diversity: float = Field(default=0.3, ge=0, le=1)  # 0 = the ranker's order alone; 1 = as unlike as can be
    depth: int = Field(default=3, ge=1)  # candidates looked at for each place in the list
    freshness: float = Field(default=0.0, ge=0)  # added to what is published now, in standard deviations of the values
    freshness_half_life: float = Field(default=14.0, gt=0)  # days after which half of that is left
    diversifier: Literal["mmr", "dpp"] = "mmr"  # what makes the list diverse where diversity > 0; dpp by its own table
    dpp: DppParams = DppParams()
    caps: CapParams = CapParams()
    explore: ExploreParams = ExploreParams()
    promote: PromoteParams = PromoteParams()
    resume: ResumeParams = ResumeParams()
