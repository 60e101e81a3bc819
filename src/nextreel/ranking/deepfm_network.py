"""DeepFM in PyTorch: the network, the loop that trains it, and its ONNX graph. Only `deepfm.fit` imports this."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from nextreel.ranking.deepfm import DeepFmParams
from nextreel.ranking.rows import Loss, Rows
from nextreel.types import FloatArray, NextreelError

OPSET = 17
CHUNK = 8192  # rows encoded or scored at once
FURTHEST = 5.0  # standard deviations from the mean that the deep part can tell apart
SPREAD = 0.02  # standard deviation of the first vectors
TOP = 10  # of NDCG
SHUFFLED = 20_000  # rows, about, that importance is measured on


@dataclass(frozen=True)
class Fitted:
    """A network as of its best epoch."""

    model: DeepFm
    quality: float  # NDCG@10 or log loss on validation
    epoch: int  # the best, from 1
    costs: list[float]  # (columns,) what shuffling each column adds to the loss, 0 and more


class Dropout(nn.Module):
    """Leaves out a share of the values while training; draws from its own generator, not from PyTorch's global one."""

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share, self.generator = share, generator

    def forward(self, values: Tensor) -> Tensor:
        """(n, width) the values that are kept, scaled up so that their sum is expected to be the same."""
        if not self.training or self.share == 0:
            return values
        kept = torch.rand(values.shape, generator=self.generator) >= self.share
        return values * kept / (1 - self.share)


