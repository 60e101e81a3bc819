"""What is like videos that a person liked, by the vectors of the videos: nearest to the last few of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from pydantic import Field

from nextreel.params import Params
from nextreel.retrieval._arrays import CACHE_BYTES, Cache, best
from nextreel.retrieval.index import Index, IndexParams, build
from nextreel.types import FloatArray, Request, RowArray, UserState

QUERIES_KEPT = 8  # about as many queries a person has: what the cache counts with


class SimilarParams(Params):
    """Hyper-parameters of what is similar to the last videos."""

    last: int = Field(default=10, ge=1)  # newest liked videos that are looked around


@dataclass(frozen=True)
class Nearest:
    """The videos nearest to any of several unit vectors that stand for a person; a retriever of the given name.

    The score of a video is its largest cosine with one of them: what is near two of them comes once. A video that the
    index does not hold has no score.

    >>> index = build(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32))
    >>> similar(index).scores(np.array([0], np.int32)).round(1)
    array([1. , 0. , 0.6], dtype=float32)
    """

    name: str
    index: Index  # of unit vectors
    queries: Callable[[FloatArray], FloatArray]  # vectors of liked videos (l, dim), oldest first -> units (q, dim)
    _cache: Cache[FloatArray] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        size = len(self.index) if self._exact else QUERIES_KEPT * self.index.vectors.shape[1]
        object.__setattr__(self, "_cache", Cache[FloatArray](CACHE_BYTES // (4 * max(1, size)), self.name))

    @property
    def _exact(self) -> bool:
        return self.index.kind == "flat"

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """At most n rows outside the history, best first, and their scores; empty for one who liked nothing."""
        found = self._cache.get(user.history, self._prepared)
        if len(found) == 0:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        exclude = np.unique(user.history.rows)
        if self._exact:
            return self.index.best(found, n, exclude)
        near = [self.index.search(query, n, exclude)[0] for query in found]
        rows = np.unique(np.concatenate(near)).astype(np.int32)
        scores = self._largest(found, rows)
        chosen = best(scores, n)
        return rows[chosen], scores[chosen]

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """The score of each of the rows; NaN for one who liked nothing, and for rows the index does not hold."""
        found = self._cache.get(user.history, self._prepared, counted=False)
        scores = np.full(len(rows), np.nan, np.float32)
        if len(found):
            known = (rows >= 0) & (rows < len(self.index))
            scores[known] = found[rows[known]] if self._exact else self._largest(found, rows[known])
        return scores

    def scores(self, liked: RowArray) -> FloatArray:
        """The score of every video of the index (n,) for liked rows, oldest first; empty where none is in the index."""
        queries = self._queries(liked)
        return self._largest(queries, None) if len(queries) else np.empty(0, np.float32)

    def _prepared(self, liked: RowArray, _: FloatArray) -> FloatArray:
        """What is remembered of a person: all scores (n,) where search is exact, else the queries (q, dim)."""
        return self.scores(liked) if self._exact else self._queries(liked)

    def _queries(self, liked: RowArray) -> FloatArray:
        vectors = np.asarray(self.index.vectors[liked[liked < len(self.index)]], np.float32)
        vectors = vectors[vectors.any(axis=1)]  # a video that nobody watched may have no direction
        return self.queries(vectors) if len(vectors) else vectors

    def _largest(self, queries: FloatArray, rows: RowArray | None) -> FloatArray:
        vectors = self.index.vectors if rows is None else self.index.vectors[rows]
        return np.asarray((vectors @ queries.T).max(axis=1, initial=-1.0), np.float32)


def similar(index: Index, params: SimilarParams | None = None) -> Nearest:
    """The retriever named "similar": what is nearest to one of the last liked videos."""
    params = params or SimilarParams()
    return Nearest("similar", index, lambda vectors: vectors[-params.last :])


def directions(factors: FloatArray) -> Index:
    """The index, searched exactly, of factors (n, dim) brought to unit length; those that are zero stay so."""
    lengths = np.linalg.norm(factors, axis=1, keepdims=True)
    return build(factors / np.maximum(lengths, np.float32(1e-12)), IndexParams(kind="flat"))
