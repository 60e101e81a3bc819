"""The fitted towers as a source of candidates; needs NumPy, ONNX Runtime and FAISS, not PyTorch."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock, local
from typing import Any
from zipfile import BadZipFile

import numpy as np
import onnxruntime

from nextreel.retrieval import index as indexes
from nextreel.retrieval._arrays import best
from nextreel.retrieval.index import Index
from nextreel.retrieval.live_index import View
from nextreel.retrieval.two_tower import inputs
from nextreel.retrieval.two_tower.inputs import IntArray, ProfileEncoder, VideoEncoder
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.trends import Columns, Shares, Snapshots
from nextreel.telemetry import CacheMeter
from nextreel.types import Catalogue, FloatArray, NextreelError, Request, RowArray, TimeArray, UserState

ABOUT_FILE = "two_tower.json"
USER_FILE = "user_tower.onnx"
VIDEO_FILE = "video_tower.onnx"
WEIGHTS_FILE = "weights.npz"
INDEX_FOLDER = "index"
VIDEO_CHUNK = 8192  # videos encoded at once
NEARER = 3  # times as many neighbours are judged with the trends as are wanted
TRENDS_FILE, TREND_TIMES_FILE = "trends.npy", "trend_times.npy"


class TwoTowerError(NextreelError):
    """Events the towers cannot be fitted on, or saved towers that cannot be read."""


@dataclass(frozen=True)
class _Tokens:
    """One person as the user tower reads them."""

    rows: RowArray  # (l,)
    weights: FloatArray  # (l,)
    gaps: IntArray  # (l, 2)
    profile: IntArray  # (1, 4)

    def key(self) -> Hashable:
        """The content: ids and versions of states do not tell two stores, or two replays, apart."""
        return tuple(part.tobytes() for part in (self.rows, self.weights, self.gaps, self.profile))


@dataclass(frozen=True)
class _Answer:
    """What was found for the newest request of a thread."""

    request: Request
    user: UserState
    history_length: int
    vector: FloatArray  # (dim + trends,)
    scores: FloatArray | None  # (n,) of all videos, where the index is searched exactly


@dataclass(frozen=True)
class TwoTower:
    """Fitted towers: a retriever named "two_tower" whose score is the cosine of a person's and a video's vector,
    plus what the person's tower makes of how popular the video is of late.

    The person's vector is computed from the history as it is now, so that a new person and the click of a second ago
    count at once; without a history it is that of a person about to begin. Rows are those of the catalogue the towers
    were fitted on, or of the one given to `extended`; other rows have no score.
    """

    params: TwoTowerParams
    videos: VideoEncoder
    people: ProfileEncoder
    index: Index
    user_graph: bytes
    video_graph: bytes
    metrics: Mapping[str, float] = field(default_factory=dict)
    stored_weights: Mapping[str, FloatArray] | None = field(default=None, repr=False)
    past: Snapshots | None = None  # how popular each video was while the events happened that the towers learnt from
    trends: Columns | None = field(default=None, repr=False, compare=False)  # how it is now, once there is a store
    folder: Path | None = None  # where the weights lie, when they are not in memory
    name: str = "two_tower"
    live: View | None = None  # the index with what came to the catalogue since; None: nothing did
    _cache: OrderedDict[Hashable, FloatArray] = field(default_factory=OrderedDict, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)
    _last: local = field(default_factory=local, repr=False, compare=False)  # per thread: the newest answer

    @property
    def vectors(self) -> FloatArray:
        """Unit vectors of the videos (n, dim)."""
        return self.space.vectors

    def __len__(self) -> int:
        return len(self.space)

    @property
    def space(self) -> Index | View:
        """Where the videos lie that there are now."""
        return self.index if self.live is None else self.live

    @property
    def weights(self) -> Mapping[str, FloatArray]:
        """The weights of the network by name: what a warm fit starts from. Raises TwoTowerError when left behind."""
        if self.stored_weights is not None:
            return self.stored_weights
        path = (self.folder or Path()) / WEIGHTS_FILE
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, BadZipFile) as error:
            raise TwoTowerError(
                f"Expected the weights of the towers at {path}; got: {error}. Hint: fit without `warm`."
            ) from error

    @cached_property
    def _meter(self) -> CacheMeter:
        return CacheMeter(self.name)

    @cached_property
    def _user_session(self) -> Any:
        return _session(self.user_graph)

    @cached_property
    def _video_session(self) -> Any:
        return _session(self.video_graph)

    def over(self, counters: Shares) -> TwoTower:
        """The same towers, which read how popular videos are from these counters."""
        trends = None if self.past is None else Columns(counters, self.params.trends, self.past)
        return self._renewed(trends=trends)

    def among(self, live: View) -> TwoTower:
        """The same towers over an index that has changed since; until they are put `over` a store, without trends."""
        return self._renewed(live=live, trends=None)

    def _renewed(self, **changes: Any) -> TwoTower:
        """The towers with these changes and nothing remembered of people; what runs their graphs is made once."""
        renewed = replace(self, **changes, _cache=OrderedDict(), _lock=Lock(), _last=local())
        for name in ("_user_session", "_video_session"):
            if name in self.__dict__:
                renewed.__dict__[name] = self.__dict__[name]  # what cached_property would make again
        return renewed

    def _trend(self, weights: FloatArray, at: float, rows: RowArray | None = None) -> FloatArray | np.float32:
        """What popularity at that time adds to the cosine of each of the rows, or of all: weights (windows,)."""
        if len(weights) == 0:
            return np.float32(0)
        popularity = self.trends or (None if self.past is None else self.past.of)
        known = None if popularity is None else popularity(at)
        if known is None or len(known) < len(self.space):
            raise TwoTowerError(f"Expected how popular each of {len(self.space)} videos is. Hint: `over` a store.")
        return known[: len(self.space)] @ weights if rows is None else known[rows] @ weights

    def encode(self, request: Request, user: UserState) -> FloatArray:
        """The person's unit vector (dim,) at the time of the request; remembered for what the tower reads."""
        return self._answer(request, user).vector

    def _answer(self, request: Request, user: UserState) -> _Answer:
        # a request asks to propose and then to score: what it was asked last, this thread need not put together again
        last: _Answer | None = getattr(self._last, "answer", None)
        if (
            last is not None
            and last.request is request
            and last.user is user
            and last.history_length == len(user.history)
        ):
            return last
        vector = self._encoded(self._tokens(request, user))
        dim = self.params.dim
        scores = None
        if self.space.kind == "flat":
            scores = self.space.scores(vector[:dim]) + self._trend(vector[dim:], request.at)
        self._last.answer = answer = _Answer(request, user, len(user.history), vector, scores)
        return answer

    def _encoded(self, tokens: _Tokens) -> FloatArray:
        key = tokens.key()
        with self._lock:
            vector = self._cache.get(key)
            if vector is not None:
                self._cache.move_to_end(key)
        self._meter.count("miss" if vector is None else "hit")
        if vector is not None:
            return vector
        vector = self._run(tokens)
        vector.flags.writeable = False
        with self._lock:
            self._cache[key] = vector
            while len(self._cache) > self.params.cached_users:
                self._cache.popitem(last=False)
            self._meter.holds(len(self._cache))
        return vector

    def _tokens(self, request: Request, user: UserState) -> _Tokens:
        history, params = user.history, self.params
        rows, at, weights = inputs.tokens(history.rows, history.at, history.weights, len(self.space))
        rows, at, weights = rows[-params.length :], at[-params.length :], weights[-params.length :]
        asked = np.append(at[1:], np.nan if request.anytime else request.at)[: len(at)]
        gaps = inputs.gaps(at, asked, params.request_gap)
        profile = self.people.encode([user.profile]) if params.profile else np.zeros((1, 4), np.int64)
        return _Tokens(rows, weights, gaps, profile)

    def person(self, rows: RowArray, at: TimeArray, weights: FloatArray, profile: IntArray) -> FloatArray:
        """The unit vector (dim,) of one with this history, oldest first, whenever they come: `profile` is (4,)."""
        newest = slice(-self.params.length, None)
        rows, at, weights = rows[newest], at[newest], weights[newest]
        gaps = inputs.gaps(at, np.append(at[1:], np.nan)[: len(at)], self.params.request_gap)
        return self._run(_Tokens(rows, weights, gaps, profile[None]))[: self.params.dim]

    def _run(self, person: _Tokens) -> FloatArray:
        """The user tower's vector (dim,)."""
        n = 1 + len(person.rows)  # the start takes the first place
        vectors, weights = np.zeros((n, self.params.dim), np.float32), np.zeros(n, np.float32)
        gaps = np.zeros((n, 2), np.int64)
        vectors[1:], weights[1:], gaps[1:] = self.space.of(person.rows), person.weights, person.gaps
        given = {"vectors": vectors, "weights": weights, "gaps": gaps, "profile": person.profile}
        answer = self._user_session.run(None, given)
        vector: FloatArray = answer[0][0]
        return vector

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """At most n rows outside the history, best first, and their scores."""
        exclude = user.history.rows if len(user.history) else None
        answer = self._answer(request, user)
        if answer.scores is None:
            return self._searched(answer.vector, request.at, n, exclude)
        return self.space.best(answer.scores, n, exclude)

    def _searched(self, vector: FloatArray, at: float, n: int, exclude: RowArray | None) -> tuple[RowArray, FloatArray]:
        """The best of the nearest vectors and of what is popular, where the index does not know all scores."""
        dim = self.params.dim
        if len(vector) == dim:
            return self.space.search(vector, n, exclude)
        rows, _ = self.space.search(vector[:dim], NEARER * n, exclude)
        trend = np.asarray(self._trend(vector[dim:], at), np.float32)
        popular = best(trend, n)
        if self.live is not None:
            popular = popular[self.live.has(popular)]
        rows = np.union1d(rows, popular if exclude is None else np.setdiff1d(popular, exclude)).astype(np.int32)
        scores = np.asarray(self.space.of(rows) @ vector[:dim] + trend[rows], np.float32)
        chosen = best(scores, n)
        return rows[chosen], scores[chosen]

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """The score of each of the rows; NaN for rows the towers have no vector of."""
        answer = self._answer(request, user)
        known = (rows >= 0) & (rows < len(self.space))
        inside = rows if known.all() else rows[known]
        if answer.scores is None:
            dim = self.params.dim
            found = self.space.of(inside) @ answer.vector[:dim] + self._trend(answer.vector[dim:], request.at, inside)
        else:
            found = answer.scores[inside]
        if len(inside) == len(rows):
            return np.asarray(found, np.float32)
        scores = np.full(len(rows), np.nan, np.float32)
        scores[known] = found
        return scores

    def similar(self, row: int, k: int) -> tuple[RowArray, FloatArray]:
        """At most k other rows by the cosine of their vectors, best first, and the cosines."""
        return self.space.search(self.space.of(np.array([row]))[0], k, np.array([row]))

    def encode_videos(self, catalogue: Catalogue) -> FloatArray:
        """Unit vectors (n, dim) of all videos of a catalogue; what the towers never saw is judged by its content."""
        encoded = self.videos.encode(catalogue)
        vectors = np.empty((len(catalogue), self.params.dim), np.float32)
        for start in range(0, len(catalogue), VIDEO_CHUNK):
            part = encoded.take(np.arange(start, min(start + VIDEO_CHUNK, len(catalogue))))
            columns = {name: getattr(part, name) for name in ("ids", "channels", "languages", "popularity", "content")}
            vectors[start : start + VIDEO_CHUNK] = self._video_session.run(None, columns)[0]
        return vectors

    def extended(self, catalogue: Catalogue) -> TwoTower:
        """The same towers over another catalogue, whose rows they then know; new videos come from their content.

        Until they are put `over` a store, popularity counts for nothing.
        """
        index = indexes.build(self.encode_videos(catalogue), self.params.index)
        past = Snapshots.none(len(catalogue), len(self.params.trends)) if self.params.trends else None
        return self._renewed(index=index, live=None, past=past, trends=None)

    def save(self, folder: Path) -> None:
        """Writes graphs, vectors, encoders, weights and parameters into the folder, which it makes when needed."""
        folder.mkdir(parents=True, exist_ok=True)
        self.videos.save(folder)
        self.people.save(folder)
        self.index.save(folder / INDEX_FOLDER)
        if self.past is not None:
            np.save(folder / TREND_TIMES_FILE, self.past.at)
            np.save(folder / TRENDS_FILE, self.past.values)
        (folder / USER_FILE).write_bytes(self.user_graph)
        (folder / VIDEO_FILE).write_bytes(self.video_graph)
        weights: dict[str, Any] = dict(self.weights)
        np.savez(folder / WEIGHTS_FILE, **weights)
        about = {"name": self.name, "params": self.params.model_dump(mode="json"), "metrics": dict(self.metrics)}
        text = json.dumps(about, indent=2, sort_keys=True)
        (folder / ABOUT_FILE).write_text(text + "\n", encoding="utf-8")


