"""The CatBoost ranker: gradient-boosted trees fitted on replayed moments with a pairwise or listwise loss."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nextreel.features import fingerprint
from nextreel.params import Params
from nextreel.progress import Progress, silent
from nextreel.ranking.trees import Trees, from_catboost
from nextreel.types import FloatArray, Matrix, NextreelError

TREES_FILE, MODEL_FILE, ABOUT_FILE = "trees.npz", "ranker_model.cbm", "ranker.json"
SCORES_AND_RANKS = ("score_", "rank_")  # how the columns begin that every moment has anyway


class CatBoostParams(Params):
    """Hyper-parameters of the CatBoost ranker."""

    loss: Literal["YetiRank", "YetiRankPairwise", "QuerySoftMax", "QueryRMSE"] = "YetiRank"
    permutations: int = Field(default=3, ge=1)  # YetiRank: orders drawn for each gradient; fewer is faster and noisier
    iterations: int = 1000
    learning_rate: float = 0.1
    depth: int = Field(default=6, ge=1, le=16)
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

    def varying(self) -> Rows:
        """The same rows with only the features that are not the same in all of them; scores and ranks stay."""
        first = self.values[:1]
        same = ((self.values == first) | (np.isnan(self.values) & np.isnan(first))).all(axis=0)
        kept = [n for n, name in enumerate(self.names) if not same[n] or name.startswith(SCORES_AND_RANKS)]
        names = tuple(self.names[n] for n in kept)
        return replace(self, names=names, values=self.values[:, kept])

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


@dataclass(frozen=True)
class CatBoostRanker:
    """A fitted ranker with one objective, `relevance`; higher is better, comparable within one moment only.

    Scoring needs NumPy alone: the trees are arrays. The model as CatBoost knows it is kept for its own tools.
    """

    names: tuple[str, ...]
    trees: Trees
    metrics: Mapping[str, float]
    importance: Mapping[str, float]  # each feature's part of the change of the prediction, in percent, largest first
    fingerprint: str  # of the columns, as they were when it was fitted
    model: bytes = field(repr=False)  # CatBoost's own file
    objectives: tuple[str, ...] = ("relevance",)

    def score(self, matrix: Matrix) -> FloatArray:
        """(n, 1) scores. Raises `NextreelError` when the matrix has other columns than the ranker was fitted on."""
        if matrix.names != self.names:
            self.check(matrix.names)
        return self.trees.score(matrix.values)[:, None]

    def lean(self) -> CatBoostRanker:
        """The same ranker without the features that no tree reads, which need not be computed; scores and ranks stay.

        CatBoost's own model and the importance still name all columns that it was fitted on.
        """
        read = set(self.trees.column.tolist())
        kept = [n for n, name in enumerate(self.names) if n in read or name.startswith(SCORES_AND_RANKS)]
        names = tuple(self.names[n] for n in kept)
        return replace(self, names=names, trees=self.trees.over(kept), fingerprint=fingerprint(names))

    def check(self, names: tuple[str, ...]) -> None:
        """Raises `NextreelError` unless these are the columns the ranker was fitted on: names, order and meaning."""
        if names == self.names and fingerprint(names) == self.fingerprint:
            return
        missing, unknown = sorted(set(self.names) - set(names)), sorted(set(names) - set(self.names))
        wrong = f"missing {missing}, unknown {unknown}" if missing or unknown else "another order or meaning"
        raise NextreelError(
            f"Expected the {len(self.names)} feature columns of fingerprint {self.fingerprint}, got "
            f"{fingerprint(names)}: {wrong}. Hint: train a release with this version of nextreel."
        )

    def save(self, folder: Path) -> None:
        """Writes the trees, what is known of them, and CatBoost's own model into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.trees.save(folder / TREES_FILE)
        about = {
            "names": self.names,
            "fingerprint": self.fingerprint,
            "metrics": dict(self.metrics),
            "importance": dict(self.importance),
        }
        (folder / ABOUT_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        (folder / MODEL_FILE).write_bytes(self.model)

    @classmethod
    def load(cls, folder: Path) -> CatBoostRanker:
        """The ranker that `save` wrote. Raises `NextreelError` when a file is missing or wrong."""
        try:
            about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
            names, metrics, importance = tuple(about["names"]), about["metrics"], about["importance"]
            columns = str(about["fingerprint"])
            model = (folder / MODEL_FILE).read_bytes()
        except (OSError, KeyError, ValueError) as error:
            raise NextreelError(
                f"Expected a saved ranker ({ABOUT_FILE}, {TREES_FILE}, {MODEL_FILE}) in {folder}; got: {error}. "
                "Hint: train and publish the release again."
            ) from error
        return cls(names, Trees.load(folder / TREES_FILE), metrics, importance, columns, model)


def fit(train: Rows, valid: Rows, params: CatBoostParams, progress: Progress = silent) -> CatBoostRanker:
    """The ranker fitted on `train`, with as many trees as are best on `valid` by NDCG@10.

    Raises `NextreelError` when either part has no moment with a positive row, or CatBoost is missing.
    """
    for name, part in (("training", train), ("validation", valid)):
        if not len(part) or not (part.labels > 0).any():
            raise NextreelError(
                f"Expected {name} moments with at least one positive among the candidates, got none. "
                "Hint: more interactions, or a longer label horizon."
            )
    catboost = _library()
    model = catboost.CatBoost(
        {
            "loss_function": _loss(params),
            "eval_metric": "NDCG:top=10;type=Base",
            "iterations": params.iterations,
            "learning_rate": params.learning_rate,
            "depth": params.depth,
            "l2_leaf_reg": params.l2,
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
    with progress("fitting the ranker", None):
        model.fit(_pool(train), eval_set=_pool(valid))
    ndcg = model.eval_metrics(_pool(valid), ["NDCG:top=10;type=Base"], eval_period=model.tree_count_)
    metrics = {"ndcg_at_10_of_candidates": float(next(iter(ndcg.values()))[-1]), "trees": float(model.tree_count_)}
    return _served(model, train.names, metrics)


def _served(model: Any, names: tuple[str, ...], metrics: dict[str, float]) -> CatBoostRanker:
    """The fitted model as what a release holds of it."""
    with tempfile.TemporaryDirectory() as temporary:
        exported, own = Path(temporary) / "model.json", Path(temporary) / MODEL_FILE
        model.save_model(str(exported), format="json")
        model.save_model(str(own))
        trees, content = from_catboost(json.loads(exported.read_text(encoding="utf-8"))), own.read_bytes()
    changes = model.get_feature_importance(type="PredictionValuesChange").tolist()
    importance = dict(sorted(zip(names, changes, strict=True), key=lambda pair: -pair[1]))
    return CatBoostRanker(names, trees, metrics, importance, fingerprint(names), content)


def _library() -> Any:
    try:
        import catboost  # noqa: PLC0415  a server works without it
    except ImportError as error:
        raise NextreelError("Fitting the ranker needs CatBoost. Hint: pip install 'nextreel[train]'.") from error
    return catboost


def _loss(params: CatBoostParams) -> str:
    return f"{params.loss}:permutations={params.permutations}" if params.loss.startswith("Yeti") else params.loss


def _pool(rows: Rows) -> Any:
    pool = _library().Pool
    return pool(
        rows.values,
        label=rows.labels,
        group_id=rows.groups,
        group_weight=rows.weights,
        feature_names=list(rows.names),
    )
