"""Config and build: the one file that names every implementation and puts a Recommender together."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field, ValidationError

from nextreel import features
from nextreel.encoding.vocabulary import Vocabulary
from nextreel.features import words
from nextreel.filters import FilterParams, chosen
from nextreel.ordering import OrderParams, Resume, orderers, promotion
from nextreel.params import Params
from nextreel.pipeline import Recommender, Source, Store, first_objective
from nextreel.ranking import families
from nextreel.ranking.families import RankerParams
from nextreel.ranking.ranker import OBJECTIVES, RELEVANCE, FittedRanker
from nextreel.ranking.value import formula, named
from nextreel.relevance import Relevance
from nextreel.retrieval import als, item_item
from nextreel.retrieval.als import AlsParams
from nextreel.retrieval.fresh import Fresh, FreshParams
from nextreel.retrieval.index import Index
from nextreel.retrieval.item_item import ItemItem, ItemItemParams
from nextreel.retrieval.multi_query import MultiQueryParams, multi_query
from nextreel.retrieval.popular import Popular
from nextreel.retrieval.similar import SimilarParams, directions, similar
from nextreel.retrieval.subscribed import Subscribed
from nextreel.retrieval.transitions import TransitionParams
from nextreel.retrieval.two_tower import retriever
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.retriever import TwoTower
from nextreel.types import Catalogue, NextreelError, Ranker, Retriever

MODELS = ("two_tower", "als", "ease", "item_item", "transitions")  # sources that are fitted


class ConfigError(NextreelError):
    """A configuration that cannot be read or does not hold together."""


class MomentParams(Params):
    """Which moments the ranker learns from."""

    share: float = Field(default=0.4, gt=0, lt=1)  # newest part of the events that is replayed for the ranker
    active: int = Field(default=7000, ge=0)  # moments just before an event of the person
    idle: int = Field(default=8000, ge=0)  # moments at any time, for people who come back within the horizon
    idle_days: float = Field(default=1.0, ge=0)  # without an event for so long, a person is idle
    # Who did something within so long is here just now, and judged by an order of their own; 0: all by one
    visit_minutes: float = Field(default=30.0, ge=0)
    snapshots: int = Field(default=16, ge=1)  # times at which idle people are looked for
    horizon_days: float = Field(default=120.0, gt=0)  # what a person plays within that time is a positive
    # Candidates are those of a list so long: the ranker should have met what it judges, and long lists are offered
    # what short ones never see.
    k: int = Field(default=40, ge=1)
    negatives: int = Field(default=40, ge=1)  # candidates kept for each moment beside the positives
    random_negatives: int = Field(default=0, ge=0)  # besides, videos that no source proposes
    # besides, videos that the person rejects within the horizon, proposed or not: disliked, hidden or skipped
    rejected_negatives: int = Field(default=10, ge=0)
    # A moment counts as often as it has positives, up to so many.
    counted: int = Field(default=8, ge=1)
    # Of a person who is here just now the next plays are the positives, so many: the first counts 1, the second 1/2 …
    next_events: int = Field(default=20, ge=1)
    holdout: float = Field(default=0.15, gt=0, lt=1)  # part of the people whose moments choose the number of trees
    seed: int = Field(default=42, ge=0)


class ExposureParams(Params):
    """Which impressions the objectives besides relevance are learnt from, and what counts as their answer."""

    visits: int = Field(default=60_000, ge=0)  # at most so many, drawn at random; 0: relevance alone is learnt
    visit_minutes: float = Field(default=30.0, gt=0)  # a silence so long ends a visit
    within_hours: float = Field(default=24.0, gt=0)  # what a person does so soon afterwards is an answer
    long_view_seconds: float = Field(default=18.0, gt=0)  # a play so long, or of the whole video, is a long view
    duration_groups: int = Field(default=30, ge=1)  # watch times are compared among videos about as long
    least: int = Field(default=100, ge=1)  # an objective with fewer positive rows is not learnt
    seed: int = Field(default=42, ge=0)


class Quotas(Params):
    """How many eligible candidates each source may propose; 0 leaves a source out. Long lists get more."""

    two_tower: int = Field(default=60, ge=0)
    als: int = Field(default=120, ge=0)
    ease: int = Field(default=20, ge=0)
    item_item: int = Field(default=20, ge=0)
    transitions: int = Field(default=20, ge=0)
    popular_all: int = Field(default=10, ge=0)  # without timestamps it has those of popular_7d and trending at least
    popular_7d: int = Field(default=0, ge=0)
    popular_1d: int = Field(default=0, ge=0)
    trending: int = Field(default=40, ge=0)
    similar: int = Field(default=0, ge=0)  # by the vectors of the towers; where these are left out, by ALS factors
    multi_query: int = Field(default=0, ge=0)  # by the same
    fresh: int = Field(default=10, ge=0)
    subscribed: int = Field(default=0, ge=0)


class Weights(Params):
    """How much each source's rank counts where all are joined into one order, in which a ranker goes on.

    0: a source proposes and is a feature, no more.
    """

    two_tower: float = Field(default=1.0, ge=0)
    als: float = Field(default=1.0, ge=0)
    ease: float = Field(default=0.75, ge=0)
    item_item: float = Field(default=1.0, ge=0)
    transitions: float = Field(default=0.0, ge=0)
    popular_all: float = Field(default=0.75, ge=0)
    popular_7d: float = Field(default=1.0, ge=0)
    popular_1d: float = Field(default=1.0, ge=0)
    trending: float = Field(default=1.0, ge=0)
    similar: float = Field(default=1.0, ge=0)
    multi_query: float = Field(default=1.0, ge=0)
    fresh: float = Field(default=2.75, ge=0)
    subscribed: float = Field(default=1.0, ge=0)


class Config(Params):
    """Everything that may be chosen for a release; every default is what the project recommends."""

    relevance: Relevance = Relevance()
    two_tower: TwoTowerParams = TwoTowerParams()
    als: AlsParams = AlsParams(factors=12, alpha=10.0, half_life_days=120.0)
    ease: ItemItemParams = ItemItemParams(l2=5000.0, max_videos=8_000)
    item_item: ItemItemParams = ItemItemParams(neighbours=200, max_history=200)
    transitions: TransitionParams = TransitionParams()
    similar: SimilarParams = SimilarParams()
    multi_query: MultiQueryParams = MultiQueryParams()
    fresh: FreshParams = FreshParams()
    quotas: Quotas = Quotas()
    weights: Weights = Weights()
    moments: MomentParams = MomentParams()
    exposures: ExposureParams = ExposureParams()
    ranker: RankerParams = RankerParams()
    vocabulary_floor: int = Field(default=5, ge=1)  # a country, device … that is rarer counts as unknown
    per_place: float = Field(default=12.0, ge=0)  # proposals of all sources for each place, where the quotas give less
    ranked: int = Field(default=400, ge=1)  # candidates that the ranker judges, or four times k if that is more
    filters: FilterParams = FilterParams()
    order: OrderParams = OrderParams()


Preset: TypeAlias = Literal["default", "research"]


def preset(name: Preset) -> Config:
    """The configuration of that name: `default`, or `research` with larger towers that take most of an hour to fit."""
    plain = Config()
    if name == "default":
        return plain
    large = {"dim": 128, "blocks": 2, "length": 200, "negatives": 700, "epochs": 14, "learning_rate": 1.5e-3}
    return plain.model_copy(update={"two_tower": plain.two_tower.model_copy(update=large)})


def load_config(path: Path | None, base: Preset = "default") -> Config:
    """The preset with what a TOML file changes. Raises `ConfigError` that names every problem of the file."""
    if path is None:
        return preset(base)
    try:
        return Config.model_validate(merged(preset(base).model_dump(), tomllib.loads(path.read_text(encoding="utf-8"))))
    except OSError as error:
        raise ConfigError(f"Expected a readable configuration file, got {path}: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"Expected TOML in {path}: {error}.") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigError(f"{path}: {problems}.") from error


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The base with the changes, table by table."""
    tables = {
        name: merged(base[name], value)
        for name, value in changes.items()
        if isinstance(value, dict) and isinstance(base.get(name), dict)
    }
    return base | changes | tables


