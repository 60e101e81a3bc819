"""The truth of the synthetic world: who likes what, and how much. It is known exactly, as no real data set's is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextreel.types import FloatArray, IdArray, NextreelError, UserId, VideoId

FACTORS = 16
INTERESTS = 3  # at most, for one person
_SHARPNESS = 9.0
_FOREIGN = 1.6  # logits lost by a video in a language the person does not speak
_UNSUITABLE = 3.0  # logits lost by a video the person is too young for
_NONE = -np.float32(9.0)  # log share of an interest a person does not have


@dataclass(frozen=True, slots=True)
class Tastes:
    """Latent factors of U users and V videos."""

    user_ids: IdArray  # (U,) as fixed-width text
    video_ids: IdArray  # (V,)
    interests: FloatArray  # (U, INTERESTS, FACTORS) unit vectors
    log_shares: FloatArray  # (U, INTERESTS) log of how much of the person each interest is
    language: NDArray[np.int8]  # (U,)
    age: FloatArray  # (U,)
    videos: FloatArray  # (V, FACTORS) unit vectors
    quality: FloatArray  # (V,) standard normal: how well it is made, the same for everybody
    video_language: NDArray[np.int8]  # (V,)
    maturity: NDArray[np.int8]  # (V,)

    def logit(self, user: NDArray[np.intp], video: NDArray[np.intp]) -> FloatArray:
        """Log odds that the person likes the video, for pairs of places (n,)."""
        likeness = np.full(len(user), _NONE, np.float32)
        for one in range(INTERESTS):  # the interest that fits best decides
            dot = np.einsum("nf,nf->n", self.interests[user, one], self.videos[video])
            likeness = np.maximum(likeness, dot + 0.08 * self.log_shares[user, one])
        foreign = (self.language[user] != self.video_language[video]) & (self.video_language[video] != 0)
        young = self.age[user] < self.maturity[video]
        logit = _SHARPNESS * (likeness - 0.62) + 0.5 * self.quality[video] - _FOREIGN * foreign - _UNSUITABLE * young
        return np.asarray(logit, np.float32)

    def preference(self, user_ids: Sequence[UserId] | IdArray, video_ids: Sequence[VideoId] | IdArray) -> FloatArray:
        """The true preference from 0 to 1 of each pair (n,) of a user and a video.

        Raises `NextreelError` for an id that is not of this world.
        """
        users = _places(np.asarray(self.user_ids), user_ids, "user")
        videos = _places(np.asarray(self.video_ids), video_ids, "video")
        return probability(self.logit(users, videos))

    def save(self, path: Path) -> None:
        """Writes all arrays into one `.npz` file."""
        np.savez_compressed(path, **{one.name: getattr(self, one.name) for one in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Tastes:
        """The tastes that `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{one.name: arrays[one.name] for one in fields(cls)})


def probability(logit: FloatArray) -> FloatArray:
    """The logistic function, from 0 to 1."""
    return np.asarray(1.0 / (1.0 + np.exp(-logit)), np.float32)


def unit(vectors: NDArray[np.floating]) -> FloatArray:
    """The vectors (…, f) scaled to length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def _places(known: IdArray, ids: Sequence[UserId] | IdArray, noun: str) -> NDArray[np.intp]:
    """The place of each id, which is a letter and the place counted from 1."""
    asked = np.asarray(ids).astype(known.dtype.kind)
    order = np.argsort(known, kind="stable")
    found = np.minimum(np.searchsorted(known, asked, sorter=order), len(known) - 1)
    places = order[found]
    strange = known[places] != asked
    if strange.any():
        first = asked[np.flatnonzero(strange)[0]]
        raise NextreelError(f"Expected a {noun} of this world, got {str(first)!r}. Known: {known[0]} to {known[-1]}.")
    return np.asarray(places, np.intp)
