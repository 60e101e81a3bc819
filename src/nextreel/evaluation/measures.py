"""What lists are worth: every metric of a trial, for all requests together and for each one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel import metrics
from nextreel.evaluation.asking import refuse_met
from nextreel.evaluation.trials import Trial
from nextreel.metrics import Judged
from nextreel.types import FloatArray, RowArray

CUTS = (5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Measured:
    """The metrics of one model."""

    mean: Mapping[str, float]
    each: Mapping[str, metrics.Values]  # of each request, for those metrics that are means over requests
    judged: Judged
    lists: RowArray  # (m, k)


def measure(lists: RowArray, trial: Trial, categories: FloatArray) -> Measured:
    """The metrics of one model's lists (m, k).

    Raises EvaluationError when a list holds a video that its person has met before.
    """
    refuse_met(lists, trial)
    judged = metrics.judge(lists, trial.truth)
    each: dict[str, metrics.Values] = {}
    for k in CUTS:
        each[f"recall@{k}"] = metrics.recall(judged, k)
        each[f"ndcg@{k}"] = metrics.ndcg(judged, k)
        each[f"hit_rate@{k}"] = metrics.hit_rate(judged, k)
        each[f"precision@{k}"] = metrics.precision(judged, k)
    each["mrr"] = metrics.reciprocal_rank(judged)
    each["map@100"] = metrics.average_precision(judged, 100)
    found = {name: float(values.mean()) for name, values in each.items()}
    shown = metrics.exposure(lists, 10, len(trial.videos))[trial.videos]
    watched: NDArray[np.int32] = trial.history.video[trial.watched]
    found["coverage@10"] = metrics.coverage(shown)
    found["gini@10"] = metrics.gini(shown)
    found["diversity@10"] = _mean(metrics.diversity(lists, 10, categories))
    found["novelty@10"] = _mean(metrics.novelty(lists, 10, np.bincount(watched, minlength=len(trial.videos))))
    return Measured(found, each, judged, lists)


def _mean(values: metrics.Values) -> float:
    """The mean of what is not NaN, NaN without any."""
    some = values[~np.isnan(values)]
    return float(some.mean()) if len(some) else float("nan")
