"""The preview of another formula under a protocol of lists: what was predicted of them, and what both are worth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nextreel import metrics
from nextreel.evaluation.measures import Measured
from nextreel.evaluation.preview import FIRST, Lists, compared
from nextreel.evaluation.rows import Change, Preview
from nextreel.evaluation.trials import Trial
from nextreel.ranking.ranker import OBJECTIVES
from nextreel.types import Catalogue, FloatArray, Ranker, Slate

WHOLE, PREVIEW = "nextreel", "preview"  # the pipeline with the configured formula, and with the previewed one
_MEANS = ("ndcg@10", "recall@10", "hit_rate@10")
_OF_ALL = ("coverage@10", "novelty@10", "gini@10")


class Heard:
    """Keeps what the ranker predicted of the first places of the lists of both formulas."""

    def __init__(self, requests: int, formulas: tuple[str, str]) -> None:
        self._formulas = formulas  # the configured one and the other
        nothing: FloatArray = np.full((requests, FIRST, len(OBJECTIVES)), np.nan, np.float32)
        self._predicted = {WHOLE: nothing, PREVIEW: nothing.copy()}
        self._objectives: tuple[str, ...] = ()

    def learnt(self, ranker: Ranker | None) -> None:
        """Told of the ranker before the first answer, for the names of what it predicts."""
        self._objectives = () if ranker is None else ranker.objectives

    def __call__(self, name: str, number: int, slate: Slate) -> None:
        """Told of each answer."""
        if name in self._predicted:
            first = slate.objectives[:FIRST]
            self._predicted[name][number, : first.shape[0], : first.shape[1]] = first

    def preview(
        self,
        trial: Trial,
        measured: Mapping[str, Measured],
        catalogue: Catalogue,
        seed: int,
    ) -> Preview:
        """What moves between the lists of the configured formula and those of the other."""
        n = len(self._objectives)
        top = np.full(len(trial), FIRST)
        before, after = (Lists(measured[name].lists, top, self._predicted[name][..., :n]) for name in (WHOLE, PREVIEW))
        return compared(
            self._formulas,
            before,
            after,
            self._objectives,
            catalogue,
            people=[str(one) for one in trial.stream.user_ids[trial.user].tolist()],
            metrics=_metrics(trial, measured, catalogue, seed),
            places=f"their first {FIRST} places",
            seed=seed,
        )


def _metrics(trial: Trial, measured: Mapping[str, Measured], catalogue: Catalogue, seed: int) -> list[Change]:
    """Metrics of both, with an interval where they are means over requests."""
    before, after = measured[WHOLE], measured[PREVIEW]
    found = []
    for name in _MEANS:
        interval = metrics.paired_bootstrap(after.each[name], before.each[name], seed, groups=trial.user)
        found.append(Change(name, before.mean[name], after.mean[name], *interval[1:]))
    theirs, ours = (metrics.diversity(one.lists, FIRST, catalogue.categories) for one in (after, before))
    both = ~np.isnan(theirs + ours)
    low = high = None
    if both.any():
        _, low, high = metrics.paired_bootstrap(theirs[both], ours[both], seed, groups=trial.user[both])
    found.append(Change("diversity@10", before.mean["diversity@10"], after.mean["diversity@10"], low, high))
    return found + [Change(name, before.mean[name], after.mean[name]) for name in _OF_ALL]
