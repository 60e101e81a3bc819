"""Where good videos are won and lost on the way: sources, filters, the ranker's choice, the final order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nextreel.evaluation.asking import Watch
from nextreel.evaluation.rows import Row
from nextreel.evaluation.trials import EvaluationError, Trial
from nextreel.pipeline import Recommender, fused
from nextreel.types import BoolArray, Moment, Request, RowArray, Trace

CANDIDATES = 500  # how many candidates of all sources the recall is told for
FUSED, RANKED, FINAL = "fused", "ranked", "nextreel"  # the models whose lists show what each stage adds


@dataclass(frozen=True)
class SourceShare:
    """What one source proposed."""

    name: str
    proposed: float  # eligible candidates, mean over requests
    recall: float  # share of all right videos that are among them
    unique: float  # share of all right videos that no other source proposed


@dataclass(frozen=True)
class StageResults:
    """What each stage kept, lost and gained. Recalls are means over requests, as in the tables."""

    candidates: float  # of all sources, mean over requests, at most CANDIDATES
    recall: float  # of the right videos among them
    sources: Sequence[SourceShare]
    lost: Mapping[str, int]  # filter -> right videos that it would remove
    truths: int  # right videos of all requests
    fused: float  # NDCG@10 of the candidates in the order of all their sources
    ranked: float  # NDCG@10 as the ranker orders them
    final: float  # NDCG@10 after the final order


@dataclass
class Stages:
    """Adds up, request by request, what the stages did."""

    trial: Trial
    _recalls: list[float] = field(default_factory=list)
    _candidates: list[int] = field(default_factory=list)
    _sums: dict[str, list[tuple[int, float, float]]] = field(default_factory=dict)
    _lost: dict[str, int] = field(default_factory=dict)

    def watch(self, recommender: Recommender) -> Watch:
        """What is to be told of each request before the state moves on."""
        truth = self.trial.truth

        def watched(number: int, request: Request) -> None:
            right = truth.rows[truth.offsets[number] : truth.offsets[number + 1]]
            user = recommender.store.user(request.user_id)
            alone = Moment.unscored(request, user, recommender.catalogue, recommender.store.counters, right, {})
            for keep in recommender.filters:
                lost = int(np.count_nonzero(~keep(alone)))
                self._lost[keep.__name__] = self._lost.get(keep.__name__, 0) + lost
            trace = Trace()
            wide = Request(request.user_id, request.at, k=CANDIDATES // 4, seed=request.seed)
            moment = recommender.gather(wide, trace=trace)
            if trace.failures:
                raise EvaluationError(
                    f"Expected candidates of every source; at request {number} failed {trace.failures}."
                )
            self._sources(moment, trace, right)

        return watched

    def _sources(self, moment: Moment, trace: Trace, right: RowArray) -> None:
        kept = np.ones(len(moment), np.bool_)
        if len(moment) > CANDIDATES:
            kept[np.argpartition(-fused(moment), CANDIDATES)[CANDIDATES:]] = False
        is_right = np.isin(moment.rows, right)
        self._candidates.append(int(np.count_nonzero(kept)))
        self._recalls.append(np.count_nonzero(is_right & kept) / len(right))
        proposed = _proposed(moment, trace) & kept[:, None]
        by = proposed.sum(axis=1)
        for column, name in enumerate(moment.sources):
            own = proposed[:, column]
            hits = np.count_nonzero(own & is_right) / len(right)
            alone = np.count_nonzero(own & is_right & (by == 1)) / len(right)
            self._sums.setdefault(name, []).append((int(own.sum()), hits, alone))

    def found(self, rows: Sequence[Row]) -> StageResults:
        """What was found, with the stages' own lists from the table."""
        ndcg = {row.model: row.metrics["ndcg@10"] for row in rows}
        sources = [
            SourceShare(name, *(float(mean) for mean in np.mean(values, axis=0))) for name, values in self._sums.items()
        ]
        return StageResults(
            candidates=float(np.mean(self._candidates)),
            recall=float(np.mean(self._recalls)),
            sources=sources,
            lost=dict(self._lost),
            truths=len(self.trial.truth.rows),
            fused=ndcg[FUSED],
            ranked=ndcg[RANKED],
            final=ndcg[FINAL],
        )


def _proposed(moment: Moment, trace: Trace) -> BoolArray:
    """(n, S) whether each source proposed the row: as many as it did are those it scores highest, ties by row."""
    proposed = np.zeros(moment.scores.shape, np.bool_)
    for column, name in enumerate(moment.sources):
        best = np.lexsort((moment.rows, -moment.scores[:, column]))  # NaN comes last
        proposed[best[: trace.proposed.get(name, 0)], column] = True
    return proposed & ~np.isnan(moment.scores)
