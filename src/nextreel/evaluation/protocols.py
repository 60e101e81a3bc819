"""The protocols: which events are known, whom to ask, when, and what was right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nextreel import metrics
from nextreel.data.splits import split_by_time
from nextreel.evaluation import lineage
from nextreel.evaluation.baselines import Lists, fit_baselines
from nextreel.evaluation.results import Comparison, Results, Row
from nextreel.metrics import Truth
from nextreel.progress import Progress, silent
from nextreel.types import UNKNOWN, BoolArray, Events, FloatArray, Kind, NextreelError, Request, RowArray, joined

if TYPE_CHECKING:
    from nextreel.assembly import Config
    from nextreel.data import Dataset
    from nextreel.pipeline import Recommender

K = 100  # length of the lists
CUTS = (5, 10, 20, 50, 100)
COMPARED = ("ndcg@10", "recall@10")
SEED = 42
_SILENT = (Kind.IMPRESSION, Kind.SUBSCRIBE, Kind.BLOCK)  # kinds after which a video is still one to recommend

PerUser: TypeAlias = dict[str, metrics.Values]
Grade: TypeAlias = Callable[[Events], FloatArray]


class EvaluationError(NextreelError):
    """A data set that a protocol cannot be run on, or lists that break its rules."""


@dataclass(frozen=True)
class Split:
    """A frozen split by global time: what is known, whom to ask, at which time, and what they then watched."""

    history: Events  # train and validation
    train: int  # events of the training part
    watched: BoolArray  # (history,) the event says that the person liked or watched the video
    seen: BoolArray  # (history,) the video is no longer one to recommend to the person
    users: NDArray[np.int32]  # (users,) codes, ascending
    truth: Truth  # of the users, in their order
    at: float  # seconds; just after the last known event
    videos: BoolArray  # (catalogue,) has at least one event in the data: what coverage is a share of


def split(
    events: Events,
    grade: Grade,
    n_videos: int,
    *,
    timed: bool = True,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> Split:
    """The events cut into train, validation and test by rows, in these parts; history is the first two.

    `events` are oldest first; where not `timed`, each user's rows are cut so and their order is all that is known.
    `grade` tells the relevance (n,) of events; a video is right when it has a test event above 0 and the person has
    not met it before. Users are those with history and with something right. Raises EvaluationError when there are
    none.
    """
    parts = split_by_time(events, fractions, timed=timed)
    history, test = _joined(parts.train, parts.valid, timed=timed), parts.test
    watched = (grade(history) > 0) & (history.video != UNKNOWN)
    seen = (history.video != UNKNOWN) & ~np.isin(history.kind, _SILENT)
    right = (grade(test) > 0) & (test.video != UNKNOWN)
    right &= ~np.isin(_pairs(test, n_videos), _pairs(history, n_videos)[seen])
    users = np.intersect1d(history.user[seen], test.user[right]).astype(np.int32)
    if len(users) == 0:
        raise EvaluationError(
            f"Expected people who are in the first {len(history):,} events and watch something new in the last "
            f"{len(test):,}; got none. Hint: the data need a longer time span or more people who come back."
        )
    right &= np.isin(test.user, users)
    return Split(
        history=history,
        train=len(parts.train),
        watched=watched,
        seen=seen,
        users=users,
        truth=Truth.of(np.searchsorted(users, test.user[right]), test.video[right], len(users)),
        at=float(np.nextafter(history.at[-1], np.inf)),
        videos=np.bincount(events.video[events.video != UNKNOWN], minlength=n_videos) > 0,
    )


def _joined(first: Events, second: Events, *, timed: bool) -> Events:
    """The events of both, one after the other; without time stamps, times are the numbers of the rows."""
    both = joined([first, second])
    return both if timed else replace(both, at=np.arange(len(both), dtype=np.float64))


def _pairs(events: Events, n_videos: int) -> NDArray[np.int64]:
    """One number (n,) for each user and video."""
    return events.user.astype(np.int64) * n_videos + events.video


def slates(recommender: Recommender, user_ids: NDArray[Any], progress: Progress = silent) -> Lists:
    """How a recommender answers: one slate for each user, at one time."""

    def lists(users: NDArray[np.int32], at: float, k: int) -> RowArray:
        answers = np.full((len(users), k), UNKNOWN, np.int32)
        with progress("Recommending", len(users)) as advance:
            for place, user_id in enumerate(user_ids[users].tolist()):
                rows = recommender.recommend(Request(user_id=user_id, at=at, k=k)).rows
                answers[place, : len(rows)] = rows
                advance(1)
        return answers

    return lists


def measure(lists: RowArray, known: Split, categories: FloatArray) -> tuple[dict[str, float], PerUser]:
    """The metrics of one model's lists (users, K), averaged, and those of each user that models are compared by.

    Raises EvaluationError when a list holds a video that its user has met before.
    """
    _refuse_seen(lists, known)
    judged = metrics.judge(lists, known.truth)
    each: PerUser = {}
    for k in CUTS:
        each[f"recall@{k}"] = metrics.recall(judged, k)
        each[f"ndcg@{k}"] = metrics.ndcg(judged, k)
        each[f"hit_rate@{k}"] = metrics.hit_rate(judged, k)
        each[f"precision@{k}"] = metrics.precision(judged, k)
    each["mrr"] = metrics.reciprocal_rank(judged)
    each["map@100"] = metrics.average_precision(judged, 100)
    found = {name: float(values.mean()) for name, values in each.items()}
    shown = metrics.exposure(lists, 10, len(known.videos))[known.videos]
    counts = np.bincount(known.history.video[known.watched], minlength=len(known.videos))
    found["coverage@10"] = metrics.coverage(shown)
    found["gini@10"] = metrics.gini(shown)
    found["diversity@10"] = _mean(metrics.diversity(lists, 10, categories))
    found["novelty@10"] = _mean(metrics.novelty(lists, 10, counts))
    return found, each


def compare(
    known: Split,
    models: Mapping[str, Callable[[], Lists]],
    categories: FloatArray,
    *,
    timed: bool = True,
    seed: int = SEED,
    progress: Progress = silent,
) -> tuple[list[Row], list[Comparison]]:
    """One row for each baseline and each model, and each model's difference from the best baseline by each metric.

    `models` maps a name to a function that fits the model on the history and returns how it answers: (user codes, at,
    k) -> (users, k) rows, -1 padded. Its seconds are those of fitting and answering.
    """
    rows: list[Row] = []
    values: dict[str, PerUser] = {}

    def judged(name: str, kind: str, lists: Lists, started: float) -> None:
        answers = lists(known.users, known.at, K)
        seconds = perf_counter() - started
        found, values[name] = measure(answers, known, categories)
        rows.append(Row(name, kind, found, seconds))

    with progress("Baselines", None) as advance:
        started = perf_counter()
        fitted = fit_baselines(
            known.history, known.watched, known.seen, known.train, known.videos, timed=timed, seed=seed
        )
        for baseline in fitted:
            judged(baseline.name, "baseline", baseline.lists, started)
            advance(1)
            started = perf_counter()
    best = {name: max((row.metrics[name], row.model) for row in rows)[1] for name in COMPARED}
    comparisons = []
    for name, model in models.items():
        started = perf_counter()
        judged(name, "pipeline", model(), started)
        for metric in COMPARED:
            interval = metrics.paired_bootstrap(values[name][metric], values[best[metric]][metric], seed)
            comparisons.append(Comparison(metric, name, best[metric], *interval))
    return rows, comparisons


def frozen(dataset: Dataset, config: Config | None = None, progress: Progress = silent, seed: int = SEED) -> Results:
    """Protocol 1, frozen global time: the full pipeline and all baselines on one split, with lineage.

    The pipeline is fitted on the first 90 % of the events and asked once for each user, just after the last of them:
    100 videos each, judged against all that the user newly watched in the last 10 %. `seed` is that of the random
    baseline and of the bootstrap; the pipeline's are in its configuration. Raises EvaluationError when nobody can be
    judged.
    """
    from nextreel.assembly import Config  # noqa: PLC0415  the baselines alone need none of the training stack
    from nextreel.store.memory import relevance_of  # noqa: PLC0415
    from nextreel.training.fit import fit  # noqa: PLC0415

    started = perf_counter()
    config = config or Config()
    events, catalogue = dataset.events, dataset.catalogue
    rules = config.relevance
    known = split(events, lambda some: relevance_of(some, catalogue, rules), len(catalogue), timed=dataset.timed)

    def pipeline() -> Lists:
        fitted = fit(replace(dataset, events=known.history), config, progress)
        return slates(fitted.recommender, events.user_ids, progress)

    rows, comparisons = compare(
        known, {"nextreel": pipeline}, catalogue.categories, timed=dataset.timed, seed=seed, progress=progress
    )
    return Results(
        protocol="frozen",
        users=len(known.users),
        truths=float(known.truth.counts.mean()),
        videos=int(known.videos.sum()),
        rows=rows,
        comparisons=comparisons,
        notes=_notes(dataset.timed),
        seed=seed,
        seconds=perf_counter() - started,
        peak_memory=lineage.peak_memory(),
        data=dataset.manifest.to_json(),
        commit=lineage.commit(),
        hardware=lineage.hardware(),
        versions=lineage.versions(),
        config=config.model_dump(mode="json"),
    )


def _refuse_seen(lists: RowArray, known: Split) -> None:
    """Raises EvaluationError when a list holds a video that its user has met before."""
    stride = len(known.videos)
    met = known.seen & np.isin(known.history.user, known.users)
    pairs = np.searchsorted(known.users, known.history.user[met]).astype(np.int64) * stride + known.history.video[met]
    asked = np.arange(len(known.users), dtype=np.int64)[:, None] * stride + lists
    repeated = np.isin(asked, pairs) & (lists != UNKNOWN)
    if repeated.any():
        user, place = (int(one[0]) for one in np.nonzero(repeated))
        raise EvaluationError(
            f"Expected lists of videos new to their user; got {int(repeated.sum())} that are in a history, the first "
            f"one row {int(lists[user, place])} for user {known.history.user_ids[known.users[user]]!r}. "
            "Hint: filter what the person has watched."
        )


def _mean(values: metrics.Values) -> float:
    """The mean of what is not NaN, NaN without any."""
    some = values[~np.isnan(values)]
    return float(some.mean()) if len(some) else float("nan")


def _notes(timed: bool) -> list[str]:
    notes = [
        "popular counts the training part (the first 80 % of the events); every other baseline is fitted on train and "
        "validation (the first 90 %), as the pipeline is.",
        "MAP@100 divides by min(100, right videos); coverage is a share of the videos with at least one event.",
    ]
    if not timed:
        notes.append("The data have no time stamps: each user's rows are cut by their order, popular_7d is left out.")
    return notes
