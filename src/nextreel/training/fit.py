"""Fitting a whole system on a data set: what each model may see, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from nextreel.assembly import Config, Models, build
from nextreel.encoding.vocabulary import Vocabulary
from nextreel.features import words
from nextreel.pipeline import Recommender
from nextreel.progress import Progress, silent
from nextreel.ranking import families
from nextreel.ranking.ranker import RELEVANCE, FittedRanker
from nextreel.ranking.rows import Rows, varying
from nextreel.ranking.value import named
from nextreel.retrieval import als, item_item
from nextreel.retrieval.transitions import fit_transitions
from nextreel.store import MemoryStore
from nextreel.store.memory import relevance_of
from nextreel.training.exposures import exposure_rows
from nextreel.training.moments import examples
from nextreel.types import DAY, MINUTE, Catalogue, Events, FloatArray, NextreelError, Profile

if TYPE_CHECKING:
    from nextreel.data import Dataset


@dataclass(frozen=True)
class Fitted:
    """Everything that fitting left: models refitted on all events, and the state just after the last one."""

    config: Config
    catalogue: Catalogue
    timed: bool
    models: Models
    ranker: FittedRanker
    store: MemoryStore
    recommender: Recommender
    rows: dict[str, Rows]  # objective -> what the ranker was fitted on
    metrics: dict[str, float | str]
    seconds: dict[str, float] = field(default_factory=dict)  # stage -> wall-clock seconds


def fit(dataset: Dataset, config: Config | None = None, progress: Progress = silent) -> Fitted:
    """The system fitted on all events of the data set.

    1. Retrievers are fitted on the older events. 2. The newer ones (`moments.share`) are replayed through these
    retrievers into ranker rows, so a retriever has never seen what it is judged by there. 3. The ranker is fitted;
    the moments of some people, held out, choose its size. 4. Retrievers are refitted on all events.

    Vocabularies are of all events from the start: the ranker could learn nothing of a page, device or country that the
    older events do not tell of.
    """
    config = config or Config()
    events, catalogue, timed = dataset.events, dataset.catalogue, dataset.timed
    graded = relevance_of(events, catalogue, config.relevance)
    first = int(len(events) * (1 - config.moments.share))
    if first < 1:
        raise NextreelError(f"Expected at least two interactions to train on, got {len(events)}.")
    seconds: dict[str, float] = {}
    started = perf_counter()
    older = events.take(slice(first))
    known = words.fit(events, dataset.profiles, config.vocabulary_floor)
    models = fit_models(
        older, graded[:first], catalogue, config, dataset.profiles, progress, timed=timed, vocabularies=known
    )
    seconds["retrievers"] = perf_counter() - started

    started = perf_counter()
    rows, store = ranker_rows(events, first, catalogue, config, models, dataset.profiles, progress, timed=timed)
    seconds["replay"] = perf_counter() - started

    started = perf_counter()
    ranker = fit_ranker(rows, config, progress).lean()
    seconds["ranker"] = perf_counter() - started

    started = perf_counter()
    final = fit_models(events, graded, catalogue, config, dataset.profiles, progress, models, timed=timed)
    seconds["refit"] = perf_counter() - started
    metrics: dict[str, float | str] = {f"ranker_{name}": value for name, value in ranker.metrics.items()}
    if models.two_tower is not None:
        metrics |= {f"two_tower_{name}": value for name, value in models.two_tower.metrics.items()}
    if final.two_tower is not None:  # what its index was measured to find
        metrics |= {f"two_tower_index_{name}": value for name, value in final.two_tower.index.about().items()}
    return Fitted(
        config=config,
        catalogue=catalogue,
        timed=timed,
        models=final,
        ranker=ranker,
        store=store,
        recommender=build(config, catalogue, store, final, ranker, timed=timed, columns=ranker.names),
        rows=rows,
        metrics=metrics,
        seconds=seconds,
    )


def fit_models(
    events: Events,
    graded: FloatArray,
    catalogue: Catalogue,
    config: Config,
    profiles: Sequence[Profile],
    progress: Progress = silent,
    warm: Models | None = None,
    *,
    timed: bool = True,
    vocabularies: Mapping[str, Vocabulary] | None = None,
) -> Models:
    """The retrievers fitted on these events alone, with the given vocabularies, or else those of these events.

    `profiles` goes with `events.user_ids`. Where `warm` is given, its towers are trained on and its vocabularies stay
    as they are: the ranker has learnt what their codes mean. Where the events are not `timed`, none is older than
    another. ALS is also fitted where it is no source, but its factors tell which videos are alike.
    """
    from nextreel.retrieval.two_tower import fitting  # noqa: PLC0415  imports torch

    columns = (events.user, events.video, graded, len(events.user_ids), len(catalogue))
    quotas = config.quotas
    towers = closed_form = neighbours = factors = follows = None
    if quotas.two_tower > 0:
        params = config.two_tower if timed else config.two_tower.untimed()
        towers = fitting.fit(events, graded, catalogue, params, progress, warm.two_tower if warm else None, profiles)
    if quotas.als > 0 or (quotas.two_tower == 0 and quotas.similar + quotas.multi_query > 0):
        confidences = config.als if timed else config.als.model_copy(update={"half_life_days": None})
        factors = als.fit(*columns, confidences, progress, at=events.at)
    if quotas.ease > 0:
        with progress("solving EASE"):
            closed_form = item_item.fit_ease(*columns, config.ease)
    if quotas.item_item > 0:
        with progress("counting neighbours"):
            neighbours = item_item.fit_cosine(*columns, config.item_item)
    if quotas.transitions > 0:
        with progress("counting transitions"):
            follows = fit_transitions(*columns, config.transitions)
    if vocabularies is None:
        vocabularies = warm.words if warm else words.fit(events, profiles, config.vocabulary_floor)
    return Models(
        two_tower=towers, als=factors, ease=closed_form, item_item=neighbours, transitions=follows, words=vocabularies
    )


def ranker_rows(
    events: Events,
    first: int,
    catalogue: Catalogue,
    config: Config,
    models: Models,
    profiles: Sequence[Profile],
    progress: Progress = silent,
    *,
    timed: bool = True,
) -> tuple[dict[str, Rows], MemoryStore]:
    """What each objective learns from the events from number `first` on, and the store after the last of them.

    `models` are fitted on the events before. Relevance is learnt from moments of which the sources propose candidates,
    the other objectives from what was really shown, where the data tell that.
    """
    known = dict(zip(events.user_ids.tolist(), profiles, strict=True))

    def replay() -> tuple[MemoryStore, Recommender]:
        store = MemoryStore(catalogue, config.relevance, known)
        store.apply_many(events.take(slice(first)))
        return store, build(config, catalogue, store, models, None, timed=timed)

    store, recommender = replay()
    rows = {RELEVANCE: examples(events, store, recommender, first, config.moments, progress)}
    if timed and config.exposures.visits:
        rows |= exposure_rows(events, *replay(), first, config.exposures, progress)
    return varying(rows), store


def fit_ranker(rows: Mapping[str, Rows], config: Config, progress: Progress = silent) -> FittedRanker:
    """The ranker, the size of each head chosen on people whose rows it did not see.

    Besides relevance, an objective whose answers are all the same in either part is left out: they tell nothing.
    Raises `NextreelError` where the value formula reads an objective that the data do not tell.
    """
    people = np.unique(np.concatenate([one.users for one in rows.values()]))
    rng = np.random.default_rng(config.moments.seed)
    held = rng.choice(people, max(1, int(len(people) * config.moments.holdout)), replace=False)
    train, valid = {}, {}
    for objective, one in rows.items():
        judged = np.isin(one.users, held)
        if judged.all() or not judged.any():  # one person alone, or none of those held: the last moment it is
            judged = one.groups == one.groups[-1]
        parts = one.take(~judged), one.take(judged)
        if objective == RELEVANCE or all(len(part) and np.ptp(part.labels) > 0 for part in parts):
            train[objective], valid[objective] = parts
    named(config.ranker.value, tuple(train))
    with progress("fitting the ranker", None):
        near_days = config.moments.visit_minutes * MINUTE / DAY
        return families.fit(train, valid, config.ranker, near_days, config.weights.model_dump())
