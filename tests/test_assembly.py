"""What a configuration puts together."""

from __future__ import annotations

import pytest

from nextreel.assembly import Config, ConfigError, Models, Quotas, Weights, build, merged, only
from nextreel.data import Dataset
from nextreel.evaluation.protocols import new_store
from nextreel.retrieval.als import Als
from nextreel.store import MemoryStore
from nextreel.store.memory import relevance_of
from nextreel.training.fit import fit, fit_models
from nextreel.types import NextreelError, Request

NEW = ("similar", "multi_query", "fresh", "subscribed")


@pytest.fixture(scope="module")
def models(tiny_dataset: Dataset, tiny_config: Config) -> Models:
    """ALS alone, fitted because `similar` looks around its factors."""
    graded = relevance_of(tiny_dataset.events, tiny_dataset.catalogue, tiny_config.relevance)
    config = only(tiny_config, "similar")
    return fit_models(tiny_dataset.events, graded, tiny_dataset.catalogue, config, tiny_dataset.profiles)


@pytest.fixture(scope="module")
def store(tiny_dataset: Dataset, tiny_config: Config) -> MemoryStore:
    store = new_store(tiny_dataset, tiny_config)
    store.apply_many(tiny_dataset.events)
    return store


def with_quotas(config: Config, **quotas: int) -> Config:
    none = dict.fromkeys(Quotas.model_fields, 0)
    return config.model_copy(update={"quotas": Quotas(**(none | quotas))})


@pytest.mark.parametrize("source", NEW)
def test_each_source_alone_answers_with_new_videos(
    source: str, tiny_dataset: Dataset, tiny_config: Config, models: Models, store: MemoryStore
) -> None:
    recommender = build(only(tiny_config, source), tiny_dataset.catalogue, store, models, None, timed=True)
    assert [one.retriever.name for one in recommender.sources] == [source]
    for user_id in tiny_dataset.events.user_ids[:5]:
        slate = recommender.recommend(Request(user_id, float(tiny_dataset.events.at[-1]) + 1.0, 5))
        assert not slate.trace.failures
        assert len(set(slate.rows.tolist())) == 5
        assert not set(slate.rows.tolist()) & set(store.user(user_id).history.rows.tolist())


def test_factors_that_are_no_source_are_fitted_for_those_that_look_around_them(models: Models) -> None:
    assert isinstance(models.als, Als)
    assert models.two_tower is None
    assert models.ease is None


def test_looking_around_needs_towers_or_factors(tiny_dataset: Dataset, tiny_config: Config, store: MemoryStore) -> None:
    nothing = Models(two_tower=None, als=None, ease=None, item_item=None, transitions=None, words={})
    config = with_quotas(tiny_config, similar=5, trending=5)
    with pytest.raises(ConfigError, match="Expected two_tower or als among the sources"):
        build(config, tiny_dataset.catalogue, store, nothing, None, timed=True)


def test_without_time_nothing_is_fresh(
    tiny_dataset: Dataset, tiny_config: Config, models: Models, store: MemoryStore
) -> None:
    config = with_quotas(tiny_config, fresh=5, popular_all=5)
    recommender = build(config, tiny_dataset.catalogue, store, models, None, timed=False)
    assert [one.retriever.name for one in recommender.sources] == ["popular_all"]


@pytest.mark.parametrize("timed", [True, False])
def test_factors_forget_only_where_there_is_time(timed: bool, tiny_dataset: Dataset, tiny_config: Config) -> None:
    params = tiny_config.als.model_copy(update={"half_life_days": 30.0})
    config = with_quotas(tiny_config.model_copy(update={"als": params}), als=5)
    graded = relevance_of(tiny_dataset.events, tiny_dataset.catalogue, config.relevance)
    fitted = fit_models(tiny_dataset.events, graded, tiny_dataset.catalogue, config, tiny_dataset.profiles, timed=timed)
    assert fitted.als is not None
    assert fitted.als.params.half_life_days == (30.0 if timed else None)


def test_promoted_videos_are_those_of_the_catalogue(
    tiny_dataset: Dataset, tiny_config: Config, models: Models, store: MemoryStore
) -> None:
    catalogue = tiny_dataset.catalogue
    video = catalogue.video_ids[3]
    config = with_quotas(tiny_config, trending=5)

    def promoting(*videos: object) -> Config:
        order = {"promote": {"videos": videos, "places": [1]}}
        return Config.model_validate(merged(config.model_dump(), {"order": order}))

    built = build(promoting(video), catalogue, store, models, None, timed=True)
    slate = built.recommend(Request("somebody new", float(tiny_dataset.events.at[-1]) + 1.0, 3))
    assert slate.promoted.tolist() == [False, True, False]
    assert slate.video_ids[1] == video
    with pytest.raises(NextreelError, match="never-seen"):
        build(promoting(video, "never-seen"), catalogue, store, models, None, timed=True)


def test_sources_of_no_weight_at_all_have_no_order(
    models: Models, tiny_dataset: Dataset, tiny_config: Config, store: MemoryStore
) -> None:
    silent = Weights(**dict.fromkeys(Weights.model_fields, 0.0))
    config = tiny_config.model_copy(update={"weights": silent})
    with pytest.raises(ConfigError, match="weight above 0"):
        build(config, tiny_dataset.catalogue, store, models, None, timed=True)
    alone = only(config, "als")
    build(alone, tiny_dataset.catalogue, store, models, None, timed=True)  # has its scores


def test_where_no_source_proposes_there_is_no_recommender(
    models: Models, tiny_dataset: Dataset, tiny_config: Config, store: MemoryStore
) -> None:
    catalogue = tiny_dataset.catalogue
    with pytest.raises(ConfigError, match=r"got a quota of 0 for each. Hint: give one a quota in \[quotas\]"):
        build(with_quotas(tiny_config), catalogue, store, models, None, timed=True)
    with pytest.raises(ConfigError, match="got quotas of fresh alone, which these data cannot have"):
        build(with_quotas(tiny_config, fresh=5), catalogue, store, models, None, timed=False)
    with pytest.raises(ConfigError, match="a quota of 0 for each"):
        fit(tiny_dataset, with_quotas(tiny_config))
