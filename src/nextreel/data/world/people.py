"""The people of the synthetic world: a few interests each, which grow and fade, a language, an age, a main device."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nextreel.data.world.plan import Plan, Purpose
from nextreel.data.world.truth import FACTORS, INTERESTS, People, unit
from nextreel.data.world.words import (
    BANK,
    CHILDREN,
    COUNTRIES,
    COUNTRY_CODES,
    DEVICE_SHARES,
    DEVICES,
    LANGUAGE_SHARES,
    LANGUAGES,
    MAIN_OF,
)
from nextreel.types import DAY, FloatArray, TimeArray

_DRIFTERS = 0.4  # share of the people whose interests move within the period


def centroids() -> FloatArray:
    """Unit vectors (children, FACTORS); those of one main category lie near each other. The same for all worlds."""
    rng = np.random.default_rng(2_024)
    mains = np.linalg.qr(rng.normal(size=(FACTORS, FACTORS)))[0][: len(BANK)]
    own = unit(rng.normal(size=(len(CHILDREN), FACTORS)))
    return unit(mains[list(MAIN_OF)] + 0.75 * own)


def people(plan: Plan, shard: int) -> tuple[People, pl.DataFrame]:
    """One shard's people and their rows of the users' table."""
    rng, where = plan.random(Purpose.PEOPLE, shard), plan.shards[shard]
    n = where.stop - where.start
    child, interests, shares, later = _interests(rng, _how_common(plan), n)
    language = rng.choice(len(LANGUAGES), n, p=LANGUAGE_SHARES).astype(np.int8)
    joined = _joined(rng, plan, n)
    if where.start == 0:
        joined[0] = min(joined[0], np.floor(plan.start - DAY))  # so that the smallest of worlds is never empty
    found = People(
        interests=interests,
        interest_child=child,
        shares=shares,
        later_shares=later,
        language=language,
        age=np.clip(np.round(13 + rng.gamma(2.2, 9.0, n)), 13, 90).astype(np.float32),
        country=_countries(rng, language),
        device=rng.choice(len(DEVICES), n, p=DEVICE_SHARES).astype(np.int8),
        joined=joined,
        activity=np.exp(rng.normal(size=n)).astype(np.float32),  # few do much, many little
    )
    gender = rng.choice(3, n, p=(0.46, 0.46, 0.08))
    return found, _table(found, gender, where.start)


def _how_common(plan: Plan) -> TimeArray:
    """How common each interest is (children,), in sum 1."""
    return plan.random(Purpose.INTERESTS).dirichlet(np.full(len(CHILDREN), 4.0))


def _interests(
    rng: np.random.Generator, common: TimeArray, n: int
) -> tuple[NDArray[np.int16], FloatArray, FloatArray, FloatArray]:
    """Child categories, vectors, and shares at the start and at the end."""
    # Gumbel top-k: interests of one person without a repeat
    keys = np.log(common) + rng.gumbel(size=(n, len(CHILDREN)))
    child = np.argpartition(-keys, INTERESTS, axis=1)[:, :INTERESTS].astype(np.int16)
    shares = _shares(rng, n)
    moved = rng.random(n) < _DRIFTERS
    later = np.where(moved[:, None], _shares(rng, n), shares)
    # 0.55 of noise of unit length: two people of one interest still differ
    vectors = unit(centroids()[child] + 0.55 * unit(rng.normal(size=(n, INTERESTS, FACTORS))))
    return child, vectors, shares, later


def _shares(rng: np.random.Generator, n: int) -> FloatArray:
    """Shares of one to three interests (n, INTERESTS), in sum 1; 0 for an interest that is not there."""
    many = rng.choice(INTERESTS, n, p=(0.3, 0.4, 0.3)) + 1
    share = rng.dirichlet(np.full(INTERESTS, 1.5), n)
    share = np.where(np.arange(INTERESTS) < many[:, None], share, 0.0)
    return np.asarray(share / share.sum(axis=1, keepdims=True), np.float32)


def _joined(rng: np.random.Generator, plan: Plan, n: int) -> TimeArray:
    early = rng.random(n) < 0.8  # the others join within the period
    period = plan.end - plan.start
    before = plan.start - rng.exponential(300 * DAY, n)
    return np.asarray(np.round(np.where(early, before, plan.end - rng.random(n) * 0.9 * period)), np.float64)


def _countries(rng: np.random.Generator, language: NDArray[np.int8]) -> NDArray[np.int8]:
    """A country in which the language is spoken, for each person."""
    many = np.array([len(COUNTRIES[one]) for one in LANGUAGES])
    first = np.cumsum(many) - many
    return np.asarray(first[language] + np.floor(rng.random(len(language)) * many[language]), np.int8)


def _table(found: People, gender: NDArray[np.integer], first: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": ids("u", np.arange(first, first + len(found))),
            "country": pl.Series(COUNTRY_CODES).gather(found.country.astype(np.int64)),
            "language": pl.Series(LANGUAGES).gather(found.language.astype(np.int64)),
            "age": found.age.astype(np.int64),
            "gender": pl.Series(["F", "M", None]).gather(gender),
            "created_at": stamps(found.joined),
        }
    )


def ids(letter: str, places: NDArray[np.integer[Any]]) -> pl.Series:
    """Ids of things (n,) whose places are counted from 0.

    >>> ids("u", np.array([2, 3])).to_list()
    ['u3', 'u4']
    """
    return pl.select(pl.format(letter + "{}", pl.lit(pl.Series(places.astype(np.int64) + 1)))).to_series()


def stamps(seconds: TimeArray) -> pl.Series:
    """Times in UTC to the millisecond."""
    return pl.Series(np.round(seconds * 1e3).astype(np.int64)).cast(pl.Datetime("ms", "UTC"))
