"""The rankers to choose from, each by the name of its module: parameters, fitting and loading."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from pydantic import Field, field_validator

from nextreel.features import fingerprint
from nextreel.params import Params
from nextreel.ranking import calibration, catboost, deepfm, lightgbm, ranker, start, switched, xgboost
from nextreel.ranking.catboost import CatBoostParams
from nextreel.ranking.deepfm import DeepFmParams
from nextreel.ranking.lightgbm import LightGbmParams
from nextreel.ranking.model import Model, Scorer
from nextreel.ranking.ranker import OBJECTIVES, RELEVANCE, FittedRanker, Head
from nextreel.ranking.rows import Rows
from nextreel.ranking.start import Started, standard
from nextreel.ranking.switched import AWAY, Switched, split
from nextreel.ranking.value import FormulaError, named
from nextreel.ranking.xgboost import XgBoostParams
from nextreel.types import NextreelError

LEAST = 50  # positive rows that either of two orders must learn from, and be judged by

Family: TypeAlias = Literal["catboost", "lightgbm", "xgboost", "deepfm"]

_FITS: Mapping[str, Any] = {
    "catboost": catboost.fit,
    "lightgbm": lightgbm.fit,
    "xgboost": xgboost.fit,
    "deepfm": deepfm.fit,
}
_LOADS: Mapping[str, Callable[[Path], Scorer]] = {
    "catboost": catboost.load,
    "lightgbm": lightgbm.load,
    "xgboost": xgboost.load,
    "deepfm": deepfm.load,
}


class RankerParams(Params):
    """Which ranker a release has, how each family is fitted, and what the list is ordered by."""

    family: Family = "catboost"
    # An order is learnt on from the fused order of the sources; how much one standard deviation of that counts.
    start: float = Field(default=1.0, ge=0)
    value: str = RELEVANCE  # formula over the objectives, such as "relevance + 2 * like": no new fit is needed for it
    catboost: CatBoostParams = CatBoostParams(
        iterations=300,
        order_iterations=20,
        learning_rate=0.07,
        depth=5,
        l2=2.5,
        columns=0.7,
        rows=0.57,
        permutations=2,
    )
    lightgbm: LightGbmParams = LightGbmParams(order_iterations=20, leaves=15, least=50, columns=0.5, rows=0.7)
    xgboost: XgBoostParams = XgBoostParams(order_iterations=20, depth=4, columns=0.5, rows=0.7)
    deepfm: DeepFmParams = DeepFmParams()

    @field_validator("value")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        try:
            named(value, OBJECTIVES)
        except FormulaError as error:
            raise ValueError(str(error)) from error
        return value

    def reseeded(self, seed: int) -> RankerParams:
        """The same with this seed in every family."""
        families = {name: getattr(self, name).model_copy(update={"seed": seed}) for name in _FITS}
        return self.model_copy(update=families)


def fit(
    train: Mapping[str, Rows],
    valid: Mapping[str, Rows],
    params: RankerParams,
    near_days: float = 0.0,
    weights: Mapping[str, float] = MappingProxyType({}),
) -> FittedRanker:
    """The ranker of the chosen family with one head for each objective, all over the same columns.

    `relevance` is learnt as an order; where `near_days` is above 0, who was here so lately has one of their own. The
    others' goes on from the order that the sources give with these `weights` (of 1 where none is named). Every
    other objective is learnt as a probability and calibrated on `valid`, which also chooses how long each is fitted.
    Raises `NextreelError` where an objective has no positive row in either part,
    or the columns of the objectives are not the same.
    """
    names = {rows.names for rows in train.values()} | {rows.names for rows in valid.values()}
    if len(names) != 1 or list(train) != list(valid):
        raise NextreelError(
            f"Expected rows of the same columns for the same objectives, got {len(names)} sets of columns for "
            f"{', '.join(train)} to train on and {', '.join(valid)} to validate."
        )
    one = getattr(params, params.family)
    heads = []
    for objective, rows in train.items():
        held = valid[objective]
        if objective == RELEVANCE:
            heads.append(Head(objective, _ordering(rows, held, params, near_days, weights)))
        else:
            model = _FITS[params.family](rows, held, "probability", one)
            heads.append(Head(objective, model, calibration.fit(model.scorer.score(held.values), held.labels)))
    columns = names.pop()
    return FittedRanker(params.family, columns, tuple(heads), fingerprint(columns))


def _ordering(train: Rows, valid: Rows, params: RankerParams, near_days: float, weights: Mapping[str, float]) -> Model:
    """The model of an order: one for who was here within `near_days`, one for all others, where both are told enough.

    Who comes back after a while is offered what they may play within weeks: the fused order of the sources knows much
    of that, and boosting goes on from there. Who is here now plays next what goes with what they just played: that is
    learnt from nothing.
    """
    if near_days == 0 or AWAY not in train.names:
        return _from_fused(train, valid, params, weights)
    column, limit = train.names.index(AWAY), math.log1p(near_days)
    (near, far), (near_valid, far_valid) = split(train, column, limit), split(valid, column, limit)
    if any((part.labels > 0).sum() < LEAST for part in (near, far, near_valid, far_valid)):
        return _from_fused(train, valid, params, weights)
    lately: Model = _FITS[params.family](near, near_valid, "ranking", getattr(params, params.family))
    back = _from_fused(far, far_valid, params, weights)
    shares_of_both = {name: (back.importance[name] + lately.importance[name]) / 2 for name in train.names}
    return Model(
        Switched(lately.scorer, back.scorer, column, limit),
        {**back.metrics, **{f"near_{name}": value for name, value in lately.metrics.items()}},
        dict(sorted(shares_of_both.items(), key=lambda pair: -pair[1])),
    )


def _from_fused(train: Rows, valid: Rows, params: RankerParams, weights: Mapping[str, float]) -> Model:
    """The model that goes on from the fused order of the sources, where there is one."""
    begins, one = standard(train, params.start, weights), getattr(params, params.family)
    if begins is None:
        plain: Model = _FITS[params.family](train, valid, "ranking", one)
        return plain
    model: Model = _FITS[params.family](begins.of(train), begins.of(valid), "ranking", one)
    return replace(model, scorer=Started(model.scorer, begins.columns, begins.weights))


def load(folder: Path) -> FittedRanker:
    """The ranker that `FittedRanker.save` wrote into the folder."""
    return ranker.load(folder, {name: partial(_loaded, read) for name, read in _LOADS.items()})


def _loaded(read: Callable[[Path], Scorer], folder: Path) -> Scorer:
    return switched.load(folder, lambda part: start.load(part, read(part)))
