"""The CatBoost ranker: gradient-boosted oblivious trees, served as arrays without CatBoost."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from nextreel.ranking.model import Model, refusals, shares
from nextreel.ranking.rows import Loss, Rows, check
from nextreel.ranking.trees import Trees, from_catboost
from nextreel.ranking.wide import BoostingParams
from nextreel.types import FloatArray, NextreelError

TREES_FILE, MODEL_FILE = "trees.npz", "ranker_model.cbm"
_NDCG = "NDCG:top=10;type=Base"


class CatBoostParams(BoostingParams):
    """Hyper-parameters of the CatBoost ranker."""

    loss: Literal["YetiRank", "YetiRankPairwise", "QuerySoftMax", "QueryRMSE"] = "YetiRank"
    permutations: int = Field(default=3, ge=1)  # YetiRank: orders drawn for each gradient; fewer is faster and noisier
    iterations: int = Field(default=1000, ge=1)
    learning_rate: float = Field(default=0.1, gt=0)
    depth: int = Field(default=6, ge=1, le=16)
    early_stopping: int = Field(default=100, ge=1)  # iterations without a better validation before it stops


@dataclass(frozen=True)
class OwnTrees:
    """The trees as arrays, which score with NumPy alone, and the model as CatBoost's own tools know it."""

    trees: Trees
    model: bytes = field(repr=False)  # CatBoost's own file, over all columns that it was fitted on

    @property
    def reads(self) -> frozenset[int]:
        """The columns that a tree asks about."""
        return frozenset(self.trees.column.tolist())

    def score(self, values: FloatArray) -> FloatArray:
        """(n,) raw scores."""
        return self.trees.score(values)

    def contributions(self, values: FloatArray) -> FloatArray:
        """(n, features + 1) SHAP values and the mean score."""
        return self.trees.contributions(values)

    def over(self, columns: Sequence[int]) -> OwnTrees:
        """The same trees over rows of these columns; CatBoost's own model stays as it is."""
        return replace(self, trees=self.trees.over(columns))

    def save(self, folder: Path) -> None:
        """Writes both into the folder."""
        self.trees.save(folder / TREES_FILE)
        (folder / MODEL_FILE).write_bytes(self.model)


def load(folder: Path) -> OwnTrees:
    """The trees that `OwnTrees.save` wrote."""
    return OwnTrees(Trees.load(folder / TREES_FILE), (folder / MODEL_FILE).read_bytes())


def fit(train: Rows, valid: Rows, loss: Loss, params: CatBoostParams) -> Model:
    """The objective fitted on `train`, with as many trees as are best on `valid`: by NDCG@10, or by log loss.

    Raises `NextreelError` where `check` does, CatBoost is missing, or it refuses them (`FitError`).
    """
    check(train, valid, loss)
    watched = _NDCG if loss == "ranking" else "CrossEntropy"
    some = {"bootstrap_type": "Bernoulli", "subsample": params.rows} if params.rows < 1 else {}
    library = _library()
    model = library.CatBoost(
        some
        | {
            "loss_function": _loss(params) if loss == "ranking" else "CrossEntropy",
            "eval_metric": watched,
            "iterations": params.most(train),
            "learning_rate": params.learning_rate,
            "depth": params.depth,
            "l2_leaf_reg": params.l2,
            "rsm": params.columns,
            "nan_mode": "Min",
            "random_seed": params.seed,
            "thread_count": params.threads,
            "od_type": "Iter",
            "od_wait": params.early_stopping,
            "use_best_model": True,
            "allow_writing_files": False,
            "verbose": False,
        }
    )
    with refusals("CatBoost", library.CatBoostError):
        model.fit(_pool(train, loss), eval_set=_pool(valid, loss))
        found = model.eval_metrics(_pool(valid, loss), [watched], eval_period=model.tree_count_)
        changes = model.get_feature_importance(type="PredictionValuesChange").tolist()
        own = _own(model)
    name = "ndcg_at_10_of_candidates" if loss == "ranking" else "log_loss"
    metrics = {name: float(next(iter(found.values()))[-1]), "trees": float(model.tree_count_)}
    return Model(own, metrics, shares(train.names, changes))


def _own(model: Any) -> OwnTrees:
    with tempfile.TemporaryDirectory() as temporary:
        exported, own = Path(temporary) / "model.json", Path(temporary) / MODEL_FILE
        model.save_model(str(exported), format="json")
        model.save_model(str(own))
        return OwnTrees(from_catboost(json.loads(exported.read_text(encoding="utf-8"))), own.read_bytes())


def _library() -> Any:
    try:
        import catboost  # noqa: PLC0415  a server works without it
    except ImportError as error:
        raise NextreelError("Fitting the ranker needs CatBoost. Hint: pip install 'nextreel[train]'.") from error
    return catboost


def _loss(params: CatBoostParams) -> str:
    return f"{params.loss}:permutations={params.permutations}" if params.loss.startswith("Yeti") else params.loss


def _pool(rows: Rows, loss: Loss) -> Any:
    pool, names = _library().Pool, list(rows.names)
    if loss == "probability":
        return pool(rows.values, label=rows.labels, weight=rows.weights, feature_names=names, baseline=rows.start)
    return pool(
        rows.values,
        label=rows.labels,
        group_id=rows.groups,
        group_weight=rows.weights,
        feature_names=names,
        baseline=rows.start,
    )