def only(config: Config, source: str) -> Config:
    """The same configuration with one source. Raises `ConfigError` for a source there is none of."""
    quotas = config.quotas.model_dump()
    if source not in quotas:
        raise ConfigError(f"No source '{source}'. Hint: one of {', '.join(quotas)}.")
    alone = {name: max(quota, 1) if name == source else 0 for name, quota in quotas.items()}
    return config.model_copy(update={"quotas": Quotas(**alone)})


def for_lists(config: Config) -> Config:
    """The same configuration without what changes no list: objectives that the value formula does not read."""
    if named(config.ranker.value, OBJECTIVES) != {RELEVANCE}:
        return config
    return config.model_copy(update={"exposures": config.exposures.model_copy(update={"visits": 0})})


@dataclass(frozen=True)
class Models:
    """The fitted models of one release; None for a source that the configuration leaves out."""

    two_tower: TwoTower | None
    als: als.Als | None
    ease: ItemItem | None
    item_item: ItemItem | None
    transitions: ItemItem | None
    words: Mapping[str, Vocabulary]  # of what is text in profiles and requests

    def save(self, folder: Path) -> None:
        """Writes each model into a folder of its name, and the vocabularies into theirs."""
        words.save(self.words, folder)
        for name in MODELS:
            model = getattr(self, name)
            if model is not None:
                model.save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> Models:
        """The models that `save` wrote."""
        return cls(
            two_tower=retriever.load(folder / "two_tower") if (folder / "two_tower").is_dir() else None,
            als=als.load(folder / "als") if (folder / "als").is_dir() else None,
            ease=item_item.load(folder / "ease") if (folder / "ease").is_dir() else None,
            item_item=item_item.load(folder / "item_item") if (folder / "item_item").is_dir() else None,
            transitions=item_item.load(folder / "transitions") if (folder / "transitions").is_dir() else None,
            words=words.load(folder),
        )


