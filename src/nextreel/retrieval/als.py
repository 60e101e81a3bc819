"""Alternating least squares on implicit feedback: item factors that are frozen, user factors folded in on demand.

Fitting needs the training extra (`implicit`, SciPy); a fitted model is NumPy alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nextreel.history import History, liked
from nextreel.params import Params
from nextreel.progress import Progress, silent
from nextreel.retrieval._arrays import Cache, FitError, best, columns, positives, unseen
from nextreel.types import DAY, FloatArray, Request, RowArray, TimeArray, UserState

FACTORS_FILE = "item_factors.npy"
GRAM_FILE = "gram.npy"
PARAMS_FILE = "als.json"


class AlsParams(Params):
    """Hyper-parameters of ALS.

    The confidence of a watched video of relevance w is alpha w, or alpha log(1 + w / epsilon): Hu et al., equation 6,
    without its 1. A half-life makes w fall with age, to 0.5 ** (age / half-life) of it: with the age at the newest
    event of the fit there, and at the person's own newest event when a person is folded in, so that who comes back
    after a year is known by what they watched last.
    """

    factors: int = Field(default=20, ge=1)
    regularization: float = Field(default=0.1, ge=0)
    iterations: int = Field(default=20, ge=1)
    alpha: float = Field(default=1.0, gt=0)
    confidence: Literal["linear", "log"] = "linear"
    epsilon: float = Field(default=1.0, gt=0)  # "log" only: the relevance from which confidence grows slower
    half_life_days: float | None = Field(default=None, gt=0)  # None: an old event counts as a new one
    seed: int = Field(default=42, ge=0)
    threads: int = Field(default=0, ge=0)  # 0: one per core

    def confidences(self, weights: FloatArray) -> FloatArray:
        """The confidence (n,) of videos of these relevance weights, which are above 0 and decayed already."""
        strength = weights if self.confidence == "linear" else np.log1p(weights / np.float32(self.epsilon))
        return np.asarray(np.float32(self.alpha) * strength, np.float32)

    def decayed(self, weights: FloatArray, at: TimeArray | None) -> FloatArray:
        """The weights (n,) of events at these times, as of the newest. Raises FitError where it needs times."""
        if self.half_life_days is None or len(weights) == 0:
            return weights
        if at is None:
            raise FitError(
                f"Expected the time of each event, as half_life_days is {self.half_life_days}; got none. "
                "Hint: pass `at`, or leave half_life_days out."
            )
        return np.asarray(weights * np.exp2((at - at.max()) / (DAY * self.half_life_days)), np.float32)


@dataclass(frozen=True)
class Als:
    """A fitted ALS model; a retriever named "als" whose score is the inner product of user and item factors.

    The user vector is solved from the history, so people and events newer than the fit count at once:
    x = (YtY + Yt (C - I) Y + regularization I)^-1 Yt C 1, with C the confidences of the positives.
    Source: Hu, Koren, Volinsky, Collaborative filtering for implicit feedback datasets, ICDM (2008), equation 4.

    >>> model = Als(np.array([[1.0, 0.0], [0.9, 0.0], [0.0, 1.0]], np.float32), AlsParams(factors=2))
    >>> scores = model.scores(np.array([0], np.int32), np.array([1.0], np.float32))
    >>> bool(scores[1] > scores[2])
    True
    """

    item_factors: FloatArray  # (videos, factors)
    params: AlsParams
    name: str = "als"
    _columns: Cache[FloatArray] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_columns", columns(len(self.item_factors), self.name))

    @cached_property
    def gram(self) -> NDArray[np.float64]:
        """YtY of the item factors plus the regularisation on its diagonal: (factors, factors)."""
        factors = self.item_factors
        # in float32 and then widened: a widened copy of a large catalogue's factors would be twice its size
        product = (factors.T @ factors).astype(np.float64)
        return np.asarray(product + self.params.regularization * np.eye(factors.shape[1]), np.float64)

    def vector(self, rows: RowArray, weights: FloatArray, at: TimeArray | None = None) -> FloatArray:
        """The user factors (factors,) of a history of rows and relevance weights; zeros without a positive.

        `at` tells the times of the events. Raises FitError when there is a half-life and no times.
        """
        return self._folded_in(*liked(rows, self.params.decayed(weights, at)))

    def _folded_in(self, rows: RowArray, weights: FloatArray) -> FloatArray:
        """The same for rows without repeats and decayed weights above 0."""
        if len(rows) == 0:
            return np.zeros(self.item_factors.shape[1], np.float32)
        confidence = self.params.confidences(weights).astype(np.float64)
        watched = self.item_factors[rows].astype(np.float64)
        left = self.gram + watched.T @ (watched * (confidence - 1.0)[:, None])
        right = confidence @ watched
        try:
            return np.linalg.solve(left, right).astype(np.float32)
        except np.linalg.LinAlgError:  # without regularisation, fewer positives than factors leave it singular
            return np.asarray(np.linalg.lstsq(left, right, rcond=None)[0], np.float32)

    def scores(self, rows: RowArray, weights: FloatArray, at: TimeArray | None = None) -> FloatArray:
        """The score of every video (videos,) for a history of rows and relevance weights, and times as in `vector`."""
        return np.asarray(self.item_factors @ self.vector(rows, weights, at), np.float32)

    def _column(self, history: History, *, counted: bool = True) -> FloatArray:
        """The score of every video (videos,) for a history; NaN for one without a positive."""

        def column(rows: RowArray, weights: FloatArray) -> FloatArray:
            if len(rows) == 0:
                return np.full(len(self.item_factors), np.nan, np.float32)
            if self.params.half_life_days is not None:
                return self.scores(history.rows, history.weights, history.at)
            return np.asarray(self.item_factors @ self._folded_in(rows, weights), np.float32)

        return self._columns.get(history, column, counted=counted)

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """At most n rows outside the history, best first, and their scores; empty for one without a positive."""
        return unseen(self._column(user.history), user, n)

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """The score of each of the rows; NaN for one without a positive."""
        return self._column(user.history, counted=False)[rows]

    def similar(self, row: int, n: int) -> tuple[RowArray, FloatArray]:
        """At most n other rows by the cosine of their factors, best first, and the cosines."""
        norms = np.maximum(self._norms, np.float32(1e-12))
        cosines = (self.item_factors @ self.item_factors[row]) / (norms * norms[row])
        others = cosines.astype(np.float32)
        others[row] = -np.inf
        rows = best(others, n)
        return rows, others[rows]

    @cached_property
    def _norms(self) -> FloatArray:
        return np.asarray(np.linalg.norm(self.item_factors, axis=1), np.float32)

    def save(self, folder: Path) -> None:
        """Writes the factors, their Gram matrix and the parameters into the folder, which it makes when needed."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / FACTORS_FILE, self.item_factors)
        np.save(folder / GRAM_FILE, self.gram)
        text = json.dumps({"name": self.name, "params": self.params.model_dump()}, indent=2, sort_keys=True)
        (folder / PARAMS_FILE).write_text(text + "\n", encoding="utf-8")


