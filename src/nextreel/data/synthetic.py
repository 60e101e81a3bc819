"""A synthetic world: people with known tastes, videos a person can read about, and what the people did.

Users mix one to three interests; videos lie near the interest they are made for; what is popular drifts; people watch
in sessions that mostly stay within one interest, look at the top of a list first, and watch longer what they like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nextreel.data.behaviour import Behaviour, interact
from nextreel.data.dataset import Dataset, Tables, assemble
from nextreel.data.errors import Report, RowNumbers
from nextreel.data.schemas import SCHEMAS
from nextreel.data.tables import Raw
from nextreel.data.tastes import FACTORS, INTERESTS, Tastes, unit
from nextreel.data.validation import clean
from nextreel.data.versions import Source
from nextreel.data.wordbank import (
    BANK,
    CHANNEL_FIRST,
    CHANNEL_LAST,
    COUNTRIES,
    LANGUAGE_SHARES,
    LANGUAGES,
)
from nextreel.types import DAY, FloatArray, IdArray, NextreelError, UserId, VideoId

END = 1_767_225_600.0  # 2026-01-01 UTC: a world is the same whenever it is made
PERIOD = 60 * DAY

_CHILDREN = [(main, child) for main, words in BANK.items() for child in words.topics]


@dataclass(frozen=True, slots=True)
class World:
    """Tables of a data folder and the tastes they came from."""

    users: pl.DataFrame
    videos: pl.DataFrame
    channels: pl.DataFrame
    interactions: pl.DataFrame
    tastes: Tastes

    @classmethod
    def make(
        cls, users: int = 1_000, videos: int = 500, interactions: int = 10_000, seed: int = 42, end: float = END
    ) -> World:
        """A world whose last 60 days before `end` hold exactly so many interactions; the same for the same arguments.

        Raises `NextreelError` where a size is below 1, or where so few people and videos cannot do so much.
        """
        if min(users, videos, interactions) < 1:
            raise NextreelError(
                f"Expected at least 1 user, video and interaction, got {users:,}, {videos:,} and {interactions:,}."
            )
        rng = np.random.default_rng(seed)
        people, interest_child, log_shares, interests, language, age, joined = _people(rng, users, end)
        uploads, child, factors, quality, video_language, maturity, published = _uploads(rng, videos, end)
        channels = _channels(rng, uploads, child)
        tastes = Tastes(
            _ids("u", users), _ids("v", videos), interests, log_shares, language, age, factors, quality,
            video_language, maturity,
        )  # fmt: skip
        behaviour = Behaviour(
            tastes=tastes,
            interest_child=interest_child,
            joined=joined,
            child=child,
            main=_main_of()[child],
            published=published,
            duration=uploads["duration"].to_numpy(),
            start=end - PERIOD,
            end=end,
        )
        done = interact(rng, behaviour, interactions)
        return cls(people, uploads.with_columns(channels["channel_of"]), channels["table"].to_frame().unnest("table"),
                   done, tastes)  # fmt: skip

    def preference(self, user_ids: Sequence[UserId] | IdArray, video_ids: Sequence[VideoId] | IdArray) -> FloatArray:
        """The true preference from 0 to 1 of each pair (n,) of a user and a video."""
        return self.tastes.preference(user_ids, video_ids)

    def dataset(self) -> Dataset:
        """The data set that `load` makes of the written world, without a file."""
        report = Report()
        frames = {name: clean(Raw(name, getattr(self, name), RowNumbers()), SCHEMAS[name], report) for name in SCHEMAS}
        report.raise_if_refused()
        content = [
            Source(name, 0, sha256(getattr(self, name).hash_rows().to_numpy().tobytes()).hexdigest())
            for name in SCHEMAS
        ]
        return assemble(Tables(**frames), content)

    def write(self, out: Path) -> Path:
        """The folder with `users|videos|channels|interactions.parquet` and `world.npz`, the true tastes."""
        out.mkdir(parents=True, exist_ok=True)
        for name in SCHEMAS:
            getattr(self, name).write_parquet(out / f"{name}.parquet")
        self.tastes.save(out / "world.npz")
        return out


def write(out: Path, users: int = 1_000, videos: int = 500, interactions: int = 10_000, seed: int = 42) -> Path:
    """The folder with a world's tables and `world.npz`; byte for byte the same tables for the same arguments."""
    return World.make(users, videos, interactions, seed).write(Path(out))


