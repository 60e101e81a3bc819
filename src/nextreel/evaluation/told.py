"""What data tell of how people answered what they were shown, found out before anything is fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nextreel.evaluation.trials import EvaluationError
from nextreel.ranking.ranker import OBJECTIVES, RELEVANCE
from nextreel.ranking.value import named
from nextreel.training.exposures import exposures
from nextreel.types import Events

if TYPE_CHECKING:
    from nextreel.assembly import Config
    from nextreel.data import Dataset


def positives(history: Events, dataset: Dataset, config: Config) -> dict[str, int]:
    """How many impressions have each answer in that part of the history which the ranker learns from, by objective.

    Raises EvaluationError for data without time stamps or without impressions, and where the configuration learns
    nothing from them.
    """
    if not dataset.timed:
        raise EvaluationError("Expected events with time stamps beside impressions, got data without time stamps.")
    if not config.exposures.visits:
        raise EvaluationError(
            "Expected exposures.visits above 0, got 0: no answer would be learnt. Hint: leave it out."
        )
    newest = history.take(slice(int(len(history) * (1 - config.moments.share)), None))
    shown = exposures(newest, dataset.catalogue, config.exposures)
    if not len(shown):
        raise EvaluationError(
            "Expected impressions (events of kind `impression`, what people were shown) among the newest "
            f"{config.moments.share:.0%} of the events that models learn from, got none. "
            "Hint: log what is shown, or stay with `relevance`, which needs no impressions."
        )
    return {name: int(np.count_nonzero(label)) for name, label in shown.labels.items()}


def check_formula(value: str, source: str | None, history: Events, dataset: Dataset, config: Config) -> None:
    """Raises EvaluationError where a formula cannot be previewed on these data, and `FormulaError` for a bad one."""
    if source is not None:
        raise EvaluationError(f"Expected the whole pipeline for a formula, got {source} alone. Hint: no `--source`.")
    wanted = (named(value, OBJECTIVES) | named(config.ranker.value, OBJECTIVES)) - {RELEVANCE}
    if not wanted:
        return
    found = positives(history, dataset, config)
    few = {name: found.get(name, 0) for name in sorted(wanted) if found.get(name, 0) < config.exposures.least}
    if few:
        told = ", ".join(f"{many} of {name}" for name, many in few.items())
        raise EvaluationError(
            f"Expected {config.exposures.least} impressions or more with each answer that the formula reads, got "
            f"{told}. Hint: a formula without {', '.join(few)}, more data, or a lower exposures.least."
        )
