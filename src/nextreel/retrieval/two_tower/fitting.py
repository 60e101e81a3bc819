"""Fits the towers with PyTorch on the CPU and hands back what is served without it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextreel.encoding.cache import EmbeddingCache
from nextreel.progress import Progress, silent
from nextreel.retrieval import index as indexes
from nextreel.retrieval.two_tower import export
from nextreel.retrieval.two_tower.batches import Batch, Sampler, disliked
from nextreel.retrieval.two_tower.inputs import (
    IntArray,
    ProfileEncoder,
    Sequences,
    VideoEncoder,
    VideoInputs,
    fit_profiles,
    fit_videos,
    gap_codes,
    sequences,
)
from nextreel.retrieval.two_tower.model import Negatives, Towers, sampled_softmax
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.retriever import TwoTower, TwoTowerError
from nextreel.retrieval.two_tower.trends import Snapshots, snapshots
from nextreel.store import Counters
from nextreel.types import Catalogue, Events, FloatArray, Profile

VIDEO_CHUNK = 8192  # videos encoded at once
USER_CHUNK = 128  # histories encoded at once
BEST = 10  # length of the lists that validation judges

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class _Data:
    """What one fit reads."""

    videos: VideoEncoder
    people: ProfileEncoder
    inputs: VideoInputs
    histories: Sequences
    profile: IntArray  # (users, 4)
    trends: Snapshots
    held_out: NDArray[np.intp]  # users whose last positive is kept for validation

    @property
    def ends(self) -> IntArray:
        """Where each user's training positions end."""
        ends = self.histories.starts[1:].copy()
        ends[self.held_out] -= 1
        return ends


def fit(
    events: Events,
    weights: FloatArray,
    catalogue: Catalogue,
    params: TwoTowerParams | None = None,
    progress: Progress = silent,
    warm: TwoTower | None = None,
    profiles: Sequence[Profile] | None = None,
    cache: EmbeddingCache | None = None,
) -> TwoTower:
    """The towers fitted on the events with a relevance weight above 0; `weights` (n,) goes with the events.

    `profiles` goes with `events.user_ids`. With `warm`, the fit starts from those towers, runs `warm_epochs` and holds
    nothing out. With `cache`, only texts that it does not have are encoded; worth it for the sentence encoder.
    On one machine the same input, seed and number of threads give the same towers, unless `max_seconds` cuts the fit
    short. `metrics` of the result says what validation found. Raises TwoTowerError when there is nothing to learn from.
    """
    params = params or TwoTowerParams()
    if params.threads:
        torch.set_num_threads(params.threads)
    state = torch.random.get_rng_state()
    torch.manual_seed(params.seed)
    try:
        data = _data(events, weights, catalogue, params, profiles, cache, validate=warm is None)
        towers = Towers(
            params,
            (len(data.videos.ids), len(data.videos.channels), len(data.videos.languages), data.videos.features),
            data.people.sizes,
        )
        if warm is not None:
            _start_from(towers, warm, data)
        explicit = disliked(events, weights, data.histories.users, len(catalogue))
        sampler = Sampler(data.histories, data.ends, data.profile, explicit, data.trends, params)
        metrics = _train(towers, data, sampler, params, warm is not None, progress)
        return _served(towers, data, params, metrics)
    finally:
        torch.random.set_rng_state(state)


