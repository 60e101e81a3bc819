"""The referee: what may stand in a list, said again in plain rules that know nothing of nextreel's filters."""

from __future__ import annotations

import numpy as np
from tests.fuzz.scenes import Flaky, Scene
from tests.fuzz.worlds import Person, Videos

from nextreel.types import BoolArray, Event, Kind, Request, Slate
from nextreel.why import Why

ADULT = 18
Verdicts = dict[str, BoolArray]  # rule, named as the filter that has to keep it -> (videos,) whom it lets pass


class Violation(AssertionError):
    """A list, or what is told of it, that breaks a promise."""


def hear(person: Person, event: Event, videos: Videos) -> None:
    """Moves the referee's record on by one event of this person."""
    if event.kind == Kind.BLOCK and event.channel_id is not None:
        person.blocked.add(event.channel_id)
    elif event.kind == Kind.SUBSCRIBE and event.channel_id is not None:
        person.blocked.discard(event.channel_id)
    elif event.kind != Kind.IMPRESSION and event.video_id in videos.row:
        person.seen.add(videos.row[event.video_id])


def verdicts(videos: Videos, person: Person, request: Request) -> Verdicts:
    """For each rule, which of the videos it lets this person see."""
    n = len(videos)
    unseen, unblocked, unexcluded = np.ones((3, n), np.bool_)
    unseen[list(person.seen)] = False
    for channel in person.blocked & videos.channel.keys():
        unblocked[videos.channel[channel]] = False
    unexcluded[[videos.row[one] for one in request.exclude if one in videos.row]] = False
    age = ADULT if person.profile.age is None else person.profile.age
    limit = age if request.max_maturity is None else min(age, request.max_maturity)
    return {
        "not_watched": unseen,
        "not_blocked": unblocked,
        "is_available": videos.available,
        "suits_age": videos.maturity <= limit,
        "not_excluded": unexcluded,
        "in_categories": _any(videos.category, request.categories, n),
        "in_languages": _any(videos.language, request.languages, n) | ~_any(videos.language, tuple(videos.language), n),
    }


def _any(of: dict[str, BoolArray], wanted: tuple[str, ...], n: int) -> BoolArray:
    """(n,) which videos are any of what is wanted; all where nothing is."""
    found = np.full(n, not wanted)
    for name in wanted:
        if name in of:
            found |= of[name]
    return found


def eligible(rules: Verdicts) -> BoolArray:
    """(videos,) which every rule lets pass."""
    return np.asarray(np.logical_and.reduce(list(rules.values())))


def judge_rows(slate: Slate, videos: Videos, rules: Verdicts) -> None:
    """Raises `Violation` where the slate has a video twice, one that a rule bars, or fewer than there may be."""
    rows, request = slate.rows.tolist(), slate.request
    _expect(len(set(rows)) == len(rows), "videos of which none comes twice", rows)
    for rule, passed in rules.items():
        _expect(passed[slate.rows].all(), f"nothing that {rule} removes", slate.rows[~passed[slate.rows]])
    most = int(np.count_nonzero(eligible(rules)))
    _expect(len(rows) == min(request.k, most), f"{request.k} of {most} eligible videos, or all of these", len(rows))
    _expect(slate.video_ids == [videos.ids[row] for row in rows], "the ids of the rows", (rows, slate.video_ids))


def judge(slate: Slate, scene: Scene, videos: Videos, rules: Verdicts) -> None:
    """Raises `Violation` where the slate breaks a promise."""
    judge_rows(slate, videos, rules)
    rows, request = slate.rows.tolist(), slate.request
    columns = (slate.value, slate.objectives, slate.sources, slate.reasons, slate.propensities, slate.promoted)
    _expect({len(rows)} == {len(one) for one in columns}, "columns of one length", columns)
    _expect(np.isfinite(slate.value).all() and np.isfinite(slate.objectives).all(), "finite values", slate.value)
    likely = slate.propensities
    _expect(((likely > 0) & (likely <= 1)).all(), "propensities above 0 and up to 1", likely)
    if not scene.config.order.explore.slots:
        _expect((likely == 1).all(), "propensities of 1 where nothing is drawn", likely)
    sources = [one.retriever.name for one in scene.recommender.sources]
    known = {*sources, scene.recommender.fallback.name, "promoted", "eligible"}
    _expect(set(slate.sources) <= known, "sources that there are", slate.sources)
    _expect(all(slate.reasons), "a reason for each place", slate.reasons)
    trace = slate.trace
    _expect(trace.eligible >= 0 and min(trace.removed.values(), default=0) >= 0, "counts of 0 or more", trace)
    _expect((slate.explanation is not None) == request.explain, "an explanation where one is asked for", request)
    _promoted(slate, scene, videos, eligible(rules))
    _level(slate, scene)
    if not (scene.recommender.orderers or scene.config.order.promote.videos):
        _expect((np.diff(slate.value) <= 0).all(), "values that fall, as nothing reorders them", slate.value)