class DeepFm(nn.Module):
    """Scores of rows of numeric columns: first order + second order + deep part."""

    edges: Tensor  # (columns, buckets - 1) upper edges of the bins, ascending; infinite where a column has fewer bins
    mean: Tensor  # (columns,)
    scale: Tensor  # (columns,)
    first: Tensor  # (columns,) where the bins of each column begin in the table

    def __init__(self, values: FloatArray, params: DeepFmParams, generator: torch.Generator) -> None:
        """A network whose bins and scales are those of the training rows (n, columns)."""
        super().__init__()
        columns, bins = values.shape[1], params.buckets + 1  # the last bin is that of missing values
        self.register_buffer("edges", torch.from_numpy(edges_of(values, params.buckets)))
        mean, scale = moments_of(values)
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.register_buffer("first", torch.arange(columns) * bins)
        self.missing = params.buckets
        self.bias = nn.Parameter(torch.zeros(1))
        table = torch.empty(columns * bins, params.dim + 1).normal_(0, SPREAD, generator=generator)
        table[:, 0] = 0
        self.table = nn.Embedding(len(table), params.dim + 1, _weight=table)  # each bin's weight, then its vector
        self.deep = _deep(columns * (params.dim + 1), params, generator)

    def encode(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(n, columns) place of each value's bin in the table, and the values standardised, 0 where missing."""
        missing = torch.isnan(values)
        above = (values.unsqueeze(-1) > self.edges).to(torch.float32)  # (n, columns, buckets - 1)
        bins = above.sum(-1).to(torch.int64)
        places = self.first + torch.where(missing, torch.full_like(bins, self.missing), bins)
        numerics = (torch.where(missing, self.mean, values) - self.mean) / self.scale
        return places, numerics.clamp(-FURTHEST, FURTHEST)

    def logits(self, places: Tensor, numerics: Tensor) -> Tensor:
        """(n,) scores of encoded rows."""
        found = self.table(places)  # (n, columns, 1 + dim): one table, as a look-up is most of the cost of a step
        weights, vectors = found[:, :, 0], found[:, :, 1:]
        score: Tensor = self.bias + weights.sum(1)
        score = score + 0.5 * (vectors.sum(1).square() - vectors.square().sum(1)).sum(1)
        if len(self.deep) > 0:
            score = score + self.deep(torch.cat([vectors.flatten(1), numerics], 1)).squeeze(1)
        return score

    def forward(self, values: Tensor) -> Tensor:
        """(n,) scores of rows (n, columns) with NaN where a value is missing."""
        return self.logits(*self.encode(values))

    @torch.no_grad()
    def forget_unseen(self, places: Tensor) -> None:
        """Makes bins that no training row is in say nothing: nothing would ever move their first vectors."""
        unseen = torch.ones(len(self.table.weight), dtype=torch.bool)
        unseen[places.flatten().long()] = False
        self.table.weight[unseen] = 0


def _deep(width: int, params: DeepFmParams, generator: torch.Generator) -> nn.Sequential:
    """The layers of the deep part, the last of one output; none where none are asked for."""
    layers: list[nn.Module] = []
    for hidden in params.hidden:
        layers += [_linear(width, hidden, generator), nn.ReLU(), Dropout(params.dropout, generator)]
        width = hidden
    if layers:
        layers.append(_linear(width, 1, generator))
    return nn.Sequential(*layers)


def _linear(width: int, out: int, generator: torch.Generator) -> nn.Linear:
    """A layer whose first weights come from the generator alone."""
    layer: nn.Linear = skip_init(nn.Linear, width, out)  # type: ignore[no-untyped-call]
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def edges_of(values: FloatArray, buckets: int) -> FloatArray:
    """(columns, buckets - 1) where each column is cut: between all its values where they are few, else at quantiles.

    >>> edges_of(np.array([[0, 1], [0, 2], [1, 3], [np.nan, 4], [np.nan, 5]], np.float32), 3).tolist()
    [[0.0, inf], [1.0, 3.0]]
    """
    edges = np.full((values.shape[1], buckets - 1), np.inf, np.float32)
    for column, own in enumerate(edges):
        ordered = np.sort(values[np.isfinite(values[:, column]), column])
        cuts = np.unique(ordered)
        if len(cuts) > buckets:
            cuts = np.unique(ordered[len(ordered) * np.arange(1, buckets) // buckets - 1])
        cuts = cuts[cuts < ordered[-1:]]  # none above the largest: no training row would be there
        own[: len(cuts)] = cuts
    return edges


def moments_of(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(columns,) mean and standard deviation of the finite values; 0 and 1 where there are none, or all are alike."""
    mean, scale = np.zeros(values.shape[1], np.float32), np.ones(values.shape[1], np.float32)
    for column in range(values.shape[1]):
        finite = values[np.isfinite(values[:, column]), column].astype(np.float64)
        if len(finite):
            mean[column], deviation = finite.mean(), np.float32(finite.std())
            scale[column] = deviation if deviation > 0 else 1.0
    return mean, scale


@dataclass(frozen=True)
class _Part:
    """Rows as the network learns from them."""

    places: Tensor  # (n, columns) int32
    numerics: Tensor  # (n, columns)
    labels: FloatArray  # (n,)
    targets: Tensor  # (n,) probabilities; where an order is learnt they sum to 1 within each moment
    weights: Tensor  # (n,) 1 on average
    start: Tensor  # (n,) scores to which the network adds
    sizes: NDArray[np.int64]  # (units,) rows of what cannot be divided: a moment, or one row for a probability
    loss: Loss

    def mean_loss(self, scores: Tensor) -> float:
        """The loss of the scores of all rows."""
        return float(_mean_loss(scores, self.targets, self.weights, torch.from_numpy(self.sizes), self.loss))

    def quality(self, scores: Tensor) -> float:
        """NDCG@10, or the log loss; NaN where a score is not finite, which would pass for the lowest in an order."""
        if not torch.isfinite(scores).all():
            return math.nan
        if self.loss == "probability":
            return self.mean_loss(scores)
        first = np.cumsum(self.sizes) - self.sizes
        found = ndcg(self.labels, scores.numpy(), self.sizes)
        return float((found * self.weights.numpy()[first]).sum() / self.weights.numpy()[first].sum())

    def batches(self, rows: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows of each step and the sizes of their units, in a random order, each unit once; about so many rows."""
        first = np.cumsum(self.sizes) - self.sizes
        order = torch.randperm(len(self.sizes), generator=generator).numpy()
        step = (np.cumsum(self.sizes[order]) - 1) // rows
        for units in np.split(order, np.flatnonzero(np.diff(step)) + 1):
            sizes = self.sizes[units]
            within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            yield torch.from_numpy(np.repeat(first[units], sizes) + within), torch.from_numpy(sizes)


def _part(rows: Rows, model: DeepFm, loss: Loss) -> _Part:
    """The rows encoded, without moments that have no order to learn."""
    if loss == "ranking":
        best = np.maximum.reduceat(rows.labels, np.cumsum(rows.sizes()) - rows.sizes())
        rows = rows.take(np.repeat(best > 0, rows.sizes()))
    sizes, targets = np.ones(len(rows), np.int64), rows.labels
    if loss == "ranking":
        sizes = rows.sizes()
        targets = rows.labels / np.repeat(np.add.reduceat(rows.labels, np.cumsum(sizes) - sizes), sizes)
    with torch.inference_mode():
        encoded = [model.encode(_tensor(rows.values[at : at + CHUNK])) for at in range(0, len(rows), CHUNK)]
        places = torch.cat([one.to(torch.int32) for one, _ in encoded])
        numerics = torch.cat([one for _, one in encoded])
    weights = rows.weights / np.maximum(rows.weights.mean(), np.finfo(np.float32).tiny)
    start = _tensor(np.zeros(len(rows), np.float32) if rows.start is None else rows.start)
    return _Part(places, numerics, rows.labels, _tensor(targets), _tensor(weights), start, sizes, loss)


def _tensor(values: FloatArray) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32))  # a copy: PyTorch has no arrays that are only read


def _mean_loss(scores: Tensor, targets: Tensor, weights: Tensor, sizes: Tensor, loss: Loss) -> Tensor:
    """Mean over rows of the binary cross-entropy, or over moments (rows of each: sizes) of that of their softmax."""
    if loss == "probability":
        return functional.binary_cross_entropy_with_logits(scores, targets, weights)
    moment = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    largest = torch.full((len(sizes),), -torch.inf).scatter_reduce(0, moment, scores.detach(), "amax")
    shifted = scores - largest[moment]
    total = torch.zeros(len(sizes)).index_add(0, moment, shifted.exp())
    return -(weights * targets * (shifted - total.log()[moment])).sum() / len(sizes)


def ndcg(labels: FloatArray, scores: FloatArray, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """(moments,) NDCG@10 of moments that have a positive; the gain is the label, of equal scores the worse comes first.

    Source: Järvelin, Kekäläinen, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4) (2002).

    >>> ndcg(np.array([1.0, 0, 2, 0]), np.array([0.9, 0.1, 0.3, 0.4]), np.array([2, 2])).round(3).tolist()
    [1.0, 0.631]
    """
    first = np.cumsum(sizes) - sizes
    place = np.arange(len(labels)) - np.repeat(first, sizes)
    discount = np.where(place < TOP, 1.0 / np.log2(place + 2), 0.0)
    moment = np.repeat(np.arange(len(sizes)), sizes)
    gained, most = np.lexsort((labels, -scores, moment)), np.lexsort((-labels, moment))
    found = np.add.reduceat(labels[gained] * discount, first) / np.add.reduceat(labels[most] * discount, first)
    return np.asarray(found, np.float64)


def fitted(train: Rows, valid: Rows, loss: Loss, params: DeepFmParams) -> Fitted:
    """The network fitted on `train`, as of the epoch that is best on `valid`.

    Raises `NextreelError` when validation finds no number.
    """
    threads = torch.get_num_threads()
    if params.threads > 0:
        torch.set_num_threads(params.threads)
    try:
        generator = torch.Generator().manual_seed(params.seed)
        model = DeepFm(np.asarray(train.values, np.float32), params, generator)
        learnt, judged = _part(train, model, loss), _part(valid, model, loss)
        model.forget_unseen(learnt.places)
        if loss == "probability":  # begins with the share of the positives
            share = min(max(float((learnt.targets * learnt.weights).mean()), 1e-6), 1 - 1e-6)
            nn.init.constant_(model.bias, math.log(share / (1 - share)))
        quality, epoch = _train(model, learnt, judged, params, generator)
        return Fitted(model, quality, epoch, _costs(model, judged, generator))
    finally:
        torch.set_num_threads(threads)


def _train(
    model: DeepFm, learnt: _Part, judged: _Part, params: DeepFmParams, generator: torch.Generator
) -> tuple[float, int]:
    """The best quality on validation and its epoch, whose weights the model has afterwards."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay, foreach=True
    )
    best, best_epoch, sign = -math.inf, 0, 1.0 if judged.loss == "ranking" else -1.0
    weights: dict[str, Tensor] = {}
    for epoch in range(1, params.epochs + 1):
        model.train()
        for rows, sizes in learnt.batches(params.batch, generator):
            scores = model.logits(learnt.places[rows], learnt.numerics[rows]) + learnt.start[rows]
            optimizer.zero_grad()
            loss = _mean_loss(scores, learnt.targets[rows], learnt.weights[rows], sizes, learnt.loss)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        quality = sign * judged.quality(_scores(model, judged.places, judged.numerics) + judged.start)
        if quality > best:
            best, best_epoch = quality, epoch
            weights = {name: value.clone() for name, value in model.state_dict().items()}
        elif epoch - best_epoch >= params.patience:
            break
    if not weights:
        raise NextreelError(
            "Expected finite scores of the validation rows from DeepFM, got none after any epoch. "
            "Hint: a smaller learning_rate or weight_decay."
        )
    model.load_state_dict(weights)
    return sign * best, best_epoch


@torch.inference_mode()
def _scores(model: DeepFm, places: Tensor, numerics: Tensor) -> Tensor:
    """(n,) scores of encoded rows."""
    model.eval()
    starts = range(0, len(places), CHUNK)
    return torch.cat([model.logits(places[at : at + CHUNK], numerics[at : at + CHUNK]) for at in starts])


@torch.inference_mode()
def _costs(model: DeepFm, judged: _Part, generator: torch.Generator) -> list[float]:
    """(columns,) how much larger the loss is with each column shuffled, 0 where it is not; on some of the rows."""
    rows, sizes = next(judged.batches(SHUFFLED, generator))
    places, numerics = judged.places[rows], judged.numerics[rows]
    truth = (judged.targets[rows], judged.weights[rows], sizes, judged.loss)
    start = judged.start[rows]
    usual = float(_mean_loss(_scores(model, places, numerics) + start, *truth))
    costs = []
    for column in range(places.shape[1]):
        shuffled = torch.randperm(len(rows), generator=generator)
        kept = places[:, column].clone(), numerics[:, column].clone()
        places[:, column], numerics[:, column] = kept[0][shuffled], kept[1][shuffled]
        costs.append(max(float(_mean_loss(_scores(model, places, numerics) + start, *truth)) - usual, 0.0))
        places[:, column], numerics[:, column] = kept
    return costs


def graph(model: DeepFm) -> bytes:
    """The network as the bytes of an ONNX file: values (n, columns) → scores (n,)."""
    model.eval()
    example = torch.zeros(2, len(model.mean))
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated, yet 10 times quicker
        torch.onnx.export(
            model,
            (example,),
            path,
            input_names=["values"],
            output_names=["scores"],
            dynamic_axes={"values": {0: "rows"}, "scores": {0: "rows"}},
            opset_version=OPSET,
            dynamo=False,
        )
        return path.read_bytes()
