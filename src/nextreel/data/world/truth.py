"""The truth of the synthetic world: who likes what, when, and how much. It is known as no real data set's is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nextreel.types import DAY, BoolArray, FloatArray, IdArray, NextreelError, TimeArray, UserId, VideoId

FACTORS = 16
INTERESTS = 3  # at most, for one person
LENGTH = 10  # videos of one list at most
_SHARPNESS = 9.0
_FOREIGN = 1.6  # logits lost by a video in a language the person does not speak
_UNSUITABLE = 3.0  # logits lost by a video the person is too young for
_CONTINUES = 1.5  # logits won by the episode after one that was watched
_LEAST = np.exp(np.float32(-9.0))  # the share of an interest a person does not have
_CLICK = (0.06, 0.86)  # chance of a click on what is looked at: the first, plus the second times the preference
_BLOCK = 200_000  # pairs judged at once
# How likely a person looks at each place of a list: what lies further down is seen less.
_EXAMINATION = (0.97, 0.94, 0.90, 0.85, 0.80, 0.74, 0.68, 0.62, 0.56, 0.50)


@dataclass(frozen=True, slots=True)
class People:
    """What decides what each of U people does."""

    interests: FloatArray  # (U, INTERESTS, FACTORS) unit vectors
    interest_child: NDArray[np.int16]  # (U, INTERESTS) child category of each interest
    shares: FloatArray  # (U, INTERESTS) how much of the person each interest is when the world starts
    later_shares: FloatArray  # (U, INTERESTS) and when it ends: in between they move in a straight line
    language: NDArray[np.int8]  # (U,)
    age: FloatArray  # (U,)
    country: NDArray[np.int8]  # (U,) code into COUNTRY_CODES
    device: NDArray[np.int8]  # (U,) code of the device they use most
    joined: TimeArray  # (U,)
    activity: FloatArray  # (U,) how many sessions a day, up to a factor that is the same for all

    def __len__(self) -> int:
        return len(self.joined)

    def take(self, which: slice) -> People:
        """A copy of some people, in memory."""
        return People(**{name: np.array(values[which]) for name, values in arrays(self)})

    @classmethod
    def joined_up(cls, groups: Sequence[People]) -> People:
        """All people of the groups in their order."""
        return cls(**{one.name: np.concatenate([getattr(g, one.name) for g in groups]) for one in fields(cls)})


@dataclass(frozen=True, slots=True)
class Videos:
    """What decides how each of V videos is shown and met."""

    factors: FloatArray  # (V, FACTORS) unit vectors
    quality: FloatArray  # (V,) standard normal: how well it is made, the same for everybody
    language: NDArray[np.int8]  # (V,)
    maturity: NDArray[np.int8]  # (V,)
    child: NDArray[np.int16]  # (V,) child category
    main: NDArray[np.int8]  # (V,) main category
    channel: NDArray[np.int32]  # (V,)
    series: NDArray[np.int32]  # (V,) -1 outside a series
    episode: NDArray[np.int16]  # (V,) 1, 2, …; 0 outside a series
    following: NDArray[np.int32]  # (V,) the next episode's video, -1 where there is none
    published: TimeArray  # (V,)
    duration: TimeArray  # (V,) seconds
    weight: FloatArray  # (V,) how popular it is apart from its age
    peak: TimeArray  # (V,) when people talk about it most
    width: TimeArray  # (V,) for how many seconds around that

    def __len__(self) -> int:
        return len(self.published)

    def popularity(self, at: float) -> TimeArray:
        """How likely each video (V,) is shown at a time, up to a factor; 0 before it is published.

        weight · (0.12 + exp(−((at − peak) / width)² / 2) + 0.6 · exp(−age / 4 days)): a base, a wave of talk, and what
        is new.
        """
        age = at - self.published
        bump = np.exp(-0.5 * ((at - self.peak) / self.width) ** 2)
        popularity = self.weight * (0.12 + bump + 0.6 * np.exp(-np.maximum(age, 0) / (4 * DAY)))
        return np.where(age > 0, popularity, 0.0)


@dataclass(frozen=True, slots=True)
class Truth:
    """All hidden arrays of a world, in memory or mapped from its folder, and what follows from them."""

    people: People
    videos: Videos
    span: TimeArray  # (2,) when the world starts and ends
    examination: TimeArray  # (LENGTH,) how likely each place of a list is looked at

    def logit(
        self, user: NDArray[np.integer[Any]], video: NDArray[np.integer[Any]], at: TimeArray, continues: BoolArray
    ) -> FloatArray:
        """Log odds that the person likes the video, for places of both and times (n,).

        `continues` tells where the video is the episode after one the person watched.
        """
        people, videos = self.people, self.videos
        shares = self.shares(user, at)
        likeness = np.full(len(user), -np.inf, np.float32)
        factors = videos.factors[video]
        for one in range(INTERESTS):  # the interest that fits best decides
            dot = np.einsum("nf,nf->n", people.interests[user, one], factors)
            likeness = np.maximum(likeness, dot + 0.08 * np.log(np.maximum(shares[:, one], _LEAST)))
        spoken = videos.language[video]
        foreign = (people.language[user] != spoken) & (spoken != 0)
        young = people.age[user] < videos.maturity[video]
        logit = _SHARPNESS * (likeness - 0.62) + 0.5 * videos.quality[video]
        return np.asarray(logit - _FOREIGN * foreign - _UNSUITABLE * young + _CONTINUES * continues, np.float32)

    def shares(self, user: NDArray[np.integer[Any]], at: TimeArray) -> FloatArray:
        """How much of each person each interest is (n, INTERESTS) at the times (n,)."""
        gone = np.clip((at - self.span[0]) / (self.span[1] - self.span[0]), 0.0, 1.0).astype(np.float32)[:, None]
        shares = (1 - gone) * self.people.shares[user] + gone * self.people.later_shares[user]
        return np.asarray(shares, np.float32)

    def preference(
        self,
        user_ids: Sequence[UserId] | IdArray,
        video_ids: Sequence[VideoId] | IdArray,
        at: float | TimeArray | None = None,
    ) -> FloatArray:
        """The true preference from 0 to 1 of each pair (n,) of a user and a video; at the world's end if not said.

        Reads of a mapped world only what the pairs need. Raises `NextreelError` for an id that is not of this world.
        """
        users = _places(user_ids, "u", len(self.people), "user")
        videos = _places(video_ids, "v", len(self.videos), "video")
        if len(users) != len(videos):
            raise NextreelError(f"Expected a video for each user, got {len(users):,} users and {len(videos):,} videos.")
        times = np.broadcast_to(np.asarray(self.span[1] if at is None else at, np.float64), users.shape)
        found = np.empty(len(users), np.float32)
        for start in range(0, len(users), _BLOCK):
            part = slice(start, start + _BLOCK)
            alone = np.zeros(len(users[part]), np.bool_)
            found[part] = probability(self.logit(users[part], videos[part], times[part], alone))
        return found

    def click_probability(
        self,
        user_ids: Sequence[UserId] | IdArray,
        video_ids: Sequence[VideoId] | IdArray,
        at: float | TimeArray | None = None,
        position: int | NDArray[np.integer[Any]] = 0,
    ) -> TimeArray:
        """How likely each shown video (n,) is clicked at its place in the list (0 = first).

        The position-based model: examination(place) · (0.06 + 0.86 · preference), where the video does not continue a
        series. Raises `NextreelError` for an id that is not of this world, or a place that no list has.
        """
        place = np.asarray(position)
        if place.size and (place.min() < 0 or place.max() >= LENGTH):
            raise NextreelError(f"Expected places from 0 to {LENGTH - 1}, got {place.min()} to {place.max()}.")
        return np.asarray(self.examination[place] * attraction(self.preference(user_ids, video_ids, at)), np.float64)

    @classmethod
    def open(cls, folder: Path) -> Truth:
        """The truth that was written to `world/` in a data folder (or to this folder itself), mapped, not loaded.

        Raises `NextreelError` where there is none.
        """
        folder = Path(folder)
        folder = folder / "world" if (folder / "world").is_dir() else folder

        def mapped(name: str) -> NDArray[Any]:
            return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))

        try:
            return cls(
                People(**{one.name: mapped(f"user_{one.name}") for one in fields(People)}),
                Videos(**{one.name: mapped(f"video_{one.name}") for one in fields(Videos)}),
                mapped("span"),
                mapped("examination"),
            )
        except FileNotFoundError as error:
            raise NextreelError(
                f"Expected the truth of a synthetic world in {folder}, got no {Path(error.filename).name}. "
                "Hint: `nextreel data synth --out DIR` writes one to DIR/world."
            ) from error


def of(people: People, videos: Videos, start: float, end: float) -> Truth:
    """The truth of a world that lasts from `start` to `end`."""
    return Truth(people, videos, np.array([start, end]), np.array(_EXAMINATION))


def save(folder: Path, videos: Videos, start: float, end: float) -> None:
    """Writes all of a truth but what is true of people, each array into a `.npy` file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays(videos):
        np.save(folder / f"video_{name}.npy", array)
    np.save(folder / "span.npy", np.array([start, end]))
    np.save(folder / "examination.npy", np.array(_EXAMINATION))


