"""The loop that trains the towers: steps, validation, early stopping and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextreel.progress import Progress, silent
from nextreel.retrieval.two_tower import checkpoint
from nextreel.retrieval.two_tower.batches import Batch, Sampler
from nextreel.retrieval.two_tower.inputs import (
    IntArray,
    ProfileEncoder,
    Sequences,
    VideoEncoder,
    VideoInputs,
    gaps,
)
from nextreel.retrieval.two_tower.machine import Machine
from nextreel.retrieval.two_tower.model import MASKED, Towers, Trend, softmax_loss
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.trends import Snapshots

VIDEO_CHUNK = 8192  # videos encoded at once
USER_CHUNK = 128  # histories encoded at once
BEST = 10  # length of the lists that validation judges

Watch = Callable[[Mapping[str, float]], None]  # told of every validation: epoch, seconds, loss and what was found


@dataclass(frozen=True)
class TrainingData:
    """What one fit reads."""

    videos: VideoEncoder
    people: ProfileEncoder
    inputs: VideoInputs
    histories: Sequences
    profile: IntArray  # (users, 4)
    trends: Snapshots
    held_out: NDArray[np.intp]  # users whose last positive is kept for validation
    judged: NDArray[np.intp]  # those of them whom validation asks

    @property
    def ends(self) -> IntArray:
        """Where each user's training positions end."""
        ends = self.histories.starts[1:].copy()
        ends[self.held_out] -= 1
        return ends


@dataclass
class State:
    """How far a fit has come: what a checkpoint holds beside weights and the optimizer's moments."""

    epoch: int = 0
    steps: int = 0
    seconds: float = 0.0
    best: float = -1.0
    without_gain: int = 0
    loss: float = math.nan


