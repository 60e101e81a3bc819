"""Why one video is, or is not, in somebody's list: which stage decided it, and what it saw."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from nextreel.pipeline import Recommender, Source, fused
from nextreel.types import UNKNOWN, Explaining, Explanation, FloatArray, Moment, NextreelError, Ranker, Request, Slate

log = logging.getLogger(__name__)

Outcome: TypeAlias = Literal["shown", "removed", "not proposed", "not judged", "outranked"]


@dataclass(frozen=True, slots=True)
class Why:
    """What became of one video on the way to one list."""

    outcome: Outcome
    told: str  # the same in a sentence
    place: int | None  # in the list, 0 = first; None where it is not shown
    removed_by: tuple[str, ...]  # every filter that removes it, not the first alone
    proposed: bool  # whether it is among the candidates
    # source -> how many candidates it scores higher; None where it has no score, or no lower one for others alike
    ranks: Mapping[str, int | None]
    candidates: int
    value: float | None = None  # None where nothing is ranked or scores it
    by_value: int | None = None  # how many judged candidates have a higher value
    judged: int = 0
    contributions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # objective -> feature -> adds
    moves: Mapping[str, int] = field(default_factory=dict)  # step of the final order -> place it left the video at


def why(recommender: Recommender, request: Request, row: int) -> Why:
    """What became of the video in the row for this request; the list itself is made as without the question."""
    request = replace(request, explain=True)
    slate = recommender.recommend(request)
    if slate.level == "trending":  # the list was made of what everybody watches, as no source answered
        everybody = Source(recommender.fallback, request.k)
        recommender = replace(recommender, sources=[everybody], ranker=None, per_place=0.0)
    shown = np.flatnonzero(slate.rows == row)
    removed = () if len(shown) else _removed_by(recommender, request, row)  # what was begun passes `not_watched`
    candidates = recommender.gather(request)
    judged = recommender.promising(candidates)
    one = recommender.among(candidates, np.array([row], np.int32))
    found = Why(
        outcome="shown" if len(shown) else _outcome(row, removed, candidates, judged),
        told="",
        place=int(shown[0]) if len(shown) else None,
        removed_by=removed,
        proposed=bool((candidates.rows == row).any()),
        ranks=_ranks(candidates, one),
        candidates=len(candidates),
        judged=len(judged),
    )
    if not removed:
        found = _valued(found, recommender, judged, one)
    if found.place is not None and slate.explanation is not None:
        found = replace(found, moves=_moves(slate.explanation, found.place))
    return replace(found, told=_told(found, slate))


def _removed_by(recommender: Recommender, request: Request, row: int) -> tuple[str, ...]:
    user, counters = recommender.store.user(request.user_id), recommender.store.counters
    rows = np.array([row], np.int32)
    alone = Moment.unscored(request, user, recommender.catalogue, counters, rows, recommender.codes)
    return tuple(keep.__name__ for keep in recommender.filters if not keep(alone)[0])


def _ranks(candidates: Moment, one: Moment) -> dict[str, int | None]:
    """What each source says of the video; what it scores lowest, like others, it passes over."""
    found: dict[str, int | None] = {}
    for column, name in enumerate(one.sources):
        score, others = one.scores[0, column], candidates.scores[:, column]
        lowest = not (others < score).any() and np.count_nonzero(others == score) > 1
        found[name] = None if np.isnan(score) or lowest else int(one.ranks[0, column])
    return found


def _outcome(row: int, removed: tuple[str, ...], candidates: Moment, judged: Moment) -> Outcome:
    if removed:
        return "removed"
    if not (candidates.rows == row).any():
        return "not proposed"
    return "outranked" if (judged.rows == row).any() else "not judged"


def _valued(found: Why, recommender: Recommender, judged: Moment, one: Moment) -> Why:
    """With the value that the video has, or would have had, beside those that were judged."""
    if recommender.ranker is None:
        others, own = fused(judged), float(fused(one)[0])
        return replace(found, value=own, by_value=int(np.count_nonzero(others > own)))
    matrix = recommender.matrix(one)
    try:
        others = _values(recommender, recommender.ranker, judged)
        own = float(recommender.value(recommender.ranker.score(matrix))[0])
    except Exception:  # lists are made without a ranker that fails, and this answer as well
        log.exception("no value")
        return found
    found = replace(found, value=own, by_value=int(np.count_nonzero(others > own)))
    teller: object = recommender.ranker
    if not isinstance(teller, Explaining):
        return found
    try:
        parts = teller.contributions(matrix)
    except NextreelError:  # a model that has no such parts, as its documentation says: nothing is told of them
        return found
    told = {
        objective: dict(zip((*matrix.names, "base"), added[0].tolist(), strict=True))
        for objective, added in parts.items()
    }
    return replace(found, contributions=told)


def _values(recommender: Recommender, ranker: Ranker, moment: Moment) -> FloatArray:
    if len(moment) == 0:
        return np.empty(0, np.float32)
    return recommender.value(ranker.score(recommender.matrix(moment)))


def _moves(explanation: Explanation, place: int) -> dict[str, int]:
    return {step: int(places[place]) for step, places in explanation.places.items() if places[place] != UNKNOWN}


def _told(found: Why, slate: Slate) -> str:
    if found.place is not None:
        return f"Shown at place {found.place + 1} of {len(slate.rows)}: {slate.reasons[found.place]}."
    if found.outcome == "removed":
        return f"Removed by {', '.join(found.removed_by)}."
    if found.outcome == "not proposed":
        known = {name: rank for name, rank in found.ranks.items() if rank is not None}
        best = min(known, key=known.__getitem__, default=None)
        nearest = "" if best is None else f": {best} is nearest, with {known[best]:,} candidates above it"
        return f"Eligible, but no source proposes it{nearest}."
    if found.outcome == "not judged":
        return f"Proposed, but {found.judged:,} of {found.candidates:,} candidates were judged, and others came first."
    above = 0 if found.by_value is None else found.by_value
    return f"Judged: {above:,} of {found.judged:,} candidates have a higher value, for {len(slate.rows)} places."