def _data(
    events: Events,
    weights: FloatArray,
    catalogue: Catalogue,
    params: TwoTowerParams,
    profiles: Sequence[Profile] | None,
    cache: EmbeddingCache | None = None,
    *,
    validate: bool,
) -> _Data:
    """The encoders fitted on the events, and the events as sequences."""
    if len(weights) != len(events):
        raise TwoTowerError(f"Expected one relevance weight per event; got {len(weights)} for {len(events)} events.")
    histories = sequences(events, weights, len(catalogue))
    if len(histories.rows) == 0:
        raise TwoTowerError(
            f"Expected at least one event about a video with a weight above 0; got none in {len(events)} events. "
            "Hint: check how the relevance weights are made from event kinds and values."
        )
    videos = fit_videos(catalogue, histories.rows, histories.at, params.min_count, params.text_dim, params.text)
    known = [profiles[code] for code in histories.users] if profiles is not None and params.profile else []
    people = fit_profiles(known, videos.languages, params.min_count)
    profile = people.encode(known) if known else np.zeros((len(histories), 4), np.int64)
    long_enough = np.flatnonzero(np.diff(histories.starts) >= 3)
    rng = np.random.default_rng(params.seed)
    held_out = np.sort(
        rng.permutation(long_enough)[: min(params.validation_users if validate else 0, len(long_enough) // 2)]
    )
    trends = snapshots(Counters(len(catalogue), len(catalogue.channel_ids)), events, weights, params.trends, len(catalogue))
    return _Data(videos, people, videos.encode(catalogue, cache), histories, profile, trends, held_out)


def _train(
    towers: Towers, data: _Data, sampler: Sampler, params: TwoTowerParams, warm: bool, progress: Progress
) -> dict[str, float]:
    """Trains the towers in place, leaves them at their best validation, and tells what was measured."""
    epochs = params.warm_epochs if warm else params.epochs
    peak = params.warm_learning_rate if warm else params.learning_rate
    optimizer = torch.optim.AdamW(_groups(towers, params.weight_decay), lr=peak, betas=(0.9, 0.98), fused=True)
    steps = epochs * sampler.steps()
    started = time.perf_counter()
    best, best_weights, without_gain, loss, done = -1.0, None, 0, math.nan, 0
    metrics: dict[str, float] = {}
    epoch = 0
    with progress("Training the two towers", total=epochs) as advance:
        while epoch < epochs and without_gain < params.patience:
            total, count, out_of_time = 0.0, 0.0, False
            for batch in sampler.epoch():
                spent = 0.0 if params.max_seconds is None else (time.perf_counter() - started) / params.max_seconds
                if spent >= 1.0:
                    out_of_time = True
                    break
                for group in optimizer.param_groups:
                    group["lr"] = peak * _pace(max(done / steps, spent), params.warmup)
                value = _step(towers, optimizer, batch, data.inputs, params)
                size = float(batch.scale.sum())
                total, count, done = total + value * size, count + size, done + 1
            epoch += 1
            advance(1)
            loss = total / count if count else loss
            last = out_of_time or epoch == epochs
            if len(data.held_out) and (last or epoch % params.validate_every == 0):
                found = _validate(towers, data, params)
                without_gain = 0 if found["ndcg@10"] > best else without_gain + 1
                if found["ndcg@10"] > best:
                    best, metrics = found["ndcg@10"], {**found, "best_epoch": float(epoch)}
                    best_weights = {name: value.clone() for name, value in towers.state_dict().items()}
            if out_of_time:
                break
    if best_weights is not None:
        towers.load_state_dict(best_weights)
    return {**metrics, "epochs": float(epoch), "loss": loss, "seconds": time.perf_counter() - started}


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


def _video_vectors(towers: Towers, inputs: VideoInputs) -> Tensor:
    vectors: Tensor = towers.video(
        torch.from_numpy(inputs.ids),
        torch.from_numpy(inputs.channels),
        torch.from_numpy(inputs.languages),
        torch.from_numpy(inputs.popularity),
        torch.from_numpy(inputs.content),
    )
    return vectors


def _step(
    towers: Towers, optimizer: torch.optim.Optimizer, batch: Batch, inputs: VideoInputs, params: TwoTowerParams
) -> float:
    """The loss of one batch, after one step of the optimizer."""
    towers.train()
    vectors = _video_vectors(towers, inputs.take(batch.rows))
    x = towers.embed(
        _rows(vectors, batch.inputs),
        torch.from_numpy(batch.weights),
        torch.from_numpy(batch.gaps),
        torch.from_numpy(batch.profile),
    )
    users, weights = towers.user(x)
    targets = batch.targets
    hits = torch.from_numpy(targets[..., None] == batch.negatives)
    shared = Negatives(
        vectors[torch.from_numpy(batch.negatives)],
        torch.from_numpy(batch.bias),
        hits,
        _trend(weights, batch, batch.negatives),
    )
    negatives = [shared]
    if batch.explicit.shape[1]:
        own = _trend(
            weights, batch, np.broadcast_to(batch.explicit[:, None], (*targets.shape, batch.explicit.shape[1]))
        )
        negatives.append(Negatives(_rows(vectors, batch.explicit), torch.from_numpy(batch.explicit_bias), None, own))
    extra = _trend(weights, batch, targets[..., None])
    losses = sampled_softmax(
        users, _rows(vectors, targets), None if extra is None else extra[..., 0], negatives, params.temperature
    )
    scale = torch.from_numpy(batch.scale)
    loss = (losses * scale).sum() / scale.sum().clamp(min=1e-6)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(towers.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _trend(weights: Tensor, batch: Batch, videos: IntArray) -> Tensor | None:
    """What popularity adds (b, t, m) to the scores of videos (m,) for all positions, or (b, t, m); None without it."""
    b, t, many = weights.shape
    if many == 0:
        return None
    if videos.ndim == 1:
        known = torch.from_numpy(batch.trends[:, videos].astype(np.float32))  # (snapshots, m, windows)
        known = torch.nn.functional.embedding(torch.from_numpy(batch.snapshot).reshape(-1), known.flatten(1))
        known = known.view(b * t, -1, many)
    else:
        known = torch.from_numpy(batch.trends[batch.snapshot[..., None], videos].astype(np.float32)).flatten(0, 1)
    return (known @ weights.reshape(b * t, many, 1)).view(b, t, -1)


def _rows(vectors: Tensor, rows: IntArray) -> Tensor:
    """The vectors at the rows, of the shape of the rows; an embedding lookup has the quickest gradient."""
    return torch.nn.functional.embedding(torch.from_numpy(np.ascontiguousarray(rows)), vectors)


def _all_vectors(towers: Towers, inputs: VideoInputs) -> Tensor:
    """The vectors of the whole catalogue, without a gradient."""
    n = len(inputs.ids)
    parts = [
        _video_vectors(towers, inputs.take(np.arange(start, min(start + VIDEO_CHUNK, n))))
        for start in range(0, n, VIDEO_CHUNK)
    ]
    return torch.cat(parts) if parts else torch.empty(0, towers.user.start.shape[0])


@torch.inference_mode()
def _validate(towers: Towers, data: _Data, params: TwoTowerParams) -> dict[str, float]:
    """NDCG@10 and hit rate@10 of each held-out last positive, ranked among all videos outside the history."""
    towers.eval()
    vectors = _all_vectors(towers, data.inputs)
    histories, ranks = data.histories, []
    for begin in range(0, len(data.held_out), USER_CHUNK):
        users = data.held_out[begin : begin + USER_CHUNK]
        first, end = histories.starts[users], histories.starts[users + 1] - 1
        lengths = np.minimum(end - first, params.length)
        place = np.minimum((end - lengths)[:, None] + np.arange(int(lengths.max())), end[:, None] - 1)
        nexts = np.minimum(place + 1, end[:, None])
        gaps = gap_codes(histories.at[nexts] - histories.at[place]) if params.request_gap else np.zeros_like(place)
        x = towers.embed(
            _rows(vectors, histories.rows[place].astype(np.int64)),
            torch.from_numpy(histories.weights[place]),
            torch.from_numpy(gaps),
            torch.from_numpy(data.profile[users]),
        )
        found, weights = towers.user(x)
        last = torch.arange(len(users)), torch.from_numpy(lengths)  # what lies behind is padding
        scores = (found[last] @ vectors.T).numpy() / params.temperature
        if params.trends:
            known = data.trends.values[data.trends.before(histories.at[end])].astype(np.float32)
            scores += (known @ weights[last].numpy()[:, :, None])[:, :, 0]
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


def _start_from(towers: Towers, warm: TwoTower, data: _Data) -> None:
    """Gives the towers the weights of fitted ones; embeddings of values both know move to their new codes."""
    if warm.videos.text.kind != data.videos.text.kind:
        raise TwoTowerError(
            f"Expected towers that read {data.videos.text.kind} text to start from; got {warm.videos.text.kind} text. "
            f"Hint: set `text` to '{warm.videos.text.kind}', or fit without `warm`."
        )
    given = {name: torch.from_numpy(np.array(value)) for name, value in warm.weights.items()}
    tables = {
        "video.ids.weight": (data.videos.ids, warm.videos.ids),
        "video.channels.weight": (data.videos.channels, warm.videos.channels),
        "video.languages.weight": (data.videos.languages, warm.videos.languages),
        "user.country.weight": (data.people.country, warm.people.country),
        "user.gender.weight": (data.people.gender, warm.people.gender),
    }
    own = towers.state_dict()
    for name, (new, old) in tables.items():
        codes = np.concatenate([[0], old.encode(new.values)])
        table = given[name][torch.from_numpy(codes.astype(np.int64))]
        # a value new to the towers starts where all unknown ones are
        given[name] = table
    width = len(data.videos.categories)
    content = own["video.content.weight"].clone()
    former = given["video.content.weight"]
    place = {category: i for i, category in enumerate(warm.videos.categories)}
    for i, category in enumerate(data.videos.categories):
        if category in place:
            content[:, i] = former[:, place[category]]
    content[:, width:] = former[:, len(place) :]
    given["video.content.weight"] = content
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    wrong = [name for name, shape in shapes.items() if name not in given or tuple(given[name].shape) != shape]
    if wrong:
        raise TwoTowerError(
            f"Expected towers of the same shape to start from; got others in {', '.join(wrong[:3])}. "
            "Hint: fit without `warm` after a change of dim, blocks, length, hidden, id_dim or text_dim."
        )
    towers.load_state_dict(given)


@torch.inference_mode()
def _served(towers: Towers, data: _Data, params: TwoTowerParams, metrics: dict[str, float]) -> TwoTower:
    """What is served: vectors in an index, graphs for ONNX Runtime, and the weights to go on from."""
    towers.eval()
    vectors = _all_vectors(towers, data.inputs).numpy()
    return TwoTower(
        params=params.model_copy(update={"text": data.videos.text.kind}),  # what "auto" came to
        videos=data.videos,
        people=data.people,
        index=indexes.build(vectors, params.index),
        user_graph=export.user_graph(towers, params),
        video_graph=export.video_graph(towers, data.videos.features),
        metrics=metrics,
        trends=data.trends.values[-1].astype(np.float32) if params.trends else None,
        stored_weights={name: value.numpy().copy() for name, value in towers.state_dict().items()},
    )
