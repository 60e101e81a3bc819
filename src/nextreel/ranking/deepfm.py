"""The DeepFM ranker: a factorization machine and a deep network over shared embeddings, served by ONNX Runtime.

Every column is numeric: it is cut into bins, and each bin has a weight and a vector of its own.
Source: Guo, Tang, Ye, Li, He, DeepFM: A factorization-machine based neural network for CTR prediction, IJCAI (2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from nextreel.params import Params
from nextreel.ranking.model import Model, shares
from nextreel.ranking.rows import Loss, Rows, check
from nextreel.ranking.wide import Wide, saved_columns
from nextreel.types import FloatArray, NextreelError

MODEL_FILE = "model.onnx"
CHUNK = 4096  # rows scored at once; bounds the memory that the comparison with all edges takes


class DeepFmParams(Params):
    """Hyper-parameters of the DeepFM ranker."""

    dim: int = Field(default=8, ge=1)  # of a bin's vector
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64, 32)  # widths of the deep part; () for none
    buckets: int = Field(default=16, ge=2, le=1024)  # bins of a column, each of about equally many training rows
    dropout: float = Field(default=0.1, ge=0, lt=1)  # share of each hidden layer that a step leaves out
    epochs: int = Field(default=20, ge=1)  # at most
    patience: int = Field(default=4, ge=1)  # epochs without a better validation before it stops
    batch: int = Field(default=2048, ge=1)  # rows of a step, about: a moment is never divided where an order is learnt
    learning_rate: float = Field(default=1e-3, gt=0)  # of AdamW
    weight_decay: float = Field(default=0.01, ge=0)  # of AdamW
    seed: int = Field(default=42, ge=0)  # of the first weights, the order of the rows, and dropout
    threads: int = Field(default=-1, ge=-1)  # -1: all cores


@dataclass(frozen=True)
class Network(Wide):
    """A fitted DeepFM over some columns of the rows."""

    model: bytes = field(repr=False)  # ONNX: values (n, columns), NaN where missing → scores (n,)

    def _used(self) -> Sequence[int]:
        return range(len(self.columns))

    def _raw(self, wide: FloatArray) -> Any:
        chunks = [wide[start : start + CHUNK] for start in range(0, len(wide), CHUNK)]
        scores = [self._session.run(None, {"values": chunk})[0] for chunk in chunks]
        return np.concatenate(scores) if scores else np.empty(0, np.float32)

    def _parts(self, wide: FloatArray) -> Any:
        raise NextreelError(
            "DeepFM has no SHAP values: its scores are no sum over columns. "
            "Hint: choose one of catboost, xgboost, lightgbm to have them."
        )

    def _write(self, folder: Path) -> None:
        (folder / MODEL_FILE).write_bytes(self.model)

    @cached_property
    def _session(self) -> Any:
        """A session that runs on its caller's thread: requests are the parallelism of a server."""
        import onnxruntime  # noqa: PLC0415  only where this ranker is chosen

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])


def load(folder: Path) -> Network:
    """The network that `Network.save` wrote."""
    return Network(saved_columns(folder), (folder / MODEL_FILE).read_bytes())


def fit(train: Rows, valid: Rows, loss: Loss, params: DeepFmParams) -> Model:
    """The objective fitted on `train`, as of the epoch that is best on `valid`: by NDCG@10, or by log loss.

    The importance of a column is what shuffling it costs on `valid`. Raises `NextreelError` where `check` does, the fit
    does not converge, or PyTorch is missing.
    """
    check(train, valid, loss)
    try:
        from nextreel.ranking.deepfm_network import fitted, graph  # noqa: PLC0415  a server works without PyTorch
    except ImportError as error:
        raise NextreelError("Fitting DeepFM needs PyTorch. Hint: pip install 'nextreel[train]'.") from error
    found = fitted(train, valid, loss, params)
    name = "ndcg_at_10_of_candidates" if loss == "ranking" else "log_loss"
    metrics = {name: found.quality, "epochs": float(found.epoch)}
    scorer = Network(tuple(range(len(train.names))), graph(found.model))
    return Model(scorer, metrics, shares(train.names, found.costs))