def _promoted(slate: Slate, scene: Scene, videos: Videos, may: BoolArray) -> None:
    """Raises `Violation` where promoted places are not those declared, or not given to the best of the promoted."""
    declared, n = scene.config.order.promote, len(slate.rows)
    candidates = [row for row in map(videos.row.__getitem__, declared.videos) if may[row]]
    most = len(candidates) if declared.most is None else min(declared.most, len(candidates))
    if declared.places:
        places = [place for place in sorted(declared.places) if place < n][:most]
    else:
        many = min(int(np.floor(round(declared.share * n, 6))), most)
        places = [number * n // (many + 1) for number in range(1, many + 1)]
    found = np.flatnonzero(slate.promoted)
    _expect(found.tolist() == places, f"promoted places {places}", found)
    _expect(set(slate.rows[found].tolist()) <= set(candidates), "promoted videos alone", slate.rows[found])
    _expect((slate.propensities[found] == 1).all(), "promoted places with a propensity of 1", slate.propensities)
    _expect((np.diff(slate.value[found]) <= 0).all(), "the best promoted first", slate.value[found])
    labelled = [place for place, source in enumerate(slate.sources) if source == "promoted"]
    _expect(labelled == places, f"'promoted' at places {places}", slate.sources)
    if declared.videos:
        counted = {"configured": len(declared.videos), "eligible": len(candidates), "shown": len(places)}
        _expect(slate.trace.promoted == counted, f"counts of promoted {counted}", slate.trace.promoted)


def _level(slate: Slate, scene: Scene) -> None:
    """Raises `Violation` where the rung is not that of the parts that fail, or a part fails that should not."""
    spoilt = [one.retriever for one in scene.recommender.sources if isinstance(one.retriever, Flaky)]
    failing = {one.name: one.fault for one in spoilt if one.fails(slate.request)}
    silent = [name for name, fault in failing.items() if fault in ("retrieve", "range")]
    if len(silent) == len(scene.recommender.sources):
        level, failures = "trending", set(silent) | {"retrieval"}
    elif scene.ranker_fault and slate.trace.eligible:
        level, failures = "unranked", {*failing, "ranker"}
    else:
        level, failures = "full", set(failing)
    _expect(slate.level == level, f"an answer from the rung {level}", (slate.level, slate.trace.failures))
    _expect(set(slate.trace.failures) == failures, f"failures of {failures}", slate.trace.failures)


def judge_why(found: Why, row: int, slate: Slate, rules: Verdicts) -> None:
    """Raises `Violation` where what is told of the video in the row does not agree with the slate and the rules."""
    removed = {rule for rule, passed in rules.items() if not passed[row]}
    place = slate.rows.tolist().index(row) if row in slate.rows else None
    _expect(set(found.removed_by) == removed, f"row {row} removed by {removed or 'nothing'}", found.removed_by)
    _expect(found.place == place, f"row {row} at place {place}", found.place)
    if place is not None:
        outcomes = {"shown"}
    elif removed:
        outcomes = {"removed"}
    else:
        outcomes = {"outranked", "not judged"} if found.proposed else {"not proposed"}
    _expect(found.outcome in outcomes, f"row {row} as one of {outcomes}", found.outcome)
    _expect(bool(found.told), f"a sentence about row {row}", found)


def _expect(holds: bool | np.bool_, what: str, got: object) -> None:
    if not holds:
        raise Violation(f"Expected {what}, got {got}.")
