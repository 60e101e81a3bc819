"""What a person is in the middle of: videos that they began, and what they finished."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from nextreel.params import Params
from nextreel.types import DAY, Catalogue, Kind, RowArray, TimeArray, UserState


class ResumeParams(Params):
    """What a list begins with for a person who is in the middle of something."""

    places: int = Field(default=2, ge=0)  # of the list, the first ones; 0 = nothing is gone on with
    least: float = Field(default=0.05, ge=0, le=1)  # part of a video from which it counts as begun
    most: float = Field(default=0.9, ge=0, le=1)  # part of a video from which on it counts as finished
    days: float = Field(default=30.0, gt=0)  # what was left for longer is not gone on with

    @model_validator(mode="after")
    def _begun_before_finished(self) -> ResumeParams:
        if self.least >= self.most:
            raise ValueError(f"expected least below most, got {self.least} and {self.most}")
        return self


def begun(user: UserState, catalogue: Catalogue, at: float, params: ResumeParams) -> tuple[RowArray, TimeArray]:
    """The videos that the person began of late and did not finish, and when they watched last."""
    rows, part, when = _partly(user, catalogue)
    open_ = (part >= params.least) & (part <= params.most) & (when > at - params.days * DAY)
    return rows[open_], when[open_]


def finished(user: UserState, catalogue: Catalogue, at: float, params: ResumeParams) -> tuple[RowArray, TimeArray]:
    """The videos that the person watched to the end of late, and when; one of them may come more than once."""
    rows, part, when = _partly(user, catalogue)
    ended = (part > params.most) & (when > at - params.days * DAY)
    history = user.history
    late = history.at > at - params.days * DAY
    late &= history.kinds == Kind.COMPLETE
    return np.concatenate([rows[ended], history.rows[late]]), np.concatenate([when[ended], history.at[late]])


def _partly(user: UserState, catalogue: Catalogue) -> tuple[RowArray, NDArray[np.float64], TimeArray]:
    """What the person watched last: rows, the part watched, NaN for a video of unknown length, and when."""
    rows = np.fromiter(user.partly, np.int32, len(user.partly))
    watched = np.array(list(user.partly.values()), np.float64).reshape(-1, 2)
    there = rows < len(catalogue)
    rows, watched = rows[there], watched[there]
    duration = catalogue.duration[rows].astype(np.float64)
    part = watched[:, 0] / np.where(duration > 0, duration, np.nan)
    return rows, part, watched[:, 1]
