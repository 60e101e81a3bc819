"""Fits the towers with PyTorch on the CPU and hands back what is served without it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nextreel.encoding.cache import EmbeddingCache
from nextreel.progress import Progress, silent
from nextreel.retrieval import index as indexes
from nextreel.retrieval.index import IndexParams
from nextreel.retrieval.two_tower import export
from nextreel.retrieval.two_tower.batches import Sampler, disliked
from nextreel.retrieval.two_tower.inputs import fit_profiles, fit_videos, sequences
from nextreel.retrieval.two_tower.loop import Training, TrainingData, Watch, all_vectors
from nextreel.retrieval.two_tower.machine import Machine, machine
from nextreel.retrieval.two_tower.model import Towers
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.retriever import TwoTower, TwoTowerError
from nextreel.retrieval.two_tower.trends import snapshots
from nextreel.store import Counters
from nextreel.types import Catalogue, Events, FloatArray, Profile


def fit(
    events: Events,
    weights: FloatArray,
    catalogue: Catalogue,
    params: TwoTowerParams | None = None,
    progress: Progress = silent,
    warm: TwoTower | None = None,
    profiles: Sequence[Profile] | None = None,
    cache: EmbeddingCache | None = None,
    checkpoint: Path | None = None,
    watch: Watch | None = None,
) -> TwoTower:
    """The towers fitted on the events with a relevance weight above 0; `weights` (n,) goes with the events.

    `profiles` goes with `events.user_ids`. With `warm`, the fit starts from those towers, runs `warm_epochs` and holds
    nothing out. With `cache`, only texts that it does not have are encoded; worth it for the sentence encoder.
    With `checkpoint`, a file that is written after every epoch, a fit that was stopped goes on from there; `watch` is
    told of every validation. Under `torchrun` all processes fit one model together, each on its share of the batches.
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
        place = machine(params)
        towers = Towers(
            params,
            (len(data.videos.ids), len(data.videos.channels), len(data.videos.languages), data.videos.features),
            data.people.sizes,
            data.videos.dated,
        )
        if warm is not None:
            _start_from(towers, warm, data)
        towers.to(place.device)
        explicit = disliked(events, weights, data.histories.users, len(catalogue))
        sampler = Sampler(data.histories, data.ends, data.profile, explicit, data.trends, params)
        training = Training(towers, data, sampler, params, place, warm=warm is not None)
        metrics = training.run(progress, watch, checkpoint, "" if checkpoint is None else _key(data, params, warm))
        return _served(towers.cpu(), data, params, metrics)
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
) -> TrainingData:
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
    many = len(long_enough)
    if not validate:
        many = 0
    elif params.validation_users is not None:
        many = min(params.validation_users, many // 2)
    held_out = rng.permutation(long_enough)[:many]
    judged, held_out = np.sort(held_out[: params.validation_judged]), np.sort(held_out)
    trends = snapshots(
        Counters(len(catalogue), len(catalogue.channel_ids)), events, weights, params.trends, len(catalogue)
    )
    return TrainingData(videos, people, videos.encode(catalogue, cache), histories, profile, trends, held_out, judged)


def _key(data: TrainingData, params: TwoTowerParams, warm: TwoTower | None) -> str:
    """What a checkpoint must have been made from, to be gone on from."""
    digest = hashlib.sha256(params.model_dump_json().encode())
    for array in (data.histories.rows, data.histories.at, data.histories.starts, data.held_out):
        digest.update(np.ascontiguousarray(array).tobytes())
    if warm is not None:
        for name, value in sorted(warm.weights.items()):
            digest.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _start_from(towers: Towers, warm: TwoTower, data: TrainingData) -> None:
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
def _served(towers: Towers, data: TrainingData, params: TwoTowerParams, metrics: dict[str, float]) -> TwoTower:
    """What is served: vectors in an index, graphs for ONNX Runtime, and the weights to go on from."""
    towers.eval()
    vectors = all_vectors(towers, data.inputs, Machine(torch.device("cpu"), half=False)).numpy()
    exact = params.index.kinds_for(*vectors.shape)[0] == "flat"
    served = TwoTower(
        params=params.model_copy(update={"text": data.videos.text.kind}),  # what "auto" came to
        videos=data.videos,
        people=data.people,
        index=indexes.build(vectors, params.index if exact else IndexParams(kind="flat")),
        user_graph=export.user_graph(towers, params),
        video_graph=export.video_graph(towers, data.videos.features),
        metrics=metrics,
        past=data.trends if params.trends else None,
        stored_weights={name: value.numpy().copy() for name, value in towers.state_dict().items()},
    )
    return (
        served if exact else replace(served, index=indexes.build(vectors, params.index, _people(served, data, params)))
    )


def _people(served: TwoTower, data: TrainingData, params: TwoTowerParams) -> FloatArray:
    """The vectors (n, dim) of drawn people: what the index is asked for, and its recall is measured with."""
    histories = data.histories
    drawn = np.random.default_rng(params.seed).permutation(len(histories))[: params.index.recall_queries]
    found = []
    for user in np.sort(drawn):
        own = slice(histories.starts[user], histories.starts[user + 1])
        found.append(served.person(histories.rows[own], histories.at[own], histories.weights[own], data.profile[user]))
    return np.stack(found)