def _ids(letter: str, n: int) -> IdArray:
    return np.char.add(letter, np.arange(1, n + 1).astype(str))


def _main_of() -> NDArray[np.intp]:
    """The number of the main category of each child category."""
    names = list(BANK)
    return np.array([names.index(main) for main, _ in _CHILDREN], np.intp)


def _centroids() -> FloatArray:
    """Unit vectors of the child categories; those of one main category lie near each other. Fixed for all worlds."""
    rng = np.random.default_rng(2_024)
    mains = np.linalg.qr(rng.normal(size=(FACTORS, FACTORS)))[0][: len(BANK)]
    own = unit(rng.normal(size=(len(_CHILDREN), FACTORS)))
    return unit(mains[_main_of()] + 0.75 * own)


def _people(
    rng: np.random.Generator, n: int, end: float
) -> tuple[pl.DataFrame, NDArray[np.intp], FloatArray, FloatArray, NDArray[np.int8], FloatArray, NDArray[np.float64]]:
    taste = rng.dirichlet(np.full(len(_CHILDREN), 4.0))  # how common each interest is
    # Gumbel top-k: interests of one person without a repeat
    keys = np.log(taste) + rng.gumbel(size=(n, len(_CHILDREN)))
    child = np.argpartition(-keys, INTERESTS, axis=1)[:, :INTERESTS]
    many = rng.choice(INTERESTS, n, p=(0.3, 0.4, 0.3)) + 1
    share = rng.dirichlet(np.full(INTERESTS, 1.5), n)
    share = np.where(np.arange(INTERESTS) < many[:, None], share, 0.0)
    share /= share.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        log_shares = np.maximum(np.log(share), -9.0).astype(np.float32)
    # 0.55 of noise of unit length: two people of one interest still differ
    interests = unit(_centroids()[child] + 0.55 * unit(rng.normal(size=(n, INTERESTS, FACTORS))))
    # an interest of share 0 must never win: its vector is that of the first
    interests = np.where(share[:, :, None] > 0, interests, interests[np.arange(n), share.argmax(axis=1)][:, None])
    language = rng.choice(len(LANGUAGES), n, p=LANGUAGE_SHARES).astype(np.int8)
    age = np.clip(np.round(13 + rng.gamma(2.2, 9.0, n)), 13, 90).astype(np.float32)
    early = rng.random(n) < 0.8  # the others join within the period
    joined = np.where(early, end - PERIOD - rng.exponential(300 * DAY, n), end - rng.random(n) * 0.9 * PERIOD)
    joined = np.round(joined).astype(np.float64)
    countries = [COUNTRIES[code] for code in LANGUAGES]
    pick = rng.random(n)
    table = pl.DataFrame(
        {
            "user_id": _ids("u", n).tolist(),
            "country": [countries[a][int(b * len(countries[a]))] for a, b in zip(language, pick, strict=True)],
            "language": np.array(LANGUAGES)[language].tolist(),
            "age": age.astype(np.int64),
            "gender": np.array(["F", "M", None], object)[rng.choice(3, n, p=(0.46, 0.46, 0.08))].tolist(),
            "created_at": _stamps(joined),
        }
    )
    return table, child, log_shares, interests, language, age, joined


