"""One world after another is played: requests are answered, the referee judges, people act, and all is counted."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tests.fuzz.records import Person, hear
from tests.fuzz.referee import (
    GIVEN,
    Verdicts,
    Violation,
    eligible,
    judge,
    judge_page,
    judge_rows,
    judge_why,
    resumed,
    verdicts,
)
from tests.fuzz.scenes import Scene, event, first_moment, request, scene
from tests.fuzz.worlds import World, world

from nextreel.paging import Pages
from nextreel.pipeline import Recommender
from nextreel.progress import Progress, silent
from nextreel.types import Event, Kind, Profile, Request, Slate
from nextreel.why import why

DRAWN = ("quotas", "weights", "per_place", "ranked", "filters", "order")  # settings, beside the value formula
PER_WORLD = 2_000  # slates
PER_SCENE = 50  # slates by one recommender
ASKED_TWICE, ASKED_WHY, TRENDING, PAGED = 100, 100, 50, 100  # one slate in so many
MOST_PAGES = 6
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
    rng = random.Random(f"{seed} {number}")
    counted: Counter[str] = Counter({"worlds": 1})
    asked: Request | None = None
    with _quiet(), TemporaryDirectory() as folder, world(rng, Path(folder)) as here:
        now = first_moment(rng)
        for slate in range(slates):
            try:
                if slate % PER_SCENE == 0:
                    current = scene(rng, here)
                    if spoil is not None:
                        current.recommender = spoil(current.recommender)
                now += rng.expovariate(1 / 30.0)
                asked = request(rng, here, now, slate)
                shown = _answer(rng, here, current, asked, now, slate, counted)
                _act(rng, here, shown, now, slate, counted)
            except Exception as error:
                raise Violation(
                    f"{type(error).__name__}: {error}\nSlate {slate} of world {number} of seed {seed}: {asked}\n"
                    f"Settings: {_drawn(current)}\n"
                    f"Again: python -m tests.fuzz --seed {seed} --world {number}"
                ) from error
    return counted


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a record of what fails: parts do so on purpose."""
    ours = logging.getLogger("nextreel")
    level = ours.level
    ours.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        ours.setLevel(level)


def _drawn(current: Scene) -> str:
    """The settings that were drawn, as JSON."""
    return current.config.model_dump_json(include=dict.fromkeys(DRAWN, True) | {"ranker": {"value"}})


def _person(here: World, asked: Request) -> Person:
    """Who asks; somebody of whom nothing is known for one never heard of."""
    return Person(Profile()) if asked.user_id is None else here.people.get(asked.user_id, Person(Profile()))


def _answer(
    rng: random.Random, here: World, current: Scene, asked: Request, now: float, number: int, counted: Counter[str]
) -> Slate:
    """The answer to one request, which was judged."""
    recommender = current.recommender
    person = _person(here, asked)
    here.stores[current.process].follow()  # as a server does before it answers
    rules = verdicts(here, person, asked, current)
    head = resumed(here, person, asked, current, rules)
    slate = recommender.recommend(asked)
    judge(slate, current, here.videos, rules, head)
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
        rows = {rng.randrange(len(here.videos)), *slate.rows[:1].tolist()}
        for some in (eligible(rules), ~rng.choice(list(rules.values()))):  # one that may be shown, one that a rule bars
            rows |= {rng.choice(which)} if (which := np.flatnonzero(some).tolist()) else set()
        for row in sorted(rows):
            found = why(recommender, asked, row)
            judge_why(found, row, slate, rules)
            counted[f"why: {found.outcome}"] += 1
    if number % PAGED == 2:
        _paged(rng, here, current, asked, now, counted)
    return slate


def _paged(rng: random.Random, here: World, current: Scene, asked: Request, now: float, counted: Counter[str]) -> None:
    """Has the pages of one list judged, while the person goes on doing something between them or does not."""
    recommender, given, acts = current.recommender, set[int](), rng.random() < 0.5
    person = _person(here, asked)
    pages = Pages(here.shared, recommender.recommend, recommender.keeps, lambda: here.catalogue)
    page = pages.first(asked)
    for number in range(MOST_PAGES):
        rules = verdicts(here, person, asked, current)
        head = {row for row, _ in resumed(here, person, asked, current, rules)}
        # where a list is made further, it goes on with what else was begun
        left = replace(asked, exclude=(*asked.exclude, *(here.videos.ids[row] for row in head | given)))
        more = {row for row, _ in resumed(here, person, left, current, verdicts(here, person, left, current))}
        judge_page(page, asked, rules, head | more, given, whole=not (more or (acts and number)))
        given |= set(page.slate.rows.tolist())
        counted["pages"] += 1
        if page.cursor is None:
            break
        if acts and asked.user_id in here.people:
            _hear(here, [replace(event(rng, here, now + (20 + number) / 1000, number), user_id=asked.user_id)])
            here.stores[current.process].follow()
        page = pages.next(page.cursor, asked.user_id, asked.k, asked.at, asked.request_id)


def _act(rng: random.Random, here: World, shown: Slate, now: float, number: int, counted: Counter[str]) -> None:
    """Now and then, somebody does something: it goes into the log, and into the referee's record."""
    if rng.random() < 0.7:
        return
    # no two at one time: which of them is the newest would be anybody's guess
    events = [event(rng, here, now + one / 1000, number) for one in range(rng.randint(1, 3))]
    if rng.random() < 0.5 and shown.request.user_id is not None:
        who, ids = shown.request.user_id, shown.video_ids[:8]
        events += [
            Event(who, now + (3 + place) / 1000, Kind.IMPRESSION, one, position=place) for place, one in enumerate(ids)
        ]
    _hear(here, events)
    counted["events"] += len(events)


def _hear(here: World, events: Sequence[Event]) -> None:
    here.log.append(events)
    for one in events:
        hear(here.people.setdefault(one.user_id, Person(Profile())), one, here.videos, here.first_liked)


def _count(slate: Slate, rules: Verdicts, counted: Counter[str]) -> None:
    counted["slates"] += 1
    counted["videos shown"] += len(slate.rows)
    counted[f"level {slate.level}"] += 1
    counted["slates shorter than asked for"] += len(slate.rows) < slate.request.k
    counted["empty slates"] += len(slate.rows) == 0
    counted["promoted places"] += int(slate.promoted.sum())
    counted["places gone on with"] += sum(one in GIVEN for one in slate.sources)
    counted["places drawn"] += int((slate.propensities < 1).sum())
    counted["explained slates"] += slate.explanation is not None
    for part in slate.trace.failures:
        counted[f"failed: {'ranker' if part == 'ranker' else 'retrieval' if part == 'retrieval' else 'a source'}"] += 1
    for rule, passed in rules.items():
        counted[f"videos barred by {rule}"] += len(passed) - int(np.count_nonzero(passed))
