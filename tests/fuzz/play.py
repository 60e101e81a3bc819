"""One world after another is played: requests are answered, the referee judges, people act, and all is counted."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tests.fuzz.referee import Verdicts, Violation, eligible, hear, judge, judge_rows, judge_why, verdicts
from tests.fuzz.scenes import Scene, event, first_moment, request, scene
from tests.fuzz.worlds import Person, World, world

from nextreel.pipeline import Recommender
from nextreel.progress import Progress, silent
from nextreel.types import Profile, Request, Slate
from nextreel.why import why

PER_WORLD = 2_000  # slates
PER_SCENE = 50  # slates by one recommender
ASKED_TWICE, ASKED_WHY, TRENDING = 100, 100, 50  # one slate in so many
Break = Callable[[Recommender], Recommender]  # what a test does to a recommender that the referee should notice


def play(
    slates: int, seed: int, workers: int = 1, progress: Progress = silent, spoil: Break | None = None
) -> Counter[str]:
    """What was checked, counted, in so many slates. Raises `Violation` at the first broken promise, or any error."""
    worlds = [(seed, number, min(PER_WORLD, slates - number * PER_WORLD)) for number in range(-(-slates // PER_WORLD))]
    counted: Counter[str] = Counter()
    with progress("Judging slates", slates) as advance:
        if workers == 1:
            for one in worlds:
                counted += play_world(*one, spoil)
                advance(one[2])
            return counted
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for one, found in zip(worlds, pool.map(play_world, *zip(*worlds, strict=True)), strict=True):
                counted += found
                advance(one[2])
    return counted


def play_world(seed: int, number: int, slates: int, spoil: Break | None = None) -> Counter[str]:
    """The counts of one world, the same for the same seed and number. Raises `Violation` with what leads to it."""
    logging.getLogger("nextreel").setLevel(logging.CRITICAL + 1)  # parts fail on purpose
    rng = random.Random(f"{seed} {number}")
    counted: Counter[str] = Counter({"worlds": 1})
    asked: Request | None = None
    with TemporaryDirectory() as folder, world(rng, Path(folder)) as here:
        now = first_moment(rng)
        for slate in range(slates):
            try:
                if slate % PER_SCENE == 0:
                    current = scene(rng, here)
                    if spoil is not None:
                        current.recommender = spoil(current.recommender)
                now += rng.expovariate(1 / 30.0)
                asked = request(rng, here, now, slate)
                _answer(rng, here, current, asked, slate, counted)
                _act(rng, here, now, slate, counted)
            except Exception as error:
                raise Violation(
                    f"{type(error).__name__}: {error}\nSlate {slate} of world {number} of seed {seed}: {asked}\n"
                    f"Settings: {current.config.model_dump_json(include={'quotas', 'order', 'ranked', 'per_place'})}\n"
                    f"Again: python -m tests.fuzz --seed {seed} --world {number}"
                ) from error
    return counted


def _answer(
    rng: random.Random, here: World, current: Scene, asked: Request, number: int, counted: Counter[str]
) -> None:
    """Has one request answered and judged."""
    recommender = current.recommender
    person = Person(Profile()) if asked.user_id is None else here.people.get(asked.user_id, Person(Profile()))
    here.stores[current.process].follow()  # as a server does before it answers
    rules = verdicts(here.videos, person, asked)
    slate = recommender.recommend(asked)
    judge(slate, current, here.videos, rules)
    _count(slate, rules, counted)
    if number % TRENDING == 0:
        judge_rows(recommender.trending(asked), here.videos, rules)
        counted["lists of what everybody watches"] += 1
    if number % ASKED_TWICE == 0:
        again = recommender.recommend(asked)
        if again.video_ids != slate.video_ids or not np.array_equal(again.value, slate.value):
            raise Violation(f"Expected the same list again, {slate.video_ids}, got {again.video_ids}.")
        counted["asked twice"] += 1
    if number % ASKED_WHY == 1:
        rows = {rng.randrange(len(here.videos)) for _ in range(2)} | set(slate.rows[:1].tolist())
        rows |= set(rng.sample(np.flatnonzero(eligible(rules)).tolist(), 1)) if eligible(rules).any() else set()
        for row in sorted(rows):
            found = why(recommender, asked, row)
            judge_why(found, row, slate, rules)
            counted[f"why: {found.outcome}"] += 1


def _act(rng: random.Random, here: World, now: float, number: int, counted: Counter[str]) -> None:
    """Now and then, somebody does something: it goes into the log, and into the referee's record."""
    if rng.random() < 0.7:
        return
    events = [event(rng, here, now, number) for _ in range(rng.randint(1, 3))]
    here.log.append(events)
    for one in events:
        hear(here.people.setdefault(one.user_id, Person(Profile())), one, here.videos)
    counted["events"] += len(events)


def _count(slate: Slate, rules: Verdicts, counted: Counter[str]) -> None:
    counted["slates"] += 1
    counted["videos shown"] += len(slate.rows)
    counted[f"level {slate.level}"] += 1
    counted["slates shorter than asked for"] += len(slate.rows) < slate.request.k
    counted["empty slates"] += len(slate.rows) == 0
    counted["promoted places"] += int(slate.promoted.sum())
    counted["places drawn"] += int((slate.propensities < 1).sum())
    counted["explained slates"] += slate.explanation is not None
    for part in slate.trace.failures:
        counted[f"failed: {'ranker' if part == 'ranker' else 'retrieval' if part == 'retrieval' else 'a source'}"] += 1
    for rule, passed in rules.items():
        counted[f"videos barred by {rule}"] += len(passed) - int(np.count_nonzero(passed))
