"""Protocol exposures: the whole system orders what people were really shown, and says how likely each answer was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nextreel.data.splits import part_of
from nextreel.evaluation import outcomes, protocols
from nextreel.evaluation.exposure_results import ExposureResults
from nextreel.evaluation.outcomes import Scored
from nextreel.evaluation.preview import reads_more
from nextreel.evaluation.told import check_formula, positives
from nextreel.evaluation.trials import FRACTIONS, EvaluationError
from nextreel.progress import Progress, silent
from nextreel.ranking.value import formula
from nextreel.store.memory import relevance_of
from nextreel.training.exposures import Exposures, exposures, replayed
from nextreel.types import DAY, UNKNOWN, Events, FloatArray

if TYPE_CHECKING:
    from nextreel.assembly import Config
    from nextreel.data import Dataset
    from nextreel.training.fit import Fitted

PROTOCOL = "exposures"
SMOOTHING = 20  # exposures of the mean that each video's rate is drawn to the middle by
RECENT = 7 * DAY


@dataclass(frozen=True)
class Shown:
    """What the protocol judges: the events before the cut, those after it, and the exposures among these."""

    history: Events
    test: Events
    exposures: Exposures  # of `test`


def evaluate_exposures(
    dataset: Dataset,
    config: Config | None = None,
    *,
    every: int = 1,
    value: str | None = None,
    seed: int = protocols.SEED,
    progress: Progress = silent,
) -> ExposureResults:
    """How well the system that the first 90 % of the events teach orders the exposures of the last 10 %.

    State stops at the cut, as in protocol frozen: if it moved on, what a person answered first would raise what is
    foretold of their later exposures, and an order among the exposures of one person would be judged by that instead of
    by the videos. With `every` = n only each n-th visit is judged. `value` is another formula to preview; `seed` is
    that of the bootstrap.
    Raises EvaluationError for data without impressions or with too few answers to them, and `FormulaError` for a
    formula that cannot be read.
    """
    from nextreel.assembly import Config  # noqa: PLC0415  imports what serves the models
    from nextreel.training.fit import fit  # noqa: PLC0415  imports torch

    started = perf_counter()
    config = config or Config()
    shown = plan(dataset, config, every)
    _check(shown.history, dataset, config, value)
    fitted = fit(replace(dataset, events=shown.history), config, progress)
    scored = score(fitted, shown, every, value, progress)
    found = outcomes.judge(scored, baselines(shown, scored, dataset, config), seed)
    if not found:
        raise EvaluationError(
            "Expected exposures with and without an answer that the ranker learnt, got none in the last part. "
            "Hint: the data need a longer time span or more people."
        )
    return ExposureResults(
        protocol=PROTOCOL,
        people=len(np.unique(scored.user)),
        visits=len(np.unique(scored.visit)),
        exposures=len(scored),
        outcomes=found,
        notes=_notes(scored, shown, every, config),
        preview=None if value is None else outcomes.preview(scored, dataset, (config.ranker.value, value), seed),
        **protocols.origin(dataset, config, seed, started),
    )


def plan(dataset: Dataset, config: Config, every: int = 1) -> Shown:
    """The cut of the protocol on a data set. Raises EvaluationError where there is nothing to judge."""
    if every < 1:
        raise EvaluationError(f"Expected every n-th visit for an n of at least 1, got {every}.")
    if not dataset.timed:
        raise EvaluationError("Expected events with time stamps for protocol exposures, got data without.")
    part = part_of(dataset.events, FRACTIONS, timed=True)
    split = int(np.count_nonzero(part < 2))
    history, test = dataset.events.take(slice(0, split)), dataset.events.take(slice(split, None))
    shown = exposures(test, dataset.catalogue, config.exposures)
    if not len(shown):
        raise EvaluationError(
            "Expected impressions (events of kind `impression`, what people were shown) in the last tenth of the "
            "events, got none to judge. Hint: the protocols frozen, live and leave-last-out need none."
        )
    visits = int(shown.visit.max()) + 1
    if visits < every:
        raise EvaluationError(
            f"Expected every n-th visit for an n of at most {visits:,}, as many as the last tenth of the events has, "
            f"got {every:,}. Hint: a smaller --every."
        )
    return Shown(history, test, shown)


def _check(history: Events, dataset: Dataset, config: Config, value: str | None) -> None:
    """Raises EvaluationError where the ranker would learn no answer, or not what a formula reads."""
    if value is not None:
        check_formula(value, None, history, dataset, config)
    elif reads_more(config.ranker.value):
        check_formula(config.ranker.value, None, history, dataset, config)
    found = positives(history, dataset, config)
    if max(found.values()) < config.exposures.least:
        raise EvaluationError(
            f"Expected an answer that {config.exposures.least} impressions or more have, got "
            f"{', '.join(f'{many} of {name}' for name, many in found.items())}. "
            "Hint: more data, or a lower exposures.least."
        )


def score(fitted: Fitted, shown: Shown, every: int, value: str | None, progress: Progress) -> Scored:
    """What the fitted system says of each exposure judged, knowing nothing from after the cut."""
    ranker, recommender = fitted.ranker, fitted.recommender
    visits = int(shown.exposures.visit.max()) + 1
    drawn = (np.arange(visits) + 1) % every == 0
    kept, rows_of, told, raw = [], [], [], []
    for request, rows, which in replayed(shown.test, None, shown.exposures, drawn, progress):
        matrix = recommender.matrix(recommender.gather(request, rows))
        kept.append(which)
        rows_of.append(rows)
        told.append(ranker.score(matrix))
        raw.append(np.stack([head.model.scorer.score(matrix.values) for head in ranker.heads]))
    which, objectives = np.concatenate(kept), np.concatenate(told)
    formulas = [recommender.value] if value is None else [recommender.value, formula(value, ranker.objectives)]
    return Scored(
        visit=shown.exposures.visit[which],
        user=shown.test.user[shown.exposures.position[which]],
        people=shown.test.user_ids,
        video=np.concatenate(rows_of),
        labels={name: label[which] for name, label in shown.exposures.labels.items()},
        objectives=ranker.objectives,
        told=objectives,
        raw=np.concatenate(raw, axis=1).T,
        values=[_finite(one(objectives)) for one in formulas],
    )


def _finite(values: FloatArray) -> FloatArray:
    """The values as they are. Raises EvaluationError where one of them is no number."""
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong:
        raise EvaluationError(
            f"Expected a finite value of each of {len(values):,} exposures, got {wrong:,} that are not. "
            "Hint: the formula divides by 0, or takes the log or root of what may be 0 or less."
        )
    return values


def baselines(
    shown: Shown, scored: Scored, dataset: Dataset, config: Config
) -> Mapping[str, Mapping[str, NDArray[np.float64]]]:
    """What outsiders that know the history alone say of each exposure judged, by objective and name.

    `video_rate` is the part of a video's exposures with the answer, drawn to the mean of all by 20 exposures more;
    `popular_7d` is how often the video was watched in the last seven days of the history, which is an order alone.
    """
    n = len(dataset.catalogue)
    past = exposures(shown.history, dataset.catalogue, config.exposures)
    video = shown.history.video[past.position]
    many = np.bincount(video, minlength=n)
    graded = relevance_of(shown.history, dataset.catalogue, config.relevance)
    watched = (graded > 0) & (shown.history.video != UNKNOWN)
    recent = watched & (shown.history.at > shown.history.at[-1] - RECENT)
    popular = np.bincount(shown.history.video[recent], minlength=n).astype(np.float64)[scored.video]
    found = {}
    for objective, label in past.labels.items():
        mean = float(label.mean()) if len(label) else 0.0
        rate = (np.bincount(video, label, n) + SMOOTHING * mean) / (many + SMOOTHING)
        found[objective] = {"video_rate": rate[scored.video], "popular_7d": popular}
    return found


def _notes(scored: Scored, shown: Shown, every: int, config: Config) -> list[str]:
    """What is said of the run below its tables."""
    notes = [
        "Each exposure is scored from what was known at the cut, at its own time and place; a video that a visit "
        "showed twice counts once.",
        f"before calibration: the raw score as log-odds. by value: the order of `{config.ranker.value}`.",
        f"video_rate: the part of the video's exposures in the history with the answer, drawn to the mean by "
        f"{SMOOTHING} more; popular_7d: how often it was watched in the last seven days of the history.",
    ]
    if "watch" in scored.objectives:
        notes.append(
            "watch is a part from 0 to 1: AUC, GAUC and NDCG@10 take the exposures above one half as positive; log "
            "loss and ECE are of the part itself."
        )
    left_out = [name for name in shown.exposures.labels if name not in scored.objectives]
    if left_out:
        notes.append(f"Not learnt, too few positives: {', '.join(left_out)}.")
    if every > 1:
        notes.append(f"One visit of {every} is judged.")
    return notes