def load(folder: Path) -> Als:
    """The model that `Als.save` wrote, its factors memory-mapped. Raises FitError when a file is missing or wrong."""
    try:
        about = json.loads((folder / PARAMS_FILE).read_text(encoding="utf-8"))
        factors = np.asarray(np.load(folder / FACTORS_FILE, mmap_mode="r", allow_pickle=False))
        gram = np.load(folder / GRAM_FILE, allow_pickle=False)
        model = Als(factors, AlsParams(**about["params"]), about["name"])
    except (OSError, KeyError, ValueError) as error:
        raise FitError(
            f"Expected a saved ALS model ({PARAMS_FILE}, {FACTORS_FILE}, {GRAM_FILE}) in {folder}; got: {error}. "
            "Hint: train and publish the release again."
        ) from error
    if factors.ndim != 2 or gram.shape != (factors.shape[1],) * 2:
        raise FitError(
            f"Expected factors (videos, factors) and a Gram matrix that fits in {folder}; got {factors.shape} and "
            f"{gram.shape}. Hint: the files come from two models; train and publish the release again."
        )
    model.__dict__["gram"] = gram  # what cached_property would compute
    return model


def fit(
    user_codes: NDArray[np.int32],
    rows: RowArray,
    weights: FloatArray,
    n_users: int,
    n_videos: int,
    params: AlsParams | None = None,
    progress: Progress = silent,
    *,
    at: TimeArray | None = None,
) -> Als:
    """The ALS model of the events with a weight above 0, given as columns of one length.

    `at` tells when each happened, and is needed for a half-life. Several events of one person about one video count
    as the strongest of them. The same input and seed give the same model. Raises FitError when no event has a weight
    above 0, times are missing or the training extra is.
    """
    params = params or AlsParams()
    if at is not None and len(at) != len(weights):
        raise FitError(f"Expected the time of each of {len(weights)} events; got {len(at)} times.")
    users, videos, strongest = positives(user_codes, rows, params.decayed(weights, at), n_users, n_videos)
    try:
        from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415  serving works without it
        from scipy.sparse import csr_matrix  # noqa: PLC0415
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise FitError(f"Fitting ALS needs the library {error.name}. Hint: pip install 'nextreel[train]'.") from error
    # people and videos without a positive keep out: their factors are zero, and the others do not depend on how many
    people, user_of = np.unique(users, return_inverse=True)
    some, video_of = np.unique(videos, return_inverse=True)
    interactions = csr_matrix((params.confidences(strongest), (user_of, video_of)), shape=(len(people), len(some)))
    # the library runs its own threads; BLAS threads below them only get in each other's way
    with threadpool_limits(1, "blas"), progress("Fitting ALS", params.iterations) as advance:
        model = AlternatingLeastSquares(
            factors=params.factors,
            regularization=params.regularization,
            iterations=params.iterations,
            alpha=1.0,  # the matrix holds confidences
            random_state=params.seed,
            num_threads=params.threads,
        )
        model.fit(interactions, show_progress=False, callback=lambda *_: advance(1))
    factors = np.zeros((n_videos, params.factors), np.float32)
    factors[some] = model.item_factors
    return Als(factors, params)
