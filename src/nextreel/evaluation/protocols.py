"""The protocols run: models fitted on what they may see, asked with all baselines, judged, with lineage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from nextreel import metrics
from nextreel.evaluation import lineage, trials
from nextreel.evaluation.asking import Hear, Watch, ask
from nextreel.evaluation.baselines import baselines
from nextreel.evaluation.heard import PREVIEW, WHOLE, Heard
from nextreel.evaluation.measures import Measured, measure
from nextreel.evaluation.preview import reads_more
from nextreel.evaluation.results import Results
from nextreel.evaluation.rows import Comparison, Row
from nextreel.evaluation.segments import segments
from nextreel.evaluation.stages import Stages
from nextreel.evaluation.trials import EvaluationError, Protocol, Trial
from nextreel.pipeline import Recommender
from nextreel.progress import Progress, silent
from nextreel.store import MemoryStore
from nextreel.store.memory import relevance_of

if TYPE_CHECKING:
    from nextreel.assembly import Config
    from nextreel.data import Dataset

K = 100  # length of the lists
COMPARED = {"frozen": ("ndcg@10", "recall@10")}  # elsewhere one video is right: the hit rate is the recall
SEED = 42


@dataclass(frozen=True)
class Model:
    """What is asked beside the baselines."""

    recommender: Recommender  # over the store that the trial advances
    seconds: float  # of fitting
    kind: str = "pipeline"  # or "source", "stage": a part of the pipeline; "preview": with another formula


Fit = Callable[[Trial, MemoryStore], Mapping[str, Model]]


def plan(dataset: Dataset, protocol: Protocol, rules: Config, every: int = 1) -> Trial:
    """The trial of a protocol on a data set. Raises EvaluationError where the data cannot bear it."""
    grade = partial(relevance_of, catalogue=dataset.catalogue, rules=rules.relevance)
    n = len(dataset.catalogue)
    if every < 1:
        raise EvaluationError(f"Expected every n-th request for an n of at least 1, got {every}.")
    if protocol != "live" and every != 1:
        raise EvaluationError(f"Expected every request of protocol {protocol}, got every {every}. Hint: only `live`.")
    if protocol == "frozen":
        return trials.frozen(dataset.events, grade, n, timed=dataset.timed)
    if protocol == "leave-last-out":
        return trials.leave_last_out(dataset.events, grade, n, timed=dataset.timed)
    if not dataset.timed:
        raise EvaluationError("Expected events with time stamps for protocol live, got data without. Hint: `frozen`.")
    return trials.live(dataset.events, grade, n, every=every)


def compare(
    trial: Trial,
    dataset: Dataset,
    config: Config,
    fit: Fit,
    seed: int = SEED,
    progress: Progress = silent,
    watch: Callable[[Mapping[str, Model]], Watch | None] = lambda _: None,
    hear: Hear | None = None,
) -> tuple[list[Row], list[Comparison], dict[str, Measured]]:
    """One row for each baseline and each model, and each model's difference from the best baseline by each metric.

    `fit` fits the models on the history of the trial; all are asked over one store. A model with the name of a baseline
    is told apart as "name (config)". `watch` is told of the models and returns what is told of each request; `hear` is
    told of each answer.
    """
    store = new_store(dataset, config)
    asked: dict[str, Model] = {}
    with progress("Baselines", None) as advance:
        for recommender, seconds in baselines(trial, dataset.catalogue, store, K, timed=dataset.timed, seed=seed):
            asked[recommender.sources[0].retriever.name] = Model(recommender, seconds, "baseline")
            advance(1)
    models = {f"{name} (config)" if name in asked else name: model for name, model in fit(trial, store).items()}
    asked |= models
    recommenders = {name: one.recommender for name, one in asked.items()}
    answers = ask(trial, store, recommenders, K, progress, watch(models), hear)
    measured = {name: measure(one.lists, trial, dataset.catalogue.categories) for name, one in answers.items()}
    rows = [
        Row(name, model.kind, measured[name].mean, model.seconds + answers[name].seconds)
        for name, model in asked.items()
    ]
    return rows, _comparisons(trial, rows, measured, list(models), seed), measured


def _comparisons(
    trial: Trial, rows: Sequence[Row], measured: Mapping[str, Measured], models: Sequence[str], seed: int
) -> list[Comparison]:
    """The difference of each model from the best baseline, people resampled with all their requests."""
    found = []
    compared = COMPARED.get(trial.protocol, ("ndcg@10", "hit_rate@10"))
    best = {
        metric: max((row.metrics[metric], row.model) for row in rows if row.kind == "baseline")[1]
        for metric in compared
    }
    for name in models:
        for metric in compared:
            pair = measured[name].each[metric], measured[best[metric]].each[metric]
            interval = metrics.paired_bootstrap(*pair, seed, groups=trial.user)
            found.append(Comparison(metric, name, best[metric], *interval))
    return found


def new_store(dataset: Dataset, config: Config) -> MemoryStore:
    """A store that knows the profiles and no event."""
    profiles = dict(zip(dataset.events.user_ids.tolist(), dataset.profiles, strict=True))
    return MemoryStore(dataset.catalogue, config.relevance, profiles)


def fit_pipeline(dataset: Dataset, config: Config, progress: Progress = silent, value: str | None = None) -> Fit:
    """Fits the whole system on the history of a trial: `nextreel`, its stages, and the towers alone.

    With another value formula there is `preview` too, the same system with that formula.
    """
    from nextreel.assembly import build, for_lists  # noqa: PLC0415  imports what serves the models
    from nextreel.ranking.value import formula  # noqa: PLC0415
    from nextreel.training.fit import fit  # noqa: PLC0415  imports torch

    def fitted(trial: Trial, store: MemoryStore) -> dict[str, Model]:
        started = perf_counter()
        needed = config if value is not None and reads_more(value) else for_lists(config)
        found = fit(replace(dataset, events=trial.history), needed, progress)
        seconds = perf_counter() - started
        full = build(
            config,
            dataset.catalogue,
            store,
            found.models,
            found.ranker,
            timed=dataset.timed,
            columns=found.ranker.names,
        )
        full = replace(full, resume=None)  # a list is judged by what its person had not met before
        models: dict[str, Model] = {}
        if found.models.two_tower is not None:
            models["two_tower"] = Model(full.alone("two_tower"), found.models.two_tower.metrics["seconds"], "source")
        models["fused"] = Model(replace(full, ranker=None, orderers=()), 0.0, "stage")
        models["ranked"] = Model(replace(full, orderers=()), 0.0, "stage")
        models[WHOLE] = Model(full, seconds, "pipeline")
        if value is not None:
            models[PREVIEW] = Model(replace(full, value=formula(value, found.ranker.objectives)), 0.0, "preview")
        return models

    return fitted


def fit_source(dataset: Dataset, config: Config, source: str, progress: Progress = silent) -> Fit:
    """Fits one source alone on the history of a trial. Raises `NextreelError` for a source there is none of."""
    from nextreel.assembly import build, only  # noqa: PLC0415
    from nextreel.training.fit import fit_models  # noqa: PLC0415

    config = only(config, source)

    def fitted(trial: Trial, store: MemoryStore) -> dict[str, Model]:
        nonlocal config
        if trial.protocol == "leave-last-out":  # everybody's last known row is for validation alone
            towers = config.two_tower.model_copy(update={"validation_users": None})
            config = config.model_copy(update={"two_tower": towers})
        started = perf_counter()
        graded = relevance_of(trial.history, dataset.catalogue, config.relevance)
        models = fit_models(
            trial.history, graded, dataset.catalogue, config, dataset.profiles, progress, timed=dataset.timed
        )
        seconds = perf_counter() - started
        recommender = build(config, dataset.catalogue, store, models, None, timed=dataset.timed)
        return {source: Model(recommender.alone(source), seconds, "source")}

    return fitted


def evaluate(
    dataset: Dataset,
    protocol: Protocol = "frozen",
    config: Config | None = None,
    *,
    source: str | None = None,
    every: int = 1,
    value: str | None = None,
    seed: int = SEED,
    progress: Progress = silent,
) -> Results:
    """A protocol with all baselines on one data set: the full pipeline, or one source alone, with lineage.

    `value` is another formula to preview. `seed` is that of the random baseline and of the bootstrap; those of the
    models are in the configuration. Raises EvaluationError when nobody can be judged, or the data do not tell what the
    formula reads, and `FormulaError` for one that cannot be read.
    """
    from nextreel.assembly import Config  # noqa: PLC0415  the baselines alone need none of the training stack
    from nextreel.evaluation.told import check_formula  # noqa: PLC0415

    started = perf_counter()
    config = config or Config()
    trial = plan(dataset, protocol, config, every)
    if value is not None:
        check_formula(value, source, trial.history, dataset, config)
    if source is None:
        fit = fit_pipeline(dataset, config, progress, value)
    else:
        fit = fit_source(dataset, config, source, progress)
    heard = None if value is None else Heard(len(trial), (config.ranker.value, value))
    stages = Stages(trial) if source is None else None

    def watch(models: Mapping[str, Model]) -> Watch | None:
        if heard is not None:
            heard.learnt(models[WHOLE].recommender.ranker)
        return None if stages is None else stages.watch(models[WHOLE].recommender)

    rows, comparisons, measured = compare(trial, dataset, config, fit, seed, progress, watch, heard)
    return Results(
        protocol=protocol,
        users=len(set(trial.user.tolist())),
        requests=len(trial),
        truths=float(trial.truth.counts.mean()),
        videos=int(trial.videos.sum()),
        rows=rows,
        comparisons=comparisons,
        stages=None if stages is None else stages.found(rows),
        segments=segments(trial, measured),
        notes=_notes(trial, timed=dataset.timed, every=every),
        preview=None if heard is None else heard.preview(trial, measured, dataset.catalogue, seed),
        **origin(dataset, config, seed, started),
    )


def origin(dataset: Dataset, config: Config, seed: int, started: float) -> dict[str, Any]:
    """Where results come from, as the fields of `Found`; `started` is when the run began, by `perf_counter`."""
    return {
        "seed": seed,
        "seconds": perf_counter() - started,
        "peak_memory": lineage.peak_memory(),
        "data": dataset.manifest.to_json(),
        "commit": lineage.commit(),
        "hardware": lineage.hardware(),
        "versions": lineage.versions(),
        "config": config.model_dump(mode="json"),
    }


def _notes(trial: Trial, *, timed: bool, every: int) -> list[str]:
    notes = [
        "popular counts the training part; every other baseline is fitted on train and validation, as the models are.",
        "MAP@100 divides by min(100, right videos); coverage is a share of the videos with at least one event.",
    ]
    if timed:
        notes.append("popular_7d counts the last seven days of train and validation.")
    if timed and trial.protocol != "frozen":
        notes.append("popular_now counts the seven days before each request.")
    if trial.protocol == "live":
        which = "every row" if every == 1 else f"every {_ordinal(every)} row"
        notes.append(f"A request is {which} of the test part, at its own time, answered from all earlier rows.")
    if trial.protocol == "leave-last-out":
        notes.append("A request is each person's last new video; nothing that they did from then on is known.")
        notes.append(
            "This protocol leaks by construction, as in the papers: models learn from what other people did after the "
            "time of a request. Its figures compare with papers and say little of production."
        )
    if not timed:
        notes.append("The data have no time stamps: the order of each user's rows is all that is known.")
    return notes


def _ordinal(n: int) -> str:
    """A number as it is said in a row: 2nd, 3rd, 5th."""
    last = "th" if 10 < n % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{last}"
