"""The CatBoost ranker: gradient-boosted trees fitted on replayed moments with a pairwise or listwise loss."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import catboost
import numpy as np
from numpy.typing import NDArray

from nextreel.features import fingerprint
from nextreel.params import Params
from nextreel.progress import Progress, silent
from nextreel.types import FloatArray, Matrix, NextreelError


class CatBoostParams(Params):
    """Hyper-parameters of the CatBoost ranker."""

    loss: Literal["YetiRank", "YetiRankPairwise", "QuerySoftMax", "QueryRMSE"] = "YetiRank"
    permutations: int = 3  # YetiRank: orders drawn for each gradient; fewer is faster and noisier
    iterations: int = 1000
    learning_rate: float = 0.1
    depth: int = 6
    l2: float = 3.0
    early_stopping: int = 100  # iterations without a better validation NDCG before it stops
    seed: int = 42
    threads: int = -1  # -1: all cores


@dataclass(frozen=True)
class Rows:
    """Judged candidates of many moments: what a ranker learns from."""

    names: tuple[str, ...]
    values: FloatArray  # (n, features)
    labels: FloatArray  # (n,) graded relevance
    groups: NDArray[np.int64]  # (n,) number of the moment; the rows of a moment stand together
    weights: FloatArray  # (n,) weight of the moment, the same for all its rows
    at: NDArray[np.float64]  # (n,) time of the moment
    users: NDArray[np.int32]  # (n,) code of the person

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, mask: NDArray[np.bool_]) -> Rows:
        """The chosen rows in their order."""
        return Rows(
            self.names,
            self.values[mask],
            self.labels[mask],
            self.groups[mask],
            self.weights[mask],
            self.at[mask],
            self.users[mask],
        )


class CatBoostRanker:
    """A fitted ranker with one objective, `relevance`; higher is better, comparable within one moment only."""

    objectives = ("relevance",)

    def __init__(self, model: catboost.CatBoost, names: tuple[str, ...], metrics: dict[str, float]) -> None:
        self.names = names
        self.metrics = metrics
        self._model = model
        self._fingerprint = fingerprint(names)

    def score(self, matrix: Matrix) -> FloatArray:
        """(n, 1) scores. Raises `NextreelError` when the matrix has other columns than the ranker was fitted on."""
        if matrix.names != self.names:
            missing = sorted(set(self.names) - set(matrix.names))
            unknown = sorted(set(matrix.names) - set(self.names))
            wrong = (
                f"missing {missing}, unknown {unknown}" if missing or unknown else "the same columns in another order"
            )
            raise NextreelError(
                f"Expected the {len(self.names)} feature columns of fingerprint {self._fingerprint}, got "
                f"{fingerprint(matrix.names)}: {wrong}. "
                "Hint: train a release with this version of nextreel."
            )
        # FeaturesData hands the array over as it is: half the time of a plain array, which is copied value by value
        numbers = catboost.FeaturesData(num_feature_data=np.ascontiguousarray(matrix.values))
        scores = self._model.predict(numbers, thread_count=1)
        return np.asarray(scores, np.float32).reshape(-1, 1)

    def importance(self) -> dict[str, float]:
        """Each feature's part of the loss change or prediction change, in percent, largest first."""
        values = self._model.get_feature_importance(type="PredictionValuesChange")
        ordered = sorted(zip(self.names, values, strict=True), key=lambda pair: -pair[1])
        return {name: float(value) for name, value in ordered}

    def save(self, folder: Path) -> None:
        """Writes ranker_model.cbm; the column names and metrics live in the model's metadata."""
        folder.mkdir(parents=True, exist_ok=True)
        metadata = self._model.get_metadata()
        metadata["nextreel_columns"] = "\n".join(self.names)
        self._model.save_model(str(folder / "ranker_model.cbm"))

    @classmethod
    def load(cls, folder: Path) -> CatBoostRanker:
        """The ranker that `save` wrote."""
        model = catboost.CatBoost()
        model.load_model(str(folder / "ranker_model.cbm"))
        return cls(model, tuple(model.get_metadata()["nextreel_columns"].split("\n")), {})


def fit(train: Rows, valid: Rows, params: CatBoostParams, progress: Progress = silent) -> CatBoostRanker:
    """The ranker fitted on `train`, with as many trees as are best on `valid` by NDCG@10.

    Raises `NextreelError` when either part has no moment with both a positive and a negative row.
    """
    for name, part in (("training", train), ("validation", valid)):
        if not len(part) or not (part.labels > 0).any():
            raise NextreelError(
                f"Expected {name} moments with at least one positive among the candidates, got none. "
                "Hint: more interactions, or a longer label horizon."
            )
    model = catboost.CatBoost(
        {
            "loss_function": _loss(params),
            "eval_metric": "NDCG:top=10;type=Base",
            "iterations": params.iterations,
            "learning_rate": params.learning_rate,
            "depth": params.depth,
            "l2_leaf_reg": params.l2,
            "random_seed": params.seed,
            "thread_count": params.threads,
            "od_type": "Iter",
            "od_wait": params.early_stopping,
            "use_best_model": True,
            "allow_writing_files": False,
            "verbose": False,
        }
    )
    with progress("fitting the ranker", None):
        model.fit(_pool(train), eval_set=_pool(valid))
    ndcg = model.eval_metrics(_pool(valid), ["NDCG:top=10;type=Base"], eval_period=model.tree_count_)
    metrics = {"ndcg_at_10_of_candidates": float(next(iter(ndcg.values()))[-1]), "trees": float(model.tree_count_)}
    return CatBoostRanker(model, train.names, metrics)


def _loss(params: CatBoostParams) -> str:
    return f"{params.loss}:permutations={params.permutations}" if params.loss.startswith("Yeti") else params.loss


def _pool(rows: Rows) -> catboost.Pool:
    return catboost.Pool(
        rows.values,
        label=rows.labels,
        group_id=rows.groups,
        group_weight=rows.weights,
        feature_names=list(rows.names),
    )