def build(
    config: Config,
    catalogue: Catalogue,
    store: Store,
    models: Models,
    ranker: Ranker | None,
    *,
    timed: bool,
    columns: Sequence[str] | None = None,
    release: str = "",
) -> Recommender:
    """The Recommender of these models over this store, in the stages that the configuration asks for.

    `columns` are those that the ranker reads: no other feature is computed. None: every one that the data allow.
    Raises `NextreelError` for a promoted video that the catalogue does not have, and where no source proposes.
    """
    counters, quotas = store.counters, config.quotas
    if not timed:  # there is no popularity but that of all time
        quotas = quotas.model_copy(update={"popular_all": max(quotas.popular_all, quotas.popular_7d, quotas.trending)})
    # nobody can say how long ago a video was left
    resume = config.order.resume if timed else config.order.resume.model_copy(update={"places": 0})
    space = _space(config, models)
    retrievers: Mapping[str, Retriever | None] = {
        "two_tower": None if models.two_tower is None else models.two_tower.over(counters),
        "als": models.als,
        "ease": models.ease,
        "item_item": models.item_item,
        "transitions": models.transitions,
        "popular_all": Popular(counters, "all"),
        "popular_7d": Popular(counters, "7d") if timed else None,
        "popular_1d": Popular(counters, "1d") if timed else None,
        "trending": Popular(counters, "trend") if timed else None,
        "similar": None if space is None else similar(space, config.similar),
        "multi_query": None if space is None else multi_query(space, config.multi_query),
        "fresh": Fresh(catalogue, counters, config.fresh) if timed and quotas.fresh else None,
        "subscribed": Subscribed(catalogue, counters) if quotas.subscribed else None,
    }
    sources = [
        Source(retriever, getattr(quotas, name), getattr(config.weights, name))
        for name, retriever in retrievers.items()
        if retriever is not None and getattr(quotas, name) > 0
    ]
    if not sources:
        given = ", ".join(name for name, quota in config.quotas.model_dump().items() if quota)
        why = f"quotas of {given} alone, which these data cannot have" if given else "a quota of 0 for each"
        raise ConfigError(f"Expected a source that proposes videos, got {why}. Hint: give one a quota in [quotas].")
    if len(sources) > 1 and not any(source.weight for source in sources):
        names = ", ".join(source.retriever.name for source in sources)
        raise ConfigError(f"Expected a weight above 0 for at least one of the sources {names}, got 0 for each.")
    return Recommender(
        catalogue=catalogue,
        store=store,
        sources=sources,
        filters=chosen(config.filters, resume, timed=timed),
        features=features.choose(timed) if columns is None else features.among(columns, timed),
        codes=words.codes(models.words),
        ranker=ranker,
        orderers=orderers(config.order),
        promotion=promotion(config.order.promote, catalogue),
        resume=Resume(resume) if resume.places else None,
        ranked=config.ranked,
        fallback=Popular(counters, "trend" if timed else "all"),
        release=release,
        per_place=config.per_place,
        value=first_objective if ranker is None else formula(config.ranker.value, ranker.objectives),
    )


def _space(config: Config, models: Models) -> Index | None:
    """Where videos lie near those like them: the towers' index, else the directions of ALS; None where not needed.

    Raises `ConfigError` when a source needs it and there is neither.
    """
    if config.quotas.similar == config.quotas.multi_query == 0:
        return None
    if models.two_tower is not None:
        return models.two_tower.index
    if models.als is not None:
        return directions(models.als.item_factors)
    raise ConfigError(
        "Expected two_tower or als among the sources, as similar and multi_query look around their vectors; got a "
        "quota of 0 for both. Hint: give one of them a quota."
    )


def load_ranker(folder: Path) -> FittedRanker | None:
    """The ranker of a release's folder, None where the release has none."""
    return families.load(folder / "ranker") if (folder / "ranker").is_dir() else None
