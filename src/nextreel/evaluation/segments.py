"""For whom, and with which videos, a model is good: its metrics by what was known of the person and of the video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel.evaluation.measures import Measured
from nextreel.evaluation.trials import Trial
from nextreel.types import BoolArray, RowArray

HISTORY_EDGES = (0, 1, 10, 50, 200)  # events of the person before the request: cold, then ever more active
VIDEO_EDGES = (
    0,
    1,
    10,
    100,
    1000,
)  # events of the right video in what models were fitted on: new, then ever better known
PERSON_METRICS = ("ndcg@10", "hit_rate@10", "recall@100")
VIDEO_METRICS = ("recall@10", "recall@100")


@dataclass(frozen=True)
class Segment:
    """The metrics of every model on a part of the requests, or of the right videos."""

    by: str  # what the parts differ in
    name: str  # which part, such as "10 to 49"
    many: int  # requests, or right videos of all requests
    metrics: Mapping[str, Mapping[str, float]]  # model -> metric -> mean


def segments(trial: Trial, measured: Mapping[str, Measured]) -> list[Segment]:
    """Every part that somebody, or some right video, is in: by the person's events, by the video's."""
    found = []
    for name, requests in _parts(_events_before(trial), HISTORY_EDGES):
        values = {
            model: {metric: float(one.each[metric][requests].mean()) for metric in PERSON_METRICS}
            for model, one in measured.items()
        }
        found.append(Segment("events of the person", name, int(requests.sum()), values))
    counts = np.bincount(trial.history.video[trial.watched], minlength=len(trial.videos))
    for name, videos in _parts(counts, VIDEO_EDGES):
        right = int(videos[trial.truth.rows].sum())
        if right:
            recalls = {model: _recalls(one, videos, right) for model, one in measured.items()}
            found.append(Segment("events of the right video", name, right, recalls))
    return found


def _recalls(measured: Measured, videos: BoolArray, right: int) -> dict[str, float]:
    """Share of the `right` videos of a part that are among the first 10, and 100, of their lists."""
    hit: BoolArray = measured.judged.found & videos[measured.lists]
    return {name: float(hit[:, : int(name.partition("@")[2])].sum() / right) for name in VIDEO_METRICS}


def _events_before(trial: Trial) -> NDArray[np.int64]:
    """How many events (m,) after which a video is no longer new the person of each request has behind them."""
    where = np.flatnonzero(trial.seen)
    stride = len(trial.stream) + 1
    own = np.sort(trial.stream.user[where].astype(np.int64) * stride + where)
    first = trial.user.astype(np.int64) * stride
    return np.searchsorted(own, first + trial.after) - np.searchsorted(own, first)


def _parts(counts: NDArray[np.int64] | RowArray, edges: Sequence[int]) -> Iterator[tuple[str, BoolArray]]:
    """Each part's name and who is in it, where somebody is."""
    for low, high in zip(edges, [*edges[1:], None], strict=True):
        inside = counts >= low if high is None else (counts >= low) & (counts < high)
        if inside.any():
            yield (
                (f"{low} and more" if high is None else str(low) if high == low + 1 else f"{low} to {high - 1}"),
                inside,
            )
