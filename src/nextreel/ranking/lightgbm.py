"""The LightGBM ranker: gradient-boosted trees grown leaf by leaf, served by LightGBM itself."""

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

MODEL_FILE = "model.txt"


class LightGbmParams(BoostingParams):
    """Hyper-parameters of the LightGBM ranker."""

    leaves: int = Field(default=31, ge=2)
    least: int = Field(default=20, ge=1)  # rows that a leaf must hold


@dataclass(frozen=True)
class Booster(Wide):
    """A LightGBM model over some columns of the rows."""

    model: str = field(repr=False)  # LightGBM's own text

    def _used(self) -> Sequence[int]:
        used: list[int] = np.flatnonzero(self._booster.feature_importance("split")).tolist()
        return used

    def _raw(self, wide: FloatArray) -> Any:
        return self._booster.predict(wide, raw_score=True, num_threads=1)

    def _parts(self, wide: FloatArray) -> Any:
        return self._booster.predict(wide, pred_contrib=True, num_threads=1)

    def _write(self, folder: Path) -> None:
        (folder / MODEL_FILE).write_text(self.model, encoding="utf-8")

    @cached_property
    def _booster(self) -> Any:
        return _library().Booster(model_str=self.model)


def load(folder: Path) -> Booster:
    """The model that `Booster.save` wrote."""
    return Booster(saved_columns(folder), (folder / MODEL_FILE).read_text(encoding="utf-8"))


def fit(train: Rows, valid: Rows, loss: Loss, params: LightGbmParams) -> Model:
    """The objective fitted on `train`, with as many trees as are best on `valid`: an order by NDCG@10, else log loss.

    Raises `NextreelError` where `check` does, LightGBM is missing, or it refuses them (`FitError`).
    """
    check(train, valid, loss)
    library, grades = _library(), np.unique(np.concatenate([train.labels, valid.labels]))
    given: dict[str, Any] = {
        "learning_rate": params.learning_rate,
        "num_leaves": params.leaves,
        "min_data_in_leaf": params.least,
        "lambda_l2": params.l2,
        "feature_fraction": params.columns,
        "bagging_fraction": params.rows,
        "bagging_freq": 1 if params.rows < 1 else 0,
        "seed": params.seed,
        "deterministic": True,
        "num_threads": max(params.threads, 0),
        "verbose": -1,
    }
    if loss == "ranking":  # grades are whole numbers there: each is the place of its own gain
        given |= {"objective": "lambdarank", "metric": "ndcg", "eval_at": 10, "label_gain": grades.tolist()}
    else:
        given |= {"objective": "cross_entropy", "metric": "cross_entropy"}

    def dataset(rows: Rows, reference: Any = None) -> Any:
        labels = np.searchsorted(grades, rows.labels) if loss == "ranking" else rows.labels
        group = rows.sizes() if loss == "ranking" else None
        return library.Dataset(
            rows.values,
            labels,
            weight=rows.weights,
            group=group,
            init_score=rows.start,
            feature_name=list(rows.names),
            reference=reference,
        )

    told: dict[str, dict[str, list[float]]] = {}
    learnt = dataset(train)
    with refusals("LightGBM", library.basic.LightGBMError):
        booster = library.train(
            given,
            learnt,
            params.most(train),
            valid_sets=[dataset(valid, learnt)],
            valid_names=["valid"],
            callbacks=[library.early_stopping(params.early_stopping, verbose=False), library.record_evaluation(told)],
        )
    best = booster.best_iteration or params.most(train)
    curve = next(iter(told["valid"].values()))
    name = "ndcg_at_10_of_candidates" if loss == "ranking" else "log_loss"
    metrics = {name: float(curve[best - 1]), "trees": float(best)}
    gains = booster.feature_importance("gain", iteration=best).tolist()
    scorer = Booster(tuple(range(len(train.names))), booster.model_to_string(num_iteration=best))
    return Model(scorer, metrics, shares(train.names, gains))


def _library() -> Any:
    try:
        import lightgbm  # noqa: PLC0415  only where this ranker is chosen
    except ImportError as error:
        raise NextreelError("This ranker needs LightGBM. Hint: pip install 'nextreel[lightgbm]'.") from error
    return lightgbm
