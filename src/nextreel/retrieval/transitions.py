"""Decayed transitions: what people watch soon after a video. Fitting needs the training extra (SciPy)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nextreel.params import Params
from nextreel.retrieval._arrays import FitError
from nextreel.retrieval.item_item import ItemItem, ItemItemParams, Sparse
from nextreel.types import BoolArray, FloatArray, RowArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class TransitionParams(Params):
    """Hyper-parameters of the transitions."""

    window: int = Field(default=10, ge=1)  # how many events later a video may follow and still count
    window_decay: float = Field(default=0.7, gt=0, le=1)  # the weight of a pair falls so with each event between
    discount: float = Field(default=1.0, ge=0, le=1)  # pairs are divided by the first video's count to this power
    prior: float = Field(default=20.0, ge=0)  # events added to that count: few pairs say little
    neighbours: int = Field(default=300, ge=1)  # largest weights kept for each video
    half_life: float = Field(default=3.0, gt=0)  # events after which a watched video counts half
    max_history: int = Field(default=30, ge=1)  # newest distinct videos that count


def fit_transitions(
    user_codes: NDArray[np.int32],
    rows: RowArray,
    weights: FloatArray,
    n_users: int,
    n_videos: int,
    params: TransitionParams | None = None,
) -> ItemItem:
    """The model named "transitions": w_ij grows with how often, and how soon, j was watched after i.

    w_ij = sum over l = 1 .. window of window_decay^(l - 1) c_ij(l) / (c_i + prior)^discount, with c_ij(l) how often j
    came l events after i in one history and c_i how often i was watched; events (oldest first) with a weight above 0
    count. A person's score of j is the sum of w_ij over the newest videos, halved with every `half_life` of them.
    Raises FitError when no event has a weight above 0 or the training extra is missing.
    """
    params = params or TransitionParams()
    try:
        from scipy.sparse import csr_matrix  # noqa: PLC0415  serving works without it
    except ImportError as error:
        raise FitError(f"Fitting needs the library {error.name}. Hint: pip install 'nextreel[train]'.") from error
    keep = (weights > 0) & (rows >= 0)
    if not keep.any():
        raise FitError(
            f"Expected at least one event about a video with a weight above 0; got none in {len(rows)} events. "
            "Hint: check how the relevance weights are made from event kinds and values."
        )
    order = np.flatnonzero(keep)[np.argsort(user_codes[keep], kind="stable")]
    user, video = user_codes[order], rows[order]
    follows = csr_matrix((n_videos, n_videos), dtype=np.float32)
    for lag in range(1, min(params.window, len(video) - 1) + 1):
        pair: BoolArray = (user[lag:] == user[:-lag]) & (video[lag:] != video[:-lag])
        ones = np.full(int(pair.sum()), params.window_decay ** (lag - 1), np.float32)
        follows = follows + csr_matrix((ones, (video[:-lag][pair], video[lag:][pair])), shape=follows.shape)
    counts = np.bincount(video, minlength=n_videos)
    scale = (1.0 / np.maximum(counts + params.prior, 1.0) ** params.discount).astype(np.float32)
    follows.sum_duplicates()
    served = ItemItemParams(half_life=params.half_life, max_history=params.max_history, neighbours=params.neighbours)
    return ItemItem("transitions", _largest(follows, scale, params.neighbours), served)


def _largest(follows: csr_matrix, scale: FloatArray, kept: int) -> Sparse:
    """The `kept` largest weights of each row that has any, scaled, largest first."""
    n = follows.shape[0]
    counts = np.diff(follows.indptr)
    row = np.repeat(np.arange(n), counts)
    order = np.lexsort((follows.indices, -follows.data, row))  # ties by the neighbour
    place = np.arange(len(order)) - np.repeat(follows.indptr[:-1], counts)
    order, place = order[place < kept], place[place < kept]
    some, line = np.unique(row[order], return_inverse=True)
    shape = (len(some), min(kept, int(counts.max(initial=1))))
    neighbours, values = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    neighbours[line, place] = follows.indices[order]
    values[line, place] = follows.data[order] * scale[row[order]]
    return Sparse.of(some, neighbours, values, n)
