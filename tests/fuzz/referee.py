"""The referee: what may stand in a list, said again in plain rules that know nothing of nextreel's filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set

import numpy as np
from tests.fuzz.records import Person, Videos
from tests.fuzz.scenes import Flaky, Scene
from tests.fuzz.worlds import World

from nextreel.paging import Page
from nextreel.types import DAY, BoolArray, Request, Slate
from nextreel.why import Why

ADULT = 18
GIVEN = ("continue_watching", "next_episode")  # sources of what a list begins with
Verdicts = dict[str, BoolArray]  # rule, named as the filter that has to keep it -> (videos,) whom it lets pass


class Violation(AssertionError):
    """A list, or what is told of it, that breaks a promise."""


def verdicts(world: World, person: Person, request: Request, scene: Scene) -> Verdicts:
    """For each rule, which of the videos it lets this person see."""
    videos, n = world.videos, len(world.videos)
    unseen, unhidden, unblocked, unexcluded = np.ones((4, n), np.bool_)
    unseen[list(person.answered)] = False
    unhidden[list(person.hidden)] = False
    for channel in person.blocked & videos.channel.keys():
        unblocked[videos.channel[channel]] = False
    unexcluded[[videos.row[one] for one in request.exclude if one in videos.row]] = False
    age = ADULT if person.profile.age is None else person.profile.age
    limit = age if request.max_maturity is None else min(age, request.max_maturity)
    rules = {
        "not_blocked": unblocked,
        "is_available": videos.available,
        "suits_age": videos.maturity <= limit,
        "has_rights": _allowed(videos, person, request),
    }
    if scene.timed:
        rules["is_published"] = ~(videos.published > request.at)
    episodes = _next_episodes(videos, person, eligible(rules), begun(videos, person, request, scene))
    if request.max_age_days is not None:
        played = np.where(np.isinf(world.first_liked), np.nan, world.first_liked)
        since = np.where(np.isnan(videos.published), played, videos.published)
        rules["is_new"] = since >= request.at - request.max_age_days * DAY
    if scene.timed and scene.config.filters.tired_impressions:
        rules["not_tiring"] = _untired(videos, person, request, scene)
    return rules | {
        "not_watched": unseen,
        "not_hidden": unhidden,
        "not_excluded": unexcluded,
        "in_categories": _any(videos.category, request.categories, n),
        "in_languages": _any(videos.language, request.languages, n) | ~_any(videos.language, tuple(videos.language), n),
        "is_next_episode": episodes,
    }


def _allowed(videos: Videos, person: Person, request: Request) -> BoolArray:
    """(videos,) which may be shown where the person is, and at this time."""
    country = person.profile.country if request.country is None else request.country
    allowed = np.ones(len(videos), np.bool_)
    for row, rights in videos.rights.items():
        allowed[row] = any(
            region in (None, country) and not request.at < since and not request.at >= until
            for region, since, until in rights
        )
    return allowed


def _untired(videos: Videos, person: Person, request: Request, scene: Scene) -> BoolArray:
    """(videos,) which were not shown too often of late since the person last reacted."""
    filters = scene.config.filters
    times = Counter(
        row
        for row, at in person.shown
        if at > request.at - filters.tired_days * DAY and at > person.answered.get(row, -np.inf)
    )
    untired = np.ones(len(videos), np.bool_)
    untired[[row for row, many in times.items() if many >= filters.tired_impressions]] = False
    return untired


def begun(videos: Videos, person: Person, request: Request, scene: Scene) -> dict[int, float]:
    """Videos that the person is in the middle of, and when they last watched; none where nothing is gone on with."""
    resume = scene.config.order.resume
    if not (scene.timed and resume.places):
        return {}
    late = request.at - resume.days * DAY
    parts = {row: (seconds / videos.duration[row], at) for row, (seconds, at) in person.watching.items()}
    return {row: at for row, (part, at) in parts.items() if resume.least <= part <= resume.most and at > late}


def _next_episodes(videos: Videos, person: Person, may: BoolArray, open_: dict[int, float]) -> BoolArray:
    """(videos,) all but those of a series whose number is above that of the first one to watch."""
    allowed = np.ones(len(videos), np.bool_)
    for episodes in videos.series.values():
        waiting = [one for row, one in episodes.items() if may[row] and (row not in person.answered or row in open_)]
        if waiting:
            allowed[[row for row, one in episodes.items() if one > min(waiting)]] = False
    return allowed


def resumed(world: World, person: Person, request: Request, scene: Scene, rules: Verdicts) -> list[tuple[int, str]]:
    """The rows that the list begins with where no promoted video takes one of them, and the source of each."""
    videos, resume = world.videos, scene.config.order.resume
    if not (scene.timed and resume.places):
        return []
    late = request.at - resume.days * DAY
    others = eligible({rule: passed for rule, passed in rules.items() if rule != "not_watched"})
    found = [(at, row, "continue_watching") for row, at in begun(videos, person, request, scene).items() if others[row]]
    finished = [(row, at) for row, at in person.completed if at > late]
    finished += [
        (row, at)
        for row, (seconds, at) in person.watching.items()
        if seconds / videos.duration[row] > resume.most and at > late
    ]
    may = eligible(rules)
    for episodes in videos.series.values():
        ended = [at for row, at in finished if row in episodes]
        following = sorted((number, row) for row, number in episodes.items() if may[row])
        if ended and following:
            found.append((max(ended), following[0][1], "next_episode"))
    newest_first = sorted(found, key=lambda one: -one[0])
    return [(row, source) for _, row, source in newest_first[: min(resume.places, request.k)]]


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


def judge_rows(slate: Slate, videos: Videos, rules: Verdicts, head: Sequence[int] = ()) -> None:
    """Raises `Violation` where the slate has a video twice, one that a rule bars, or fewer than there may be.

    What the list begins with, its head, may have been watched.
    """
    rows, request, may = slate.rows.tolist(), slate.request, eligible(rules)
    _expect(len(set(rows)) == len(rows), "videos of which none comes twice", rows)
    for rule, passed in rules.items():
        barred = set(slate.rows[~passed[slate.rows]].tolist()) - (set(head) if rule == "not_watched" else set())
        _expect(not barred, f"nothing that {rule} removes", barred)
    may[list(head)] = True
    most = int(np.count_nonzero(may))
    _expect(len(rows) == min(request.k, most), f"{request.k} of {most} eligible videos, or all of these", len(rows))
    _expect(slate.video_ids == [videos.ids[row] for row in rows], "the ids of the rows", (rows, slate.video_ids))


def judge_page(page: Page, request: Request, rules: Verdicts, head: Set[int], given: Set[int], *, whole: bool) -> None:
    """Raises `Violation` where a page has what may not be shown now or was `given` on an earlier one.

    Where nobody did anything since the first page, it is a `whole` one or the last.
    """
    rows, may = page.slate.rows.tolist(), eligible(rules)
    _expect(len(set(rows)) == len(rows), "videos of which none comes twice", rows)
    _expect(not set(rows) & given, "nothing of an earlier page", set(rows) & given)
    may[list(head)] = True
    _expect(may[page.slate.rows].all(), "what may be shown alone", page.slate.rows[~may[page.slate.rows]])
    if whole:
        left = len(set(np.flatnonzero(may).tolist()) - given)
        _expect(len(rows) == min(request.k, left), f"{request.k} of {left} videos left, or all of these", len(rows))
        _expect((page.cursor is None) == (left <= request.k), "a cursor where, and only where, more is left", page)


def judge(slate: Slate, scene: Scene, videos: Videos, rules: Verdicts, head: Sequence[tuple[int, str]]) -> None:
    """Raises `Violation` where the slate breaks a promise; `head` is what it should begin with, and why."""
    judge_rows(slate, videos, rules, [row for row, _ in head])
    rows, request = slate.rows.tolist(), slate.request
    columns = (slate.value, slate.objectives, slate.sources, slate.reasons, slate.propensities, slate.promoted)
    _expect({len(rows)} == {len(one) for one in columns}, "columns of one length", columns)
    _expect(np.isfinite(slate.value).all() and np.isfinite(slate.objectives).all(), "finite values", slate.value)
    likely = slate.propensities
    _expect(((likely > 0) & (likely <= 1)).all(), "propensities above 0 and up to 1", likely)
    if not scene.config.order.explore.slots:
        _expect((likely == 1).all(), "propensities of 1 where nothing is drawn", likely)
    sources = [one.retriever.name for one in scene.recommender.sources]
    known = {*sources, scene.recommender.fallback.name, "promoted", "eligible", *GIVEN}
    _expect(set(slate.sources) <= known, "sources that there are", slate.sources)
    _expect(all(slate.reasons), "a reason for each place", slate.reasons)
    trace = slate.trace
    _expect(trace.eligible >= 0 and min(trace.removed.values(), default=0) >= 0, "counts of 0 or more", trace)
    _expect((slate.explanation is not None) == request.explain, "an explanation where one is asked for", request)
    _promoted(slate, scene, videos, eligible(rules))
    _head(slate, head)
    _level(slate, scene)
    if not (scene.recommender.orderers or scene.config.order.promote.videos or head):
        _expect((np.diff(slate.value) <= 0).all(), "values that fall, as nothing reorders them", slate.value)


def _head(slate: Slate, head: Sequence[tuple[int, str]]) -> None:
    """Raises `Violation` where the places that are not promoted do not begin with what was begun."""
    free = np.flatnonzero(~slate.promoted)
    promoted = set(slate.rows[slate.promoted].tolist())
    expected = [one for one in head if one[0] not in promoted][: len(free)]
    begin = free[: len(expected)]
    found = [(int(slate.rows[place]), slate.sources[place]) for place in begin]
    _expect(found == expected, f"a list that begins with {expected}", found)
    _expect((slate.propensities[begin] == 1).all(), "a propensity of 1 where nothing is drawn", slate.propensities)
    others = [slate.sources[place] for place in free[len(expected) :]]
    _expect(not set(others) & set(GIVEN), "nothing else to go on with", others)


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
    elif scene.ranker_fault and len(slate.rows):
        level, failures = "unranked", {*failing, "ranker"}
    else:
        level, failures = "full", set(failing)
    _expect(slate.level == level, f"an answer from the rung {level}", (slate.level, slate.trace.failures))
    _expect(set(slate.trace.failures) == failures, f"failures of {failures}", slate.trace.failures)


def judge_why(found: Why, row: int, slate: Slate, rules: Verdicts) -> None:
    """Raises `Violation` where what is told of the video in the row does not agree with the slate and the rules."""
    place = slate.rows.tolist().index(row) if row in slate.rows else None
    removed = {rule for rule, passed in rules.items() if not passed[row] and place is None}
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
