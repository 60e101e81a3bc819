"""How much of a result is luck: the same protocol with models of several seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from nextreel.evaluation import protocols
from nextreel.evaluation.found import Found
from nextreel.evaluation.results import Results
from nextreel.evaluation.trials import EvaluationError, Protocol
from nextreel.progress import Progress, silent

if TYPE_CHECKING:
    from nextreel.assembly import Config
    from nextreel.data import Dataset

F = TypeVar("F", bound=Found)
SEEDED = (
    "two_tower",
    "als",
    "moments",
    "exposures",
)  # parts of the configuration that draw at random, beside the ranker


def evaluate_seeds(
    dataset: Dataset,
    protocol: Protocol = "frozen",
    config: Config | None = None,
    *,
    seeds: Sequence[int],
    source: str | None = None,
    every: int = 1,
    value: str | None = None,
    seed: int = protocols.SEED,
    progress: Progress = silent,
) -> Results:
    """The results with the models of the first seed, and in `seeds` what each seed gave.

    The pipeline, or the one source, is fitted once for each seed. `seed` is that of the random baseline and of the
    bootstrap, the same for all. Raises EvaluationError without a seed or with one twice, and as `evaluate` does.
    """
    from nextreel.assembly import Config  # noqa: PLC0415  imports what serves the models

    config = config or Config()
    return over(
        lambda one: protocols.evaluate(
            dataset, protocol, one, source=source, every=every, value=value, seed=seed, progress=progress
        ),
        config,
        seeds,
    )


def over(run: Callable[[Config], F], config: Config, seeds: Sequence[int]) -> F:
    """What `run` finds with the first seed in the configuration, beside it what it finds with each.

    Raises EvaluationError without a seed or with one twice.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise EvaluationError(f"Expected one seed or several different ones, got {list(seeds)}.")
    return joined({one: run(reseeded(config, one)) for one in seeds})


def reseeded(config: Config, seed: int) -> Config:
    """The same configuration with this seed in every part that draws at random."""
    parts = {name: getattr(config, name).model_copy(update={"seed": seed}) for name in SEEDED}
    return config.model_copy(update=parts | {"ranker": config.ranker.reseeded(seed)})


def joined(found: Mapping[int, F]) -> F:
    """The results of the first seed, beside them what every seed gave each model that is no baseline.

    A model that some seed did not fit is left out. The seconds are those of all seeds together. With one seed there is
    nothing to put side by side.
    """
    first = next(iter(found.values()))
    if len(found) == 1:
        return first
    each = {str(seed): one.fitted() for seed, one in found.items()}
    names = ", ".join(each)
    return replace(
        first,
        seeds={
            model: {seed: models[model] for seed, models in each.items()}
            for model in first.fitted()
            if all(model in models for models in each.values())
        },
        seconds=sum(one.seconds for one in found.values()),
        peak_memory=max(one.peak_memory for one in found.values()),
        notes=[
            *first.notes,
            f"Models were fitted with the seeds {names}; all but the means over seeds is of seed {next(iter(found))}.",
        ],
    )
