"""New videos from their content alone, on a synthetic world: do the two towers bring them to the people who watch them?

The world is cut some days before its end. The towers are fitted on what happened before, over a catalogue that holds
nothing published later: no interaction, id or text of a new video reaches them. Then the catalogue is extended, and
everybody who has a history and later likes a new video is asked for at the cut. The truth are the new videos they like
in the days after it; as people are shown few of them, no list can find all: the world's true preference, which knows
what nobody else does, says how far one can come. What the towers would give somebody else, asked in this person's
place, says how much of it any list of promising new videos finds.

Recall@100 is measured among the new videos alone, where a random list finds 100 / new, and among the whole catalogue
without what the person watched, where it finds 100 / videos. As served, the towers also weigh how popular a video is of
late, which nothing new is; both are given.

    python benchmarks/cold_videos.py            (about four minutes on one core)
    python benchmarks/cold_videos.py --set id_dropout=0.3 --set text_dim=64 --json other.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextreel.assembly import Config
from nextreel.data import World
from nextreel.evaluation.lineage import commit, hardware, versions
from nextreel.params import Params
from nextreel.retrieval.two_tower import fitting
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.store import MemoryStore
from nextreel.store.memory import relevance_of
from nextreel.types import DAY, Catalogue, FloatArray, Request, RowArray, UserId

RESULTS = Path(__file__).resolve().parent / "results"
K = 100
MUST = 5.0  # times what a random list finds


class Size(Params):
    """The world, and how much of it comes after the cut."""

    users: int = 2_000
    videos: int = 8_000
    interactions: int = 250_000
    days: int = 60
    new_days: float = 20.0


@dataclass(frozen=True)
class Cut:
    """A world before and after the cut; the rows of old videos come first."""

    catalogue: Catalogue  # of all videos
    old: int  # how many were published before the cut
    store: MemoryStore  # just before the cut
    truth: dict[UserId, RowArray]  # new videos that each person likes afterwards
    at: float
    preference: FloatArray  # (people of `truth`, videos) true preference at the cut


def part(catalogue: Catalogue, rows: NDArray[np.integer[Any]]) -> Catalogue:
    """The catalogue of the chosen rows alone, in their order."""
    arrays = ("category", "categories", "channel", "language", "duration", "published_at", "maturity", "available")
    columns: dict[str, Any] = {name: getattr(catalogue, name)[rows] for name in ("video_ids", *arrays)}
    for name in ("titles", "texts", "tags"):
        values = getattr(catalogue, name)
        columns[name] = [values[row] for row in rows.tolist()] if len(values) else values
    row_of = {video_id: row for row, video_id in enumerate(columns["video_ids"].tolist())}
    return replace(catalogue, **columns, row_of=row_of)


def cut(size: Size, seed: int) -> tuple[Cut, Any]:
    """The world cut in two, and what a fit may see of it: events, relevance, catalogue and profiles."""
    world = World.make(size.users, size.videos, size.interactions, seed, days=size.days)
    data = world.dataset()
    at = float(world.truth.span[1]) - size.new_days * DAY
    late = data.catalogue.published_at >= at
    order = np.argsort(late, kind="stable")
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    catalogue, old = part(data.catalogue, order), int((~late).sum())
    events = replace(data.events, video=np.where(data.events.video >= 0, place[data.events.video], -1).astype(np.int32))
    graded = relevance_of(events, catalogue, Config().relevance)
    before = int(np.searchsorted(events.at, at))
    known = events.take(slice(before))
    if (known.video >= old).any():
        raise SystemExit("Expected no event about a video before it was published.")
    store = MemoryStore(catalogue, Config().relevance, dict(zip(events.user_ids.tolist(), data.profiles, strict=True)))
    store.apply_many(known)
    liked = np.flatnonzero((np.arange(len(events)) >= before) & (graded > 0) & (events.video >= old))
    truth: dict[UserId, RowArray] = {}
    for user in np.unique(events.user[liked]).tolist():
        user_id = events.user_ids[user]
        if len(store.user(user_id).history):
            truth[user_id] = np.unique(events.video[liked[events.user[liked] == user]])
    people = np.repeat(np.array(list(truth), object), len(catalogue))
    videos = np.tile(np.asarray(catalogue.video_ids, object), len(truth))
    true = world.preference(people, videos, at).reshape(len(truth), len(catalogue))
    given = (known, graded[:before], part(catalogue, np.arange(old)), data.profiles)
    return Cut(catalogue, old, store, truth, at, true), given


def recall(scores: FloatArray, truth: RowArray, among: NDArray[np.integer[Any]]) -> float:
    """The part of the truth that is among the K rows scored highest."""
    first = among[np.argsort(-scores[among], kind="stable")[:K]]
    return float(np.isin(truth, first).mean())


def judge(world: Cut, towers: Any) -> dict[str, dict[str, float]]:
    """Mean recall@100 of each way to score, among the new videos and among the whole catalogue."""
    extended = towers.extended(world.catalogue)
    served = extended.over(world.store.counters)
    every = np.arange(len(world.catalogue), dtype=np.int32)
    new = every[world.old :]
    people = list(world.truth)
    found: dict[str, list[tuple[float, float]]] = {}
    for number, (user_id, truth) in enumerate(world.truth.items()):
        other = people[number - 1]
        user, request = world.store.user(user_id), Request(user_id, world.at)
        rest = np.setdiff1d(every, user.history.rows)
        ways = {
            "towers": extended.score(request, user, every),
            "towers, for somebody else": extended.score(Request(other, world.at), world.store.user(other), every),
            "towers as served": served.score(request, user, every),
            "true preference": world.preference[number],
        }
        for name, scores in ways.items():
            found.setdefault(name, []).append((recall(scores, truth, new), recall(scores, truth, rest)))
    chance = np.array([K / len(new), K / len(every)])
    means = {"random": chance} | {name: np.mean(values, axis=0) for name, values in found.items()}
    return {
        name: {
            "recall@100 among new": float(value[0]),
            "times random": float(value[0] / chance[0]),
            "recall@100 among all": float(value[1]),
            "times random among all": float(value[1] / chance[1]),
        }
        for name, value in means.items()
    }


def measure(size: Size, params: TwoTowerParams, seed: int) -> dict[str, Any]:
    """One world and one fit."""
    world, given = cut(size, seed)
    events, graded, catalogue, profiles = given
    started = perf_counter()
    towers = fitting.fit(events, graded, catalogue, params.model_copy(update={"seed": seed}), profiles=profiles)
    seconds = perf_counter() - started
    return {
        "seed": seed,
        "videos": len(world.catalogue),
        "new_videos": len(world.catalogue) - world.old,
        "people": len(world.truth),
        "truths_per_person": sum(map(len, world.truth.values())) / len(world.truth),
        "training_events": len(events),
        "fit_seconds": seconds,
        "found": judge(world, towers),
    }


def changed(given: list[str]) -> TwoTowerParams:
    """The default towers with what `--set NAME=VALUE` changes."""
    changes = tomllib.loads("\n".join(given))
    return TwoTowerParams.model_validate(Config().two_tower.model_dump() | changes)


def main() -> int:
    """Measures, prints and writes; 1 when the towers find less than five times what a random list does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="parameter of the towers")
    parser.add_argument("--size", action="append", default=[], metavar="NAME=VALUE", help="size of the world")
    parser.add_argument("--json", type=Path, default=RESULTS / "cold_videos.json")
    given = parser.parse_args()
    load, params = os.getloadavg(), changed(given.set)
    size = Size.model_validate(tomllib.loads("\n".join(given.size)))
    runs = []
    for seed in given.seeds:
        runs.append(measure(size, params, seed))
        print(json.dumps(runs[-1], indent=2))
    ratios = [one["found"]["towers"]["times random"] for one in runs]
    result = {
        "benchmark": "cold_videos",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": load,  # a busy machine takes longer
        "world": size.model_dump(),
        "two_tower": params.model_dump(mode="json"),
        "times_random": {"mean": float(np.mean(ratios)), "least": min(ratios), "must": MUST},
        "runs": runs,
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"{np.mean(ratios):.2f} times random (must: {MUST:g}). Wrote {given.json}")
    return int(min(ratios) < MUST)


if __name__ == "__main__":
    sys.exit(main())