def arrays(group: People | Videos) -> Iterator[tuple[str, NDArray[Any]]]:
    """Names and arrays of a group, in order."""
    for one in fields(group):
        yield one.name, getattr(group, one.name)


def attraction(preference: FloatArray) -> TimeArray:
    """How likely a video is clicked once it is looked at."""
    return np.asarray(_CLICK[0] + _CLICK[1] * preference, np.float64)


def probability(logit: FloatArray) -> FloatArray:
    """The logistic function, from 0 to 1."""
    return np.asarray(1.0 / (1.0 + np.exp(-logit)), np.float32)


def unit(vectors: NDArray[np.floating]) -> FloatArray:
    """The vectors (…, f) scaled to length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def _places(ids: Sequence[UserId] | IdArray, letter: str, n: int, noun: str) -> NDArray[np.int64]:
    """The place of each id, which is a letter and the place counted from 1."""
    asked = pl.Series("id", np.asarray(ids).tolist()).cast(pl.String)
    number = asked.str.strip_prefix(letter).cast(pl.Int64, strict=False).fill_null(0)
    right = (asked == pl.select(pl.format(letter + "{}", pl.lit(number))).to_series()).to_numpy()
    places = number.to_numpy() - 1
    strange = ~right | (places < 0) | (places >= n)
    if strange.any():
        first = asked[int(np.flatnonzero(strange)[0])]
        raise NextreelError(f"Expected a {noun} of this world, got {first!r}. Known: {letter}1 to {letter}{n}.")
    return np.asarray(places, np.int64)
