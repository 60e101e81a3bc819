"""A world that stands still and a system fitted on it, made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from nextreel.assembly import Config, Models
    from nextreel.data import Dataset
    from nextreel.pipeline import Recommender
    from nextreel.training import Fitted
    from nextreel.types import Events

SEED = 4
VIDEOS = 200
QUICK = {
    "order": {"resume": {"places": 0}},  # lists of new videos alone: what is gone on with has tests of its own
    "als": {"factors": 8, "iterations": 3, "threads": 1},
    "ease": {"l2": 20.0},
    "moments": {"active": 120, "idle": 120, "negatives": 30, "horizon_days": 15.0},
    "ranker": {"catboost": {"iterations": 15, "depth": 3, "threads": 1}},
    "quotas": {
        "two_tower": 0,
        "als": 40,
        "ease": 40,
        "item_item": 40,
        "transitions": 20,
        "popular_all": 40,
        "trending": 30,
    },
}
# Towers that learn by heart what they see: a leak would show.
TOWERS = {
    "dim": 32,
    "blocks": 1,
    "heads": 1,
    "feed_forward": 1,
    "length": 20,
    "hidden": (32, 16),
    "id_dim": 32,
    "text_dim": 16,
    "min_count": 1,
    "request_gap": False,
    "profile": False,
    "epochs": 60,
    "warm_epochs": 60,
    "batch": 512,
    "learning_rate": 1e-2,
    "warm_learning_rate": 1e-2,
    "dropout": 0.0,
    "id_dropout": 0.0,
    "profile_dropout": 0.0,
    "temperature": 0.1,
    "negatives": 64,
    "explicit_negatives": 0,
    "validation_users": 0,
    "threads": 1,
}


@dataclass(frozen=True)
class Still:
    """A data set whose last fifth was kept from fitting, and what was fitted on the rest."""

    dataset: Dataset  # all of it
    known: int  # events that fitting was given
    fitted: Fitted
    models: list[Models]  # retrievers in the order they were fitted: for the ranker's rows, then for the release
    given: list[Events]  # what each of them was given


RecommenderOf = Callable[..., "Recommender"]


@pytest.fixture(scope="session")
def recommender_of() -> RecommenderOf:
    """Makes a recommender over a fresh store that applied the first n events of a data set, in parts of a size."""
    from nextreel.assembly import build  # noqa: PLC0415  most tests need no table library
    from nextreel.store import MemoryStore  # noqa: PLC0415

    def recommender_of(dataset: Dataset, config: Config, models: Models, n: int, part: int | None = None) -> Any:
        events = dataset.events
        profiles = dict(zip(events.user_ids.tolist(), dataset.profiles, strict=True))
        store = MemoryStore(dataset.catalogue, config.relevance, profiles)
        for start in range(0, n, part or max(n, 1)):
            store.apply_many(events.take(slice(start, min(n, start + (part or n)))))
        return build(config, dataset.catalogue, store, models, None, timed=dataset.timed)

    return recommender_of


@pytest.fixture(scope="session")
def quick_config() -> Config:
    """All sources but the towers."""
    from nextreel.assembly import Config  # noqa: PLC0415

    return Config.model_validate(QUICK)


@pytest.fixture(scope="session")
def spied() -> Callable[[Dataset, Config], tuple[Fitted, list[Models], list[Events]]]:
    """Fits, and tells also which retrievers were fitted on the way and on what."""
    module = import_module("nextreel.training.fit")  # the package has a function of this name

    def spied(dataset: Dataset, config: Config) -> tuple[Fitted, list[Models], list[Events]]:
        models: list[Models] = []
        given: list[Events] = []

        def spy(events: Events, *rest: Any, **named: Any) -> Models:
            given.append(events)
            models.append(real(events, *rest, **named))
            return models[-1]

        with pytest.MonkeyPatch.context() as patch:
            real = module.fit_models
            patch.setattr(module, "fit_models", spy)
            return module.fit(dataset, config), models, given

    return spied


@pytest.fixture(scope="session")
def quick(tiny_dataset: Dataset, quick_config: Config) -> Fitted:
    """A system without towers, fitted in a second."""
    from nextreel.training import fit  # noqa: PLC0415

    return fit(tiny_dataset, quick_config)


@pytest.fixture(scope="session")
def still(spied: Callable[[Dataset, Config], tuple[Fitted, list[Models], list[Events]]]) -> Still:
    """People of known tastes who watch in a random order, so that no video ages: only a leak tells parts apart."""
    from nextreel.assembly import Config  # noqa: PLC0415
    from nextreel.data import World  # noqa: PLC0415
    from nextreel.types import Kind  # noqa: PLC0415

    dataset = World.make(300, VIDEOS, 16_000, seed=SEED).dataset()
    events = dataset.events.take(np.flatnonzero(dataset.events.kind == Kind.WATCH))
    mixed = events.take(np.random.default_rng(SEED).permutation(len(events)))
    dataset = replace(dataset, events=replace(mixed, at=events.at))
    quotas = {"two_tower": VIDEOS, "als": 0, "ease": 40, "item_item": 0}  # the towers propose everything
    config = Config.model_validate(
        QUICK
        | {
            "two_tower": TOWERS,
            "quotas": quotas,
            "moments": {"active": 250, "idle": 250, "negatives": 60, "horizon_days": 10.0},
        }
    )
    known = int(len(dataset.events) * 0.8)
    return Still(dataset, known, *spied(dataset.until(known), config))
