"""What scores of exposures are worth, by objective; and what another value formula would change of the visits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nextreel import metrics
from nextreel.evaluation.answers import calibration_error, ndcg_by_group, reliability
from nextreel.evaluation.exposure_results import BEFORE, VALUE, WHOLE, Outcome
from nextreel.evaluation.preview import FIRST, Lists, compared
from nextreel.evaluation.rows import Change, Comparison, Preview, Row
from nextreel.metrics import Values
from nextreel.ranking.ranker import RELEVANCE
from nextreel.types import UNKNOWN, BoolArray, FloatArray, IdArray, RowArray

if TYPE_CHECKING:
    from nextreel.data import Dataset

HALF = 0.5  # a label above it is a positive: answers are 0 or 1, and `watch` then was played further than most
COMPARED = ("gauc", "ndcg@10")
LONGEST = 100  # places of a visit that are followed

Scores = Mapping[str, NDArray[np.float64]]  # baseline -> (n,)


@dataclass(frozen=True)
class Scored:
    """n exposures, how they were answered and what the ranker said of them beforehand."""

    visit: NDArray[np.int64]  # (n,) number of the visit; the exposures of a visit stand together
    user: NDArray[np.int32]  # (n,) code
    people: IdArray  # code -> id
    video: RowArray  # (n,)
    labels: Mapping[str, FloatArray]  # objective -> (n,) from 0 to 1
    objectives: tuple[str, ...]
    told: FloatArray  # (n, objectives)
    raw: FloatArray  # (n, objectives) the same before calibration, as log-odds
    values: Sequence[FloatArray]  # (n,) by the configured formula, and by the previewed one where there is one

    def __len__(self) -> int:
        return len(self.visit)


@dataclass(frozen=True)
class _People:
    """Whose each exposure is, and which of them were answered."""

    group: NDArray[np.int64]  # (n,)
    many: NDArray[np.int64]  # (people,) exposures
    positive: BoolArray  # (n,)

    def each(self, scores: ArrayLike) -> dict[str, Values]:
        """AUC and NDCG@10 of each person (people,), NaN for those without."""
        n = len(self.many)
        return {
            "gauc": metrics.auc_by_group(self.positive, scores, self.group, n),
            "ndcg@10": ndcg_by_group(self.positive, scores, self.group, n),
        }

    def weights(self, metric: str) -> NDArray[np.int64]:
        """How much each person counts in the mean of the metric."""
        return self.many if metric == "gauc" else np.ones_like(self.many)

    def mean(self, metric: str, each: Values) -> float:
        """The mean over the people who have the metric, NaN without any."""
        there = ~np.isnan(each)
        return float(np.average(each[there], weights=self.weights(metric)[there])) if there.any() else float("nan")

    def interval(self, metric: str, each: Values, other: Values, seed: int) -> tuple[float, float, float] | None:
        """The difference of two means and its 95 % interval, people drawn anew; None where nobody has the metric."""
        there = ~np.isnan(each)
        if not there.any():
            return None
        return metrics.paired_bootstrap(each[there], other[there], seed, weights=self.weights(metric)[there])


def _people(scored: Scored, objective: str) -> _People:
    _, group, many = np.unique(scored.user, return_inverse=True, return_counts=True)
    return _People(group, many, scored.labels[objective] > HALF)


def learnt(scored: Scored) -> list[str]:
    """The objectives that the ranker learnt from exposures and that were answered in more than one way here."""
    some = []
    for objective in scored.objectives:
        if objective != RELEVANCE and objective in scored.labels:
            positive = scored.labels[objective] > HALF
            if positive.any() and not positive.all():
                some.append(objective)
    return some


def judge(scored: Scored, baselines: Mapping[str, Scores], seed: int) -> list[Outcome]:
    """How well each objective was foretold, beside the baselines of it."""
    return [_outcome(scored, objective, baselines[objective], seed) for objective in learnt(scored)]


def _outcome(scored: Scored, objective: str, baselines: Scores, seed: int) -> Outcome:
    people, label = _people(scored, objective), scored.labels[objective]
    number = scored.objectives.index(objective)
    raw = 1.0 / (1.0 + np.exp(-np.clip(scored.raw[:, number].astype(np.float64), -30.0, 30.0)))
    told = scored.told[:, number]
    orders: dict[str, NDArray[Any]] = {WHOLE: told, VALUE: scored.values[0], **baselines}
    each = {name: people.each(one) for name, one in orders.items()}
    found = {
        name: {"auc": metrics.auc(people.positive, orders[name])}
        | {metric: people.mean(metric, values) for metric, values in of.items()}
        for name, of in each.items()
    }
    bins = {WHOLE: reliability(label, told), BEFORE: reliability(label, raw)}
    probabilities: dict[str, NDArray[Any]] = {WHOLE: told, BEFORE: raw, "video_rate": baselines["video_rate"]}
    for name, one in probabilities.items():
        error = calibration_error(bins.get(name) or reliability(label, one))
        found[name] = found.get(name, {}) | {"log_loss": metrics.log_loss(label, one), "ece": error}
    kinds = {WHOLE: "pipeline", BEFORE: "stage", VALUE: "value"}
    names = [WHOLE, BEFORE, VALUE, *baselines]
    rows = [Row(name, kinds.get(name, "baseline"), found[name], float("nan")) for name in names]
    return Outcome(
        objective=objective,
        rate=float(label.mean()),
        positives=int(people.positive.sum()),
        people=int((~np.isnan(each[WHOLE]["gauc"])).sum()),
        rows=rows,
        comparisons=_comparisons(people, each, found, list(baselines), seed),
        calibrated=bins[WHOLE],
        uncalibrated=bins[BEFORE],
    )


def _comparisons(
    people: _People,
    each: Mapping[str, Mapping[str, Values]],
    found: Mapping[str, Mapping[str, float]],
    baselines: Sequence[str],
    seed: int,
) -> list[Comparison]:
    """The difference from the best baseline by each metric."""
    told = []
    for metric in COMPARED:
        best = max(baselines, key=lambda name: found[name][metric])
        interval = people.interval(metric, each[WHOLE][metric], each[best][metric], seed)
        if interval is not None:
            told.append(Comparison(metric, WHOLE, best, *interval))
    return told


def preview(scored: Scored, dataset: Dataset, formulas: tuple[str, str], seed: int) -> Preview | None:
    """What another formula would change of the order of each visit's exposures; None where no visit has two.

    Looked at is the first half of a visit, FIRST places at most: a visit as short as the list would never change.
    """
    _, number, size = np.unique(scored.visit, return_inverse=True, return_counts=True)
    chosen = np.flatnonzero(size[number] > 1)
    if not len(chosen):
        return None
    before, after = (_lists(scored, one, chosen) for one in scored.values)
    _, first = np.unique(scored.visit[chosen], return_index=True)
    whose = scored.user[chosen[first]]
    return compared(
        formulas,
        before,
        after,
        scored.objectives,
        dataset.catalogue,
        people=[str(one) for one in scored.people[whose].tolist()],
        metrics=[*_answered(scored, chosen, whose, seed), *_orders(scored, seed)],
        places=f"the first half of what each visit of two exposures or more showed, {FIRST} places at most",
        seed=seed,
    )


def _ranked(visit: NDArray[np.int64], value: FloatArray) -> tuple[NDArray[np.int64], ...]:
    """The order by visit and value, and of each place in it: which visit, the place from 0, how many there are."""
    _, number, size = np.unique(visit, return_inverse=True, return_counts=True)
    order = np.lexsort((-value, number))
    place = np.arange(len(order)) - np.searchsorted(number[order], np.arange(len(size)))[number[order]]
    return order, number[order], place, size


def _lists(scored: Scored, value: FloatArray, chosen: NDArray[np.int64]) -> Lists:
    """The chosen exposures of each visit as a list, best first."""
    order, number, place, size = _ranked(scored.visit[chosen], value[chosen])
    which = chosen[order]
    rows = np.full((len(size), min(LONGEST, max(FIRST, int(size.max())))), UNKNOWN, np.int32)
    inside = place < rows.shape[1]
    rows[number[inside], place[inside]] = scored.video[which[inside]]
    told = np.full((len(size), FIRST, len(scored.objectives)), np.nan, np.float32)
    first = place < FIRST
    told[number[first], place[first]] = scored.told[which[first]]
    return Lists(rows, np.minimum((size + 1) // 2, FIRST), told)


def _answered(scored: Scored, chosen: NDArray[np.int64], whose: NDArray[np.int32], seed: int) -> list[Change]:
    """The part of the places looked at that had each answer, by either order."""
    found = []
    for objective, label in scored.labels.items():
        if not label[chosen].any():
            continue
        parts = []
        for value in scored.values:
            order, number, place, size = _ranked(scored.visit[chosen], value[chosen])
            top = np.minimum((size + 1) // 2, FIRST)
            first = place < top[number]
            parts.append(np.bincount(number[first], label[chosen[order]][first], len(size)) / top)
        before, after = (float(np.average(part, weights=top)) for part in parts)
        _, low, high = metrics.paired_bootstrap(parts[1], parts[0], seed, groups=whose, weights=top)
        found.append(Change(f"{objective}, answered", before, after, low, high))
    return found


def _orders(scored: Scored, seed: int) -> list[Change]:
    """GAUC and NDCG@10 of both orders for each objective that the ranker learnt."""
    found = []
    for objective in learnt(scored):
        people = _people(scored, objective)
        before, after = (people.each(value) for value in scored.values)
        for metric in COMPARED:
            interval = people.interval(metric, after[metric], before[metric], seed)
            means = people.mean(metric, before[metric]), people.mean(metric, after[metric])
            low, high = (None, None) if interval is None else interval[1:]
            found.append(Change(f"{objective}, {metric}", *means, low, high))
    return found
