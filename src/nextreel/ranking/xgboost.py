"""The XGBoost ranker: gradient-boosted trees grown by depth, served by XGBoost itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from nextreel.ranking.model import Model, refusals, shares
from nextreel.ranking.rows import Loss, Rows, check
from nextreel.ranking.wide import BoostingParams, Wide, saved_columns
from nextreel.types import FloatArray, NextreelError

MODEL_FILE = "model.ubj"


class XgBoostParams(BoostingParams):
    """Hyper-parameters of the XGBoost ranker."""

    learning_rate: float = Field(default=0.08, gt=0)
    depth: int = Field(default=5, ge=1)
    least: float = Field(default=5.0, ge=0)  # hessian that a leaf must hold


@dataclass(frozen=True)
class Booster(Wide):
    """An XGBoost model over some columns of the rows."""

    model: bytes = field(repr=False)  # XGBoost's own binary JSON

    def _used(self) -> Sequence[int]:
        return [int(name[1:]) for name in self._booster.get_score(importance_type="weight")]

    def _raw(self, wide: FloatArray) -> Any:
        return self._booster.inplace_predict(wide, predict_type="margin")

    def _parts(self, wide: FloatArray) -> Any:
        return self._booster.predict(_library().DMatrix(wide, nthread=1), pred_contribs=True)

    def _write(self, folder: Path) -> None:
        (folder / MODEL_FILE).write_bytes(self.model)

    @cached_property
    def _booster(self) -> Any:
        booster = _library().Booster({"nthread": 1})
        booster.load_model(bytearray(self.model))
        return booster


def load(folder: Path) -> Booster:
    """The model that `Booster.save` wrote."""
    return Booster(saved_columns(folder), (folder / MODEL_FILE).read_bytes())


def fit(train: Rows, valid: Rows, loss: Loss, params: XgBoostParams) -> Model:
    """The objective fitted on `train`, with as many trees as are best on `valid`: an order by NDCG@10, else log loss.

    Raises `NextreelError` where `check` does, XGBoost is missing, or it refuses them (`FitError`).
    """
    check(train, valid, loss)
    library = _library()
    watched = "ndcg@10" if loss == "ranking" else "logloss"
    given: dict[str, Any] = {
        "learning_rate": params.learning_rate,
        "max_depth": params.depth,
        "min_child_weight": params.least,
        "lambda": params.l2,
        "colsample_bytree": params.columns,
        "subsample": params.rows,
        "tree_method": "hist",
        "seed": params.seed,
        "nthread": max(params.threads, 0),
        "eval_metric": watched,
        "disable_default_eval_metric": True,
    }
    if loss == "ranking":  # grades as they are: 2^grade − 1 would need whole ones
        given |= {"objective": "rank:ndcg", "ndcg_exp_gain": False}
    else:
        given |= {"objective": "binary:logistic"}

    def matrix(rows: Rows) -> Any:
        if loss == "probability":
            return library.DMatrix(rows.values, rows.labels, weight=rows.weights, base_margin=rows.start)
        first = np.cumsum(rows.sizes()) - rows.sizes()
        groups = np.repeat(np.arange(len(first)), rows.sizes())
        weights = rows.weights[first]
        return library.DMatrix(rows.values, rows.labels, weight=weights, base_margin=rows.start, qid=groups)

    told: dict[str, dict[str, list[float]]] = {}
    with refusals("XGBoost", library.core.XGBoostError):
        booster = library.train(
            given,
            matrix(train),
            params.most(train),
            evals=[(matrix(valid), "valid")],
            early_stopping_rounds=params.early_stopping,
            evals_result=told,
            verbose_eval=False,
        )
    best = booster.best_iteration + 1
    booster = booster[:best]
    name = "ndcg_at_10_of_candidates" if loss == "ranking" else "log_loss"
    metrics = {name: float(told["valid"][watched][best - 1]), "trees": float(best)}
    gains = booster.get_score(importance_type="total_gain")
    weights = [gains.get(f"f{column}", 0.0) for column in range(len(train.names))]
    scorer = Booster(tuple(range(len(train.names))), bytes(booster.save_raw("ubj")))
    return Model(scorer, metrics, shares(train.names, weights))


def _library() -> Any:
    try:
        import xgboost  # noqa: PLC0415  only where this ranker is chosen
    except ImportError as error:
        raise NextreelError("This ranker needs XGBoost. Hint: pip install 'nextreel[xgboost]'.") from error
    return xgboost
