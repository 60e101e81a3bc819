"""Item-item models: cosine neighbours and EASE, one model class for both.

Fitting needs the training extra (SciPy); a fitted model is NumPy alone. A person's score of a video is the sum of the
weights from the watched videos to it, so people and events newer than the fit count at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nextreel.history import liked
from nextreel.params import Params
from nextreel.retrieval._arrays import Cache, FitError, best, columns, positives, unseen
from nextreel.types import UNKNOWN, FloatArray, Request, RowArray, UserState

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

DENSE_VIDEOS = 6000  # largest catalogue whose weights are kept whole: 144 MB
WIDE_NEIGHBOURS = 200  # weights kept for each video of a larger one
BLOCK_CELLS = 16_000_000  # of a dense block of weights while neighbours are chosen: 64 MB
ABOUT_FILE = "item_item.json"
DENSE_FILE = "weights.npy"
LINES_FILE = "lines.npy"
NEIGHBOURS_FILE = "neighbours.npy"


class ItemItemParams(Params):
    """Hyper-parameters of item-item models."""

    l2: float = Field(default=2000.0, gt=0)  # EASE only: the ridge on the diagonal
    # largest weights kept for each video; None keeps all in a catalogue of at most DENSE_VIDEOS, else WIDE_NEIGHBOURS
    neighbours: int | None = Field(default=None, ge=1)
    max_videos: int | None = Field(default=None, ge=1)  # only the most watched take part; None: all with a positive
    half_life: float | None = Field(default=None, gt=0)  # events after which a watched video counts half; None: never
    max_history: int | None = Field(default=None, ge=1)  # newest distinct videos that count; None: all


@dataclass(frozen=True)
class Sparse:
    """The largest weights of each video that has any, in a line of its own: whole lines are read at once.

    A line that has fewer ends with weights of 0, towards any row.
    """

    lines: NDArray[np.int32]  # (videos,) which line is the video's; UNKNOWN for a video without one
    neighbours: RowArray  # (lines, kept)
    values: FloatArray  # (lines, kept)

    @classmethod
    def of(cls, videos: NDArray[np.integer[Any]], neighbours: RowArray, values: FloatArray, n_videos: int) -> Sparse:
        """The lines (lines, kept) of the given videos (lines,) among so many."""
        lines = np.full(n_videos, UNKNOWN, np.int32)
        lines[videos] = np.arange(len(videos))
        return cls(lines, neighbours, values)


@dataclass(frozen=True)
class ItemItem:
    """A fitted item-item model; a retriever named "item_item" or "ease".

    >>> weights = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], np.float32)
    >>> ItemItem("item_item", weights, ItemItemParams()).scores(np.array([0]), np.ones(1, np.float32))
    array([0., 1., 0.], dtype=float32)
    """

    name: str
    weights: FloatArray | Sparse  # dense: (videos, videos), from the watched video to the proposed one
    params: ItemItemParams
    _scores: Cache[FloatArray] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_scores", columns(len(self), self.name))

    def __len__(self) -> int:
        return len(self.weights.lines) if isinstance(self.weights, Sparse) else len(self.weights)

    def scores(self, rows: RowArray, weights: FloatArray) -> FloatArray:
        """The score of every video (videos,) for a history of rows and relevance weights, oldest first.

        Each distinct row with a weight above 0 counts once, 0.5 ** (newer distinct rows / half_life) with a half-life.
        """
        return self._sum(*liked(rows, weights))

    def _sum(self, rows: RowArray, _: FloatArray) -> FloatArray:
        """The same for rows without repeats and weights above 0."""
        if self.params.max_history is not None:
            rows = rows[-self.params.max_history :]
        if len(rows) == 0:
            return np.zeros(len(self), np.float32)
        decay = np.ones(len(rows), np.float32)
        if self.params.half_life is not None:
            decay = np.exp2(-np.arange(len(rows) - 1, -1, -1) / self.params.half_life).astype(np.float32)
        if isinstance(self.weights, Sparse):
            lines = self.weights.lines[rows]
            lines, decay = lines[lines >= 0], decay[lines >= 0]
            parts = self.weights.values.take(lines, 0) * decay[:, None]
            return np.bincount(self.weights.neighbours.take(lines, 0).ravel(), parts.ravel(), len(self)).astype(
                np.float32
            )
        return np.asarray(decay @ self.weights[rows], np.float32)

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """At most n rows outside the history with a score other than 0, best first, and their scores."""
        scores = self._scores.get(user.history, self._sum)
        rows, values = unseen(scores, user, n)
        return rows[values != 0], values[values != 0]

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """The score of each of the rows; NaN for a person none of whose positives is in the model."""
        scores = self._scores.get(user.history, self._sum, counted=False)
        if not scores.any():
            return np.full(len(rows), np.nan, np.float32)
        return scores[rows]

    def similar(self, row: int, n: int) -> tuple[RowArray, FloatArray]:
        """At most n other rows with the largest weights above 0 from this one, best first, and the weights."""
        column = self._from(row)
        rows = best(column, n)
        return rows[column[rows] > 0], column[rows][column[rows] > 0]

    def _from(self, row: int) -> FloatArray:
        """The weights from one video to all: (videos,)."""
        if not isinstance(self.weights, Sparse):
            return np.asarray(self.weights[row], np.float32)
        column = np.zeros(len(self), np.float32)
        line = self.weights.lines[row]
        if line >= 0:
            some = self.weights.values[line] != 0
            column[self.weights.neighbours[line][some]] = self.weights.values[line][some]
        return column

    def save(self, folder: Path) -> None:
        """Writes weights and parameters into the folder, which it makes when needed."""
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(self.weights, Sparse):
            np.save(folder / LINES_FILE, self.weights.lines)
            np.save(folder / NEIGHBOURS_FILE, self.weights.neighbours)
            np.save(folder / DENSE_FILE, self.weights.values)
        else:
            np.save(folder / DENSE_FILE, self.weights)
        about = {
            "name": self.name,
            "layout": "sparse" if isinstance(self.weights, Sparse) else "dense",
            "videos": len(self),
            "params": self.params.model_dump(),
        }
        (folder / ABOUT_FILE).write_text(json.dumps(about, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: Path) -> ItemItem:
    """The model that `ItemItem.save` wrote, memory-mapped. Raises FitError when a file is missing or wrong."""
    try:
        about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
        values = _mapped(folder / DENSE_FILE)
        weights: FloatArray | Sparse = values
        if about["layout"] == "sparse":
            weights = Sparse(_mapped(folder / LINES_FILE), _mapped(folder / NEIGHBOURS_FILE), values)
        model = ItemItem(about["name"], weights, ItemItemParams(**about["params"]))
        expected = int(about["videos"])
    except (OSError, KeyError, ValueError) as error:
        raise FitError(
            f"Expected a saved item-item model ({ABOUT_FILE}, {DENSE_FILE}) in {folder}; got: {error}. "
            "Hint: train and publish the release again."
        ) from error
    if len(model) != expected:
        raise FitError(
            f"Expected weights of {expected} videos in {folder}; got {len(model)}. "
            "Hint: the files come from two models; train and publish the release again."
        )
    return model


def _mapped(path: Path) -> NDArray[Any]:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def fit_cosine(
    user_codes: NDArray[np.int32],
    rows: RowArray,
    weights: FloatArray,
    n_users: int,
    n_videos: int,
    params: ItemItemParams | None = None,
) -> ItemItem:
    """The model whose weight between two videos is the cosine of the sets of people who watched them.

    w_ij = |U_i and U_j| / sqrt(|U_i| |U_j|), w_ii = 0; events with a weight above 0 count.
    Source: Sarwar et al., Item-based collaborative filtering recommendation algorithms, WWW (2001).
    """
    params = params or ItemItemParams()
    watched, chosen = _watched(user_codes, rows, weights, n_users, n_videos, params)
    sizes = np.sqrt(np.asarray(watched.sum(axis=0), np.float64).ravel())
    scale = np.divide(1.0, sizes, out=np.zeros_like(sizes), where=sizes > 0).astype(np.float32)
    by_video = watched.T.tocsr()

    def block(start: int, stop: int) -> FloatArray:
        common = np.asarray((by_video[start:stop] @ watched).toarray(), np.float32)
        common *= scale[start:stop, None] * scale
        common[np.arange(stop - start), np.arange(start, stop)] = 0.0
        return common

    return ItemItem("item_item", _assemble(block, chosen, n_videos, params), params)


def fit_ease(
    user_codes: NDArray[np.int32],
    rows: RowArray,
    weights: FloatArray,
    n_users: int,
    n_videos: int,
    params: ItemItemParams | None = None,
) -> ItemItem:
    """The EASE model: the ridge regression of every video on all others, solved in closed form.

    With P = (XtX + l2 I)^-1: B_ij = -P_ij / P_jj, B_ii = 0; events with a weight above 0 count. Time grows with the
    cube and memory with the square of the videos that take part: set `max_videos` for large catalogues.
    Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW (2019).
    """
    params = params or ItemItemParams()
    watched, chosen = _watched(user_codes, rows, weights, n_users, n_videos, params)
    gram = np.asarray((watched.T @ watched).toarray(), np.float32)
    gram[np.diag_indices_from(gram)] += np.float32(params.l2)
    solution = np.linalg.inv(gram)
    del gram
    solution /= -np.diag(solution)  # a copy of the diagonal is taken before the division
    np.fill_diagonal(solution, 0.0)
    return ItemItem("ease", _assemble(lambda start, stop: solution[start:stop], chosen, n_videos, params), params)


def _watched(
    user_codes: NDArray[np.int32],
    rows: RowArray,
    weights: FloatArray,
    n_users: int,
    n_videos: int,
    params: ItemItemParams,
) -> tuple[csr_matrix, RowArray]:
    """Who watched what as a (users, chosen) matrix of ones, and the catalogue rows of its columns, ascending."""
    users, videos, _ = positives(user_codes, rows, weights, n_users, n_videos)
    try:
        from scipy.sparse import csr_matrix  # noqa: PLC0415  serving works without it
    except ImportError as error:
        raise FitError(f"Fitting needs the library {error.name}. Hint: pip install 'nextreel[train]'.") from error
    counts = np.bincount(videos, minlength=n_videos)
    chosen = np.flatnonzero(counts)
    if params.max_videos is not None and len(chosen) > params.max_videos:
        chosen = np.sort(np.argsort(-counts, kind="stable")[: params.max_videos])
    column = np.full(n_videos, -1, np.int64)
    column[chosen] = np.arange(len(chosen))
    keep = column[videos] >= 0
    ones = np.ones(int(keep.sum()), np.float32)
    matrix = csr_matrix((ones, (users[keep], column[videos[keep]])), shape=(n_users, len(chosen)))
    return matrix, chosen.astype(np.int32)


def _assemble(
    block: Callable[[int, int], FloatArray],  # (start, stop) -> dense weights (stop - start, chosen)
    chosen: RowArray,
    n_videos: int,
    params: ItemItemParams,
) -> FloatArray | Sparse:
    """The weights over the whole catalogue from blocks of rows over the chosen videos."""
    step = max(1, BLOCK_CELLS // len(chosen))
    starts = range(0, len(chosen), step)
    if params.neighbours is None and n_videos <= DENSE_VIDEOS:
        dense = np.zeros((n_videos, n_videos), np.float32)
        for start in starts:
            stop = min(start + step, len(chosen))
            dense[np.ix_(chosen[start:stop], chosen)] = block(start, stop)
        return dense
    kept = min(params.neighbours or WIDE_NEIGHBOURS, len(chosen))
    neighbours, values = [], []
    for start in starts:
        part = block(start, min(start + step, len(chosen)))
        # by size, not by sign: EASE's negative weights say as much as its positive ones
        places = np.sort(np.argpartition(-np.abs(part), kept - 1, axis=1)[:, :kept], axis=1)
        neighbours.append(chosen[places])
        values.append(np.take_along_axis(part, places, axis=1))
    return Sparse.of(chosen, np.concatenate(neighbours), np.concatenate(values).astype(np.float32), n_videos)
