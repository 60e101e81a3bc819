"""How recommenders answer a trial: the state moves on between requests, and all of them see the same one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextreel.evaluation.trials import EvaluationError, Met, Trial
from nextreel.pipeline import Recommender
from nextreel.progress import Progress, silent
from nextreel.store import MemoryStore
from nextreel.types import UNKNOWN, Request, RowArray, Slate

Watch = Callable[[int, Request], None]  # told of each request, by its number, while the state stands before it
Hear = Callable[[str, int, Slate], None]  # told of each answer: the recommender's name, the request's number, the slate


@dataclass(frozen=True)
class Answers:
    """What one recommender answered."""

    lists: RowArray  # (m, k), best first, padded with -1
    seconds: float  # of answering alone


def ask(
    trial: Trial,
    store: MemoryStore,
    recommenders: Mapping[str, Recommender],
    k: int,
    progress: Progress = silent,
    watch: Watch | None = None,
    hear: Hear | None = None,
) -> dict[str, Answers]:
    """The answers of every recommender, all of which read this store, to each request of the trial.

    The store must be empty of events; it ends after the last one that the last request may know. Raises
    EvaluationError when a part of a recommender failed, which a server would do without.
    """
    lists = {name: np.full((len(trial), k), UNKNOWN, np.int32) for name in recommenders}
    seconds = dict.fromkeys(recommenders, 0.0)
    user_ids: list[Any] = trial.stream.user_ids[trial.user].tolist()
    known = 0
    with progress("Recommending", len(trial)) as advance:
        for number, (user_id, at, after) in enumerate(
            zip(user_ids, trial.at.tolist(), trial.after.tolist(), strict=True)
        ):
            if after > known:
                store.apply_many(trial.stream.take(slice(known, after)))
                known = after
            request = Request(user_id=user_id, at=at, k=k, seed=number)
            for name, recommender in recommenders.items():
                started = perf_counter()
                slate = recommender.recommend(request)
                seconds[name] += perf_counter() - started
                if slate.trace.failures:
                    raise EvaluationError(
                        f"Expected an answer of every part of {name}; at request {number} there failed "
                        f"{slate.trace.failures}. Hint: the log holds the whole error."
                    )
                lists[name][number, : len(slate.rows)] = slate.rows
                if hear is not None:
                    hear(name, number, slate)
            if watch is not None:
                watch(number, request)
            advance(1)
    return {name: Answers(lists[name], seconds[name]) for name in recommenders}


def refuse_met(lists: RowArray, trial: Trial) -> None:
    """Raises EvaluationError when a list (m, k) holds a video that its person had met before the request."""
    met = Met.of(trial.stream, trial.seen, len(trial.videos))
    repeated = met.before(trial.user, lists, trial.after)
    if repeated.any():
        request, place = (int(one[0]) for one in np.nonzero(repeated))
        ids: NDArray[Any] = trial.stream.user_ids
        raise EvaluationError(
            f"Expected lists of videos new to their user; got {int(repeated.sum())} that are in a history, the first "
            f"one row {int(lists[request, place])} for user {ids[trial.user[request]]!r}. "
            "Hint: filter what the person has watched."
        )