def _uploads(
    rng: np.random.Generator, n: int, end: float
) -> tuple[
    pl.DataFrame, NDArray[np.intp], FloatArray, FloatArray, NDArray[np.int8], NDArray[np.int8], NDArray[np.float64]
]:
    child = rng.permutation(np.arange(n) % len(_CHILDREN)).astype(np.intp)  # every child category has videos
    words = [BANK[main] for main, _ in _CHILDREN]
    factors = unit(_centroids()[child] + 0.55 * unit(rng.normal(size=(n, FACTORS))))
    quality = rng.normal(size=n).astype(np.float32)
    language = np.where(rng.random(n) < 0.75, 0, rng.choice(len(LANGUAGES), n, p=LANGUAGE_SHARES)).astype(np.int8)
    adult = np.array([one.maturity for one in words])[child]
    maturity = np.where(rng.random(n) < 0.3, adult, 0).astype(np.int8)
    new = rng.random(n) < 0.35  # uploaded within the period
    age = np.where(new, rng.random(n) * PERIOD, PERIOD + rng.exponential(240 * DAY, n))
    published = np.round(end - age)
    median = np.array([one.minutes for one in words])[child] * 60
    duration = np.clip(np.round(median * np.exp(0.6 * rng.normal(size=n))), 20, 3 * 3_600)
    titles, tags, blurbs = _writing(rng, child)
    table = pl.DataFrame(
        {
            "video_id": _ids("v", n).tolist(),
            "title": titles,
            "description": blurbs,
            "category": [_CHILDREN[one][0] for one in child],
            "child_categories": [[_CHILDREN[one][1]] for one in child],
            "language": np.array(LANGUAGES)[language].tolist(),
            "duration": duration,
            "tags": tags,
            "published_at": _stamps(published),
            "is_available": rng.random(n) >= 0.03,
            "maturity_rating": maturity.astype(np.int64),
        }
    )
    return table, child, factors, quality, language, maturity, published


def _writing(rng: np.random.Generator, child: NDArray[np.intp]) -> tuple[list[str], list[list[str]], list[str]]:
    """Titles without a repeat, tags and descriptions."""
    titles, tags, blurbs = [""] * len(child), [[""]] * len(child), [""] * len(child)
    for one, (main, name) in enumerate(_CHILDREN):
        topics, patterns = BANK[main].topics[name], BANK[main].patterns
        deck = rng.permutation(len(topics) * len(patterns))
        for place, row in enumerate(np.flatnonzero(child == one).tolist()):
            part, card = divmod(place, len(deck))
            topic, pattern = topics[deck[card] % len(topics)], patterns[deck[card] // len(topics)]
            title = pattern.format(topic)
            title = title[0].upper() + title[1:]
            titles[row] = f"{title} (Part {part + 1})" if part else title
            bare = topic.removeprefix("the ").removeprefix("a ").removeprefix("an ").removeprefix("The ")
            tags[row] = [name.lower(), bare.lower(), main.lower()]
            blurbs[row] = f"A video about {topic}, for everybody who likes {name.lower()}."
    return titles, tags, blurbs


def _channels(rng: np.random.Generator, uploads: pl.DataFrame, child: NDArray[np.intp]) -> dict[str, pl.Series]:
    """The channel table, and the channel of each video: every channel keeps to one main category."""
    mains = _main_of()
    per_main = max(1, round(len(child) / 10 / len(BANK)))
    draw = np.minimum((rng.random(len(child)) ** 2 * per_main).astype(np.intp), per_main - 1)
    number = mains[child] * per_main + draw
    n = per_main * len(BANK)
    first, last = np.arange(n) % len(CHANNEL_FIRST), np.arange(n) // len(CHANNEL_FIRST) % len(CHANNEL_LAST)
    again = np.arange(n) // (len(CHANNEL_FIRST) * len(CHANNEL_LAST))
    names = [
        f"{CHANNEL_FIRST[a]} {CHANNEL_LAST[(a + b) % len(CHANNEL_LAST)]}" + (f" {c + 1}" if c else "")
        for a, b, c in zip(first, last, again, strict=True)
    ]
    table = pl.DataFrame(
        {
            "channel_id": _ids("c", n).tolist(),
            "name": names,
            "subscriber_count": np.round(np.exp(rng.normal(8.0, 1.5, n))).astype(np.int64),
        }
    )
    return {
        "table": table.to_struct("table"),
        "channel_of": pl.Series("channel_id", _ids("c", n)[number].tolist()),
    }


def _stamps(seconds: NDArray[np.float64]) -> pl.Series:
    """Times in UTC to the millisecond."""
    milliseconds = np.round(seconds * 1e3).astype(np.int64)
    return pl.Series(milliseconds).cast(pl.Datetime("ms", "UTC"))