def _session(graph: bytes) -> Any:
    """A session that runs on its caller's thread: requests are the parallelism of a server."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _load_past(folder: Path) -> Snapshots:
    at = np.load(folder / TREND_TIMES_FILE, allow_pickle=False)
    return Snapshots(at, np.load(folder / TRENDS_FILE, mmap_mode="r", allow_pickle=False))


def load(folder: Path) -> TwoTower:
    """The towers that `TwoTower.save` wrote, vectors memory-mapped. Raises TwoTowerError for a bad file."""
    try:
        about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
        model = TwoTower(
            params=TwoTowerParams(**about["params"]),
            videos=inputs.load_videos(folder),
            people=inputs.load_profiles(folder),
            index=indexes.load(folder / INDEX_FOLDER),
            user_graph=(folder / USER_FILE).read_bytes(),
            video_graph=(folder / VIDEO_FILE).read_bytes(),
            metrics=about["metrics"],
            past=_load_past(folder) if about["params"]["trends"] else None,
            folder=folder,
            name=about["name"],
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise TwoTowerError(
            f"Expected saved towers in {folder}; got: {error}. Hint: train and publish the release again."
        ) from error
    if model.index.vectors.shape[1] != model.params.dim:
        raise TwoTowerError(
            f"Expected vectors of {model.params.dim} dimensions in {folder}; got {model.index.vectors.shape[1]}. "
            "Hint: the files come from two fits; train and publish the release again."
        )
    return model
