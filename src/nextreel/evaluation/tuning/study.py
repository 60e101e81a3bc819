"""The search itself: trials that are judged seed by seed, pruned where they fall behind, and kept as they end."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nextreel.assembly import Config
from nextreel.evaluation.tuning.found import Failed, Found, Tried
from nextreel.evaluation.tuning.offered import Metric
from nextreel.evaluation.tuning.space import Choice, Dimension, Space, Value, coded
from nextreel.folders import alone, write_whole
from nextreel.progress import Progress, silent
from nextreel.types import NextreelError

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

JOURNAL_FILE, TABLE_FILE, BEST_FILE = "study.journal", "study.md", "best.toml"
Judge: TypeAlias = Callable[[Config], float]  # how good the ranker of a configuration is; more is better
_DEFAULTS, _VALUES, _REASON, _ABOUT = "defaults", "values", "reason", "about"  # what is noted beside Optuna's own
_UNPRUNED = 5  # trials that are fitted with every seed before a median of them says anything


class StudyError(NextreelError):
    """A study that cannot be gone on with."""


class _Failed(Exception):
    """A trial whose ranker could not be fitted: the others may be."""


@dataclass(frozen=True)
class Terms:
    """How trials are judged, and how many more there shall be."""

    metric: Metric = "ndcg@10"
    seeds: int = 3  # each trial is fitted with so many, unless it is pruned
    trials: int = 50
    minutes: float | None = None  # no trial begins after so long
    seed: int = 42  # of what is drawn


def require() -> Any:
    """Optuna. Raises `StudyError` where it is not installed."""
    try:
        import optuna  # noqa: PLC0415  nothing else needs it
    except ImportError as error:
        raise StudyError("Searching needs Optuna. Hint: pip install 'nextreel[tune]'.") from error
    return optuna


def seeded(config: Config, seeds: int) -> Iterator[Config]:
    """The configuration itself, then the same with other seeds of the ranker and of who is held out for its size."""
    own = getattr(config.ranker, config.ranker.family).seed
    for more in range(seeds):
        moments = config.moments.model_copy(update={"seed": config.moments.seed + more})
        yield config.model_copy(update={"moments": moments, "ranker": config.ranker.reseeded(own + more)})


def search(
    space: Space,
    config: Config,
    judge: Judge,
    folder: Path,
    version: str,
    terms: Terms = Terms(),
    progress: Progress = silent,
) -> Found:
    """What the study in the folder found, after so many more trials; the first is the configuration itself.

    `version` says what `judge` judges with. Each trial is on disk when it ends, so an interrupted study goes on with
    the next call. Its table and its best configuration are written beside it. Raises `StudyError` when the folder
    holds a study of other terms, the configuration itself cannot be judged, or Optuna is missing.
    """
    library = require()
    with alone(folder):
        study = _opened(library, space, config, folder, version, terms)
        complete = False
        try:
            with progress("Trials", terms.trials) as advance:
                study.optimize(
                    _objective(library, space, config, judge, terms.seeds),
                    n_trials=terms.trials,
                    timeout=None if terms.minutes is None else 60.0 * terms.minutes,
                    catch=(_Failed,),
                    callbacks=[lambda _study, _trial: advance(1)],
                )
            complete = True
        except KeyboardInterrupt:
            if not _default(library, study):
                raise  # there is nothing to tell yet
        if not _default(library, study):
            raise StudyError("Expected a study whose first trial was judged, got none. Hint: more trials or minutes.")
        found = _found(library, study, space, config, terms, interrupted=not complete)
        write_whole(folder / TABLE_FILE, found.to_markdown())
        write_whole(folder / BEST_FILE, found.to_toml())
        return found


def _opened(library: Any, space: Space, config: Config, folder: Path, version: str, terms: Terms) -> optuna.study.Study:
    """The study, as it was left or begun anew, with the configuration itself waiting where it was not judged yet."""
    library.logging.disable_default_handler()  # it writes over progress bars; whoever logs hears it all the same
    library.logging.enable_propagation()
    journal = library.storages.journal
    storage = journal.JournalStorage(journal.JournalFileBackend(str(folder / JOURNAL_FILE)))
    study: optuna.study.Study = library.create_study(
        study_name=space.family,
        storage=storage,
        direction="maximize",
        load_if_exists=True,
        pruner=library.pruners.MedianPruner(n_startup_trials=_UNPRUNED),
    )
    told = _about(space, config, version, terms)
    kept = study.user_attrs.get(_ABOUT)
    if kept is None:
        study.set_user_attr(_ABOUT, told)
    elif kept != told:
        differs = ", ".join(name for name in told if kept.get(name) != told[name])
        raise StudyError(
            f"Expected the study in {folder} to go on with what it was begun with, got another {differs}. "
            "Hint: name another --out, or give the same options, data and configuration."
        )
    states = library.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
        study.tell(trial.number, state=states.FAIL)  # the folder is ours alone: its process is gone
    if not _default(library, study):
        study.enqueue_trial(space.defaults(config), user_attrs={_DEFAULTS: True})
    # One seed would draw the same again in every run that goes on.
    study.sampler = library.samplers.TPESampler(seed=terms.seed + len(study.get_trials(deepcopy=False)))
    return study


def _about(space: Space, config: Config, version: str, terms: Terms) -> dict[str, Any]:
    """What must stay the same for trials to be compared."""
    family = getattr(config.ranker, space.family).model_dump(mode="json")
    del family["threads"]  # how quickly, not what
    return {
        "data, configuration or version": version,
        "ranker": {"start": config.ranker.start, "value": config.ranker.value, space.family: family},
        "space": space.to_json(),
        "metric": terms.metric,
        "number of seeds": terms.seeds,
    }


def _default(library: Any, study: optuna.study.Study) -> bool:
    """Whether the configuration itself was judged."""
    complete = study.get_trials(deepcopy=False, states=(library.trial.TrialState.COMPLETE,))
    return any(trial.user_attrs.get(_DEFAULTS) for trial in complete)


def _objective(
    library: Any, space: Space, config: Config, judge: Judge, seeds: int
) -> Callable[[optuna.trial.Trial], float]:
    """What a trial is worth: the mean over the seeds. The configuration itself is never pruned."""

    def objective(trial: optuna.trial.Trial) -> float:
        drawn = {name: _drawn(trial, name, one, space.whole(name, config)) for name, one in space.dimensions.items()}
        own = bool(trial.user_attrs.get(_DEFAULTS))
        values: list[float] = []
        for number, one in enumerate(seeded(space.config(config, drawn), seeds)):
            try:
                values.append(judge(one))
            except NextreelError as error:
                trial.set_user_attr(_REASON, " ".join(str(error).split()))
                if own:
                    raise StudyError(
                        f"Expected a configuration that can be judged, as every trial is compared with it. {error}"
                    ) from error
                raise _Failed(str(error)) from error
            trial.set_user_attr(_VALUES, values)
            trial.report(float(np.mean(values)), number)
            if number + 1 < seeds and not own and trial.should_prune():
                raise library.TrialPruned
        return float(np.mean(values))

    return objective


def _drawn(trial: optuna.trial.Trial, name: str, one: Dimension, whole: bool) -> Value:
    if isinstance(one, Choice):
        return coded(trial.suggest_categorical(name, one.coded()))
    if whole:
        return trial.suggest_int(name, int(one.low), int(one.high), log=one.log)
    return trial.suggest_float(name, one.low, one.high, log=one.log)


def _found(
    library: Any, study: optuna.study.Study, space: Space, config: Config, terms: Terms, *, interrupted: bool
) -> Found:
    states = library.trial.TrialState
    tried = [
        Tried(trial.number, tuple(trial.user_attrs[_VALUES]), trial.params, bool(trial.user_attrs.get(_DEFAULTS)))
        for trial in study.get_trials(deepcopy=False, states=(states.COMPLETE,))
    ]
    failed = [
        Failed(trial.number, trial.params, trial.user_attrs.get(_REASON, "interrupted"))
        for trial in study.get_trials(deepcopy=False, states=(states.FAIL,))
    ]
    return Found(
        space=space,
        config=config,
        metric=terms.metric,
        tried=tuple(sorted(tried, key=lambda one: (-one.mean, one.number))),
        pruned=len(study.get_trials(deepcopy=False, states=(states.PRUNED,))),
        failed=tuple(failed),
        importance=_importance(library, study),
        interrupted=interrupted,
    )


def _importance(library: Any, study: optuna.study.Study) -> dict[str, float]:
    """How much each parameter tells good trials from others, by PED-ANOVA; nothing where there are too few trials.

    A pruned trial counts with the seeds that it had: without those, what all good ones share would tell nothing.
    """
    states = library.trial.TrialState
    judged = study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
    if len(judged) < 2 * _UNPRUNED:
        return {}
    whole = library.create_study(direction="maximize")
    for trial in judged:
        value = float(np.mean(trial.user_attrs[_VALUES]))
        whole.add_trial(library.trial.create_trial(params=trial.params, distributions=trial.distributions, value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", library.exceptions.ExperimentalWarning)  # as it was before Optuna 5
        evaluator = library.importance.PedAnovaImportanceEvaluator()
        return dict(library.importance.get_param_importances(whole, evaluator=evaluator))