class Training:
    """One fit of the towers. `run` trains them in place and leaves them at their best validation."""

    def __init__(
        self,
        towers: Towers,
        data: TrainingData,
        sampler: Sampler,
        params: TwoTowerParams,
        machine: Machine,
        *,
        warm: bool,
    ) -> None:
        self.towers, self.data, self.sampler, self.params, self.machine = towers, data, sampler, params, machine
        self.epochs = params.warm_epochs if warm else params.epochs
        self.peak = params.warm_learning_rate if warm else params.learning_rate
        self.optimizer = torch.optim.AdamW(
            _groups(towers, params.weight_decay), lr=self.peak, betas=(0.9, 0.98), fused=True
        )
        self.total = max(1, self.epochs * (sampler.steps() // machine.processes))
        self.state = State()
        self.metrics: dict[str, float] = {}
        self.best_weights: dict[str, Tensor] | None = None

    def run(
        self, progress: Progress = silent, watch: Watch | None = None, kept: Path | None = None, key: str = ""
    ) -> dict[str, float]:
        """What was measured. With `kept`, goes on from the checkpoint there, where its key is the same."""
        state, params = self.state, self.params
        if kept is not None:
            checkpoint.resume(kept, key, self)
        started = time.perf_counter() - state.seconds
        with progress("Training the two towers", total=self.epochs) as advance:
            advance(state.epoch)
            while state.epoch < self.epochs and state.without_gain < params.patience:
                finished = self._epoch(started)
                advance(1)
                state.seconds = time.perf_counter() - started
                last = not finished or state.epoch == self.epochs
                if len(self.data.judged) and (last or state.epoch % params.validate_every == 0):
                    self._validated(watch, started)
                if kept is not None and self.machine.first:
                    checkpoint.save(kept, key, self)
                if not finished:
                    break
        if self.best_weights is not None:
            self.towers.load_state_dict(self.best_weights)
        return {**self.metrics, "epochs": float(state.epoch), "loss": state.loss, "seconds": state.seconds}

    def _epoch(self, started: float) -> bool:
        """Whether an epoch was trained to its end, before the time was up."""
        state, params = self.state, self.params
        total, count, finished = 0.0, 0.0, True
        for batch in self.machine.own(self.sampler.epoch()):
            spent = 0.0
            if params.max_seconds is not None:
                spent = self.machine.largest((time.perf_counter() - started) / params.max_seconds)
            if spent >= 1.0:
                finished = False
                break
            for group in self.optimizer.param_groups:
                group["lr"] = self.peak * _pace(max(state.steps / self.total, spent), params.warmup)
            value, size = self._step(batch), float(batch.scale.sum())
            total, count, state.steps = total + value * size, count + size, state.steps + 1
        state.epoch += 1
        state.loss = total / count if count else state.loss
        return finished

    def _step(self, batch: Batch) -> float:
        """The loss of one batch, after one step of the optimizer."""
        self.towers.train()
        with self.machine.precision():
            loss = batch_loss(self.towers, batch, self.data.inputs, self.params, self.machine)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.machine.average(self.towers)
        torch.nn.utils.clip_grad_norm_(self.towers.parameters(), 1.0)
        self.optimizer.step()
        return float(loss.detach())

    def _validated(self, watch: Watch | None, started: float) -> None:
        """Keeps the weights when they are the best so far."""
        state = self.state
        found = validate(self.towers, self.data, self.params, self.machine)
        state.without_gain = 0 if found["ndcg@10"] > state.best else state.without_gain + 1
        if found["ndcg@10"] > state.best:
            state.best, self.metrics = found["ndcg@10"], {**found, "best_epoch": float(state.epoch)}
            self.best_weights = {name: value.clone() for name, value in self.towers.state_dict().items()}
        state.seconds = time.perf_counter() - started
        if watch is not None:
            watch({"epoch": float(state.epoch), "seconds": state.seconds, "loss": state.loss, **found})


def batch_loss(towers: Towers, batch: Batch, inputs: VideoInputs, params: TwoTowerParams, machine: Machine) -> Tensor:
    """The mean loss of a batch's positions, each by its share."""
    tensor = machine.tensor
    vectors = video_vectors(towers, inputs.take(batch.rows), machine)
    watched = _rows(vectors, tensor(batch.inputs))
    x = towers.embed(watched, tensor(batch.weights), tensor(batch.gaps), tensor(batch.profile))
    users, weights = towers.user(x, watched)
    place = tensor(batch.place)
    users = users.flatten(0, 1)[place] / params.temperature
    positive = (users * _rows(vectors, tensor(batch.targets))).sum(-1)
    scores = torch.addmm(tensor(batch.bias), users, _rows(vectors, tensor(batch.negatives)).t())
    own = None
    if batch.explicit.shape[1]:
        own = tensor(batch.explicit_bias) + (_rows(vectors, tensor(batch.explicit)) @ users[..., None])[..., 0]
    if params.trends:
        weights = weights.flatten(0, 1)[place].float()  # small products, whole precision
        snapshot = np.repeat(np.arange(len(batch.trends)), np.diff(batch.cuts))
        positive = positive + (weights * tensor(batch.trends[snapshot, batch.targets])).sum(-1)
        trend: Tensor = Trend.apply(  # type: ignore[no-untyped-call]
            weights, tensor(batch.trends[:, batch.negatives]), batch.cuts.tolist()
        )
        scores = scores + trend
        if own is not None:
            own = own + (tensor(batch.trends[snapshot[:, None], batch.explicit]) @ weights[..., None])[..., 0]
    scores = scores.masked_fill(tensor(batch.spared), MASKED)
    losses = softmax_loss(positive.float(), [scores.float()] if own is None else [scores.float(), own.float()])
    scale = tensor(batch.scale)
    return (losses * scale).sum() / scale.sum().clamp(min=1e-6)


@torch.inference_mode()
def validate(towers: Towers, data: TrainingData, params: TwoTowerParams, machine: Machine) -> dict[str, float]:
    """NDCG@10 and hit rate@10 of each judged last positive, ranked among all videos outside the history."""
    towers.eval()
    vectors = all_vectors(towers, data.inputs, machine)
    histories, ranks, tensor = data.histories, [], machine.tensor
    for begin in range(0, len(data.judged), USER_CHUNK):
        users = data.judged[begin : begin + USER_CHUNK]
        first, end = histories.starts[users], histories.starts[users + 1] - 1
        lengths = np.minimum(end - first, params.length)
        place = np.minimum((end - lengths)[:, None] + np.arange(int(lengths.max())), end[:, None] - 1)
        at, asked = histories.at[place], histories.at[np.minimum(place + 1, end[:, None])]
        codes = gaps(at, asked, params.request_gap)
        watched = _rows(vectors, tensor(histories.rows[place].astype(np.int64)))
        x = towers.embed(watched, tensor(histories.weights[place]), tensor(codes), tensor(data.profile[users]))
        found, weights = towers.user(x, watched)
        last = torch.arange(len(users)), torch.from_numpy(lengths)  # what lies behind is padding
        scores = (found[last] @ vectors.T).cpu().numpy() / params.temperature
        if params.trends:
            known = data.trends.values[data.trends.before(histories.at[end])].astype(np.float32)
            scores += (known @ weights[last].cpu().numpy()[:, :, None])[:, :, 0]
        truth = scores[np.arange(len(users)), histories.rows[end]].copy()
        for i in range(len(users)):
            scores[i, histories.rows[first[i] : end[i]]] = -np.inf
        ranks.append((scores > truth[:, None]).sum(1))
    rank = np.concatenate(ranks)
    return {
        "ndcg@10": float(np.where(rank < BEST, 1.0 / np.log2(rank + 2.0), 0.0).mean()),
        "hr@10": float((rank < BEST).mean()),
        "validation_users": float(len(rank)),
    }


def all_vectors(towers: Towers, inputs: VideoInputs, machine: Machine) -> Tensor:
    """The vectors of the whole catalogue, without a gradient."""
    n = len(inputs.ids)
    parts = [
        video_vectors(towers, inputs.take(np.arange(start, min(start + VIDEO_CHUNK, n))), machine)
        for start in range(0, n, VIDEO_CHUNK)
    ]
    return torch.cat(parts) if parts else torch.empty(0, towers.user.start.shape[0])


def video_vectors(towers: Towers, inputs: VideoInputs, machine: Machine) -> Tensor:
    """The vectors (n, dim) of some videos."""
    tensor = machine.tensor
    vectors: Tensor = towers.video(
        tensor(inputs.ids),
        tensor(inputs.channels),
        tensor(inputs.languages),
        tensor(inputs.popularity),
        tensor(inputs.content),
    )
    return vectors


def _rows(vectors: Tensor, rows: Tensor) -> Tensor:
    """The vectors at the rows, of the shape of the rows; an embedding lookup has the quickest gradient."""
    return torch.nn.functional.embedding(rows, vectors)


def _groups(towers: Towers, decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices of layers, none for embeddings, biases and norms."""
    matrices = [p for name, p in towers.named_parameters() if p.ndim == 2 and not _is_table(towers, name)]
    chosen = {id(p) for p in matrices}
    others = [p for p in towers.parameters() if id(p) not in chosen]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _is_table(towers: Towers, name: str) -> bool:
    return isinstance(towers.get_submodule(name.rpartition(".")[0]), torch.nn.Embedding)


def _pace(done: float, warmup: float) -> float:
    """The share of the peak learning rate: up in a line, then down in a half cosine."""
    if done < warmup:
        return max(done / warmup, 0.01)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (done - warmup) / (1.0 - warmup))))
