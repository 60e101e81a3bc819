"""An index that changes while it is searched: vectors that came later are searched exactly beside it.

The index itself stays as it was built, memory-mapped. A mask hides its rows that were removed or have another vector
by now; new vectors lie in an array of their own. Each change puts one new view in the place of the old one, so that no
search sees half a change, and none waits. Where a server is told of all changes, its search takes the place of both.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Literal, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from nextreel.folders import whole
from nextreel.retrieval import index as indexes
from nextreel.retrieval._arrays import best
from nextreel.retrieval.index import Hidden, Index, IndexKind, VectorIndexError
from nextreel.types import BoolArray, FloatArray, RowArray

CHANGES_FILE = "changes.npz"
REBUILD_AT = 20_000  # vectors beside the index, which cost each search about 0.2 ms

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """What searches see between two changes; it is read like an `Index`, and does not change."""

    base: Index
    rows: RowArray  # (m,) that have a vector beside the base, ascending
    beside: FloatArray  # (m, d)
    gone: BoolArray  # (m,) True where the row was removed: its vector is known, and no search finds it
    size: int  # rows that were ever given out
    hidden: Hidden | None = None  # rows of the base that were removed or have another vector

    def __len__(self) -> int:
        """How many rows have a vector, found or not."""
        return self.size

    @property
    def kind(self) -> IndexKind | Literal["remote"]:
        """How it is searched."""
        return self.base.kind

    @property
    def found(self) -> int:
        """How many rows a search may find."""
        hidden = 0 if self.hidden is None else self.hidden.count
        return len(self.base) - hidden + int(np.count_nonzero(~self.gone))

    @cached_property
    def vectors(self) -> FloatArray:
        """The vector of every row (size, d), in memory."""
        return self.of(np.arange(self.size))

    def of(self, rows: NDArray[np.integer]) -> FloatArray:
        """The vectors (m, d) of the rows (m,)."""
        vectors = np.empty((len(rows), self.beside.shape[1]), np.float32)
        inside = rows < len(self.base)
        vectors[inside] = self.base.vectors[rows[inside]]
        place = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        other = self.rows[place] == rows if len(self.rows) else np.zeros(len(rows), np.bool_)
        vectors[other] = self.beside[place[other]]
        return vectors

    def search(
        self, query: FloatArray, k: int, exclude: NDArray[np.integer] | None = None
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows outside `exclude` for a query (d,) and their inner products, best first.

        Fewer when fewer are left. Raises VectorIndexError for a query of another length.
        """
        rows, scores = self.base.search(query, k, exclude, self.hidden)
        if len(self.rows) == 0:
            return rows, scores
        near = np.asarray(self.beside @ query, np.float32)
        near[self.gone] = -np.inf
        if exclude is not None:
            near[np.isin(self.rows, exclude)] = -np.inf
        chosen = best(near, k)
        rows, scores = np.concatenate([rows, self.rows[chosen]]), np.concatenate([scores, near[chosen]])
        order = np.lexsort((rows, -scores))[:k]
        return rows[order], scores[order]

    def scores(self, query: FloatArray) -> FloatArray:
        """The inner product of every row (size,) with a query (d,)."""
        scores = np.empty(self.size, np.float32)
        scores[: len(self.base)] = self.base.scores(query)
        scores[self.rows] = self.beside @ query
        return scores

    def best(
        self, scores: FloatArray, k: int, exclude: NDArray[np.integer] | None = None
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows that a search may find outside `exclude` by given scores (size,), and these, best first."""
        scores = scores.copy()
        if self.hidden is not None:
            removed = self.hidden.mask.copy()
            removed[self.rows[self.rows < len(self.base)]] = False  # those have another vector
            scores[: len(self.base)][removed] = -np.inf
        scores[self.rows[self.gone]] = -np.inf
        if exclude is not None:
            scores[exclude[exclude < self.size]] = -np.inf
        rows = best(scores, k)
        return rows, scores[rows]

    def has(self, rows: RowArray) -> BoolArray:
        """Which of the rows, all given out, a search may find."""
        found = np.isin(rows, self.rows[~self.gone])
        inside = rows < len(self.base)
        found[inside] |= True if self.hidden is None else ~self.hidden.mask[rows[inside]]
        return found

    def without(self, rows: RowArray) -> View:
        """The view in which no search finds the rows."""
        hidden, inside = self.hidden, rows[rows < len(self.base)]
        if len(inside):
            mask = np.zeros(len(self.base), np.bool_) if hidden is None else hidden.mask.copy()
            mask[inside] = True
            hidden = Hidden.of(mask)
        return replace(self, gone=self.gone | np.isin(self.rows, rows), hidden=hidden)

    def told(self, rows: RowArray, vectors: FloatArray) -> View:
        """The view with these vectors for these rows, which no search of the base finds."""
        if len(rows) == 0:
            return self
        kept = ~np.isin(self.rows, rows)
        joined = np.concatenate([self.rows[kept], rows])
        order = np.argsort(joined)
        return replace(
            self,
            rows=joined[order],
            beside=np.concatenate([self.beside[kept], vectors])[order],
            gone=np.concatenate([self.gone[kept], np.zeros(len(rows), np.bool_)])[order],
            size=max(self.size, int(rows.max(initial=-1)) + 1),
        )


class Remote(Protocol):
    """A server that searches the vectors of all rows, such as `SharedVectors`; it may be ahead of a view, or behind."""

    def search(
        self, query: FloatArray, k: int, exclude: NDArray[np.integer] | None, below: int
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows outside `exclude` and below a row for a query (d,) and their inner products, best first."""


@dataclass(frozen=True)
class RemoteView(View):
    """A view that asks a server which rows are nearest; whether they are there, and their vectors, it knows itself."""

    remote: Remote = field(kw_only=True)

    @property
    def kind(self) -> Literal["remote"]:
        """How it is searched."""
        return "remote"

    def search(
        self, query: FloatArray, k: int, exclude: NDArray[np.integer] | None = None
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows outside `exclude` for a query (d,) and their inner products, best first.

        Fewer when fewer are left. Raises VectorIndexError for a query of another length, and when the server fails.
        """
        rows, _ = self.remote.search(query, k, exclude, self.size)
        rows = rows[self.has(rows)]
        scores = np.asarray(self.of(rows) @ query, np.float32)
        order = np.lexsort((rows, -scores))
        return rows[order], scores[order]


@dataclass
class LiveIndex:
    """An index whose rows can be added, given another vector and removed while other threads search.

    Rows keep their numbers; a number is never given out twice. What is changed is found, or not, by the next search.

    >>> live = LiveIndex(indexes.build(np.eye(2, dtype=np.float32)))
    >>> live.add(np.array([[0.6, 0.8]], np.float32)).tolist()
    [2]
    >>> live.remove(np.array([1]))
    1
    >>> live.search(np.array([0, 1], np.float32), 5)[0].tolist()
    [2, 0]
    """

    base: Index
    rebuild_at: int = REBUILD_AT  # vectors beside the index from which on a warning asks for a new one
    remote: Remote | None = None  # who searches, and is told of all changes; None: the index itself
    _view: View = field(init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _warned: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        empty = np.empty((0, self.base.vectors.shape[1]), np.float32)
        whole = (self.base, np.empty(0, np.int32), empty, np.empty(0, np.bool_), len(self.base))
        self._view = View(*whole) if self.remote is None else RemoteView(*whole, remote=self.remote)

    def __len__(self) -> int:
        """How many rows a search may find."""
        return self._view.found

    @property
    def view(self) -> View:
        """What searches see now; later changes do not reach it."""
        return self._view

    def fork(self) -> LiveIndex:
        """Another index, which is as this one is now; neither hears of the other's changes."""
        other = LiveIndex(self.base, self.rebuild_at, self.remote)
        other._view, other._warned = self._view, self._warned
        return other

    def search(
        self, query: FloatArray, k: int, exclude: NDArray[np.integer] | None = None
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows outside `exclude` for a query (d,) and their inner products, best first.

        Fewer when fewer are left. Raises VectorIndexError for a query of another length.
        """
        return self._view.search(query, k, exclude)

    def add(self, vectors: FloatArray) -> RowArray:
        """The new rows of the vectors (m, d), numbered on from the last one.

        Raises VectorIndexError for vectors of another length or that are not finite.
        """
        vectors = self._checked(vectors)
        with self._lock:
            size = self._view.size
            rows = np.arange(size, size + len(vectors), dtype=np.int32)
            self._view = self._view.told(rows, vectors)
            self._tell()
        return rows

    def update(self, rows: NDArray[np.integer], vectors: FloatArray) -> None:
        """Gives each of the rows (m,) another vector; one that was removed is there again.

        Raises VectorIndexError for rows that were never given out or that repeat, and for vectors as `add` does.
        """
        vectors = self._checked(vectors)
        with self._lock:
            known = self._known(rows)
            indexes.check_pairs(known, vectors)
            self._view = self._view.without(known).told(known, vectors)
            self._tell()

    def remove(self, rows: NDArray[np.integer]) -> int:
        """How many of the rows were there; no search finds them any more.

        Raises VectorIndexError for rows that were never given out.
        """
        with self._lock:
            known = np.unique(self._known(rows))
            there = int(np.count_nonzero(self._view.has(known)))
            self._view = self._view.without(known)
        return there

    def save(self, folder: Path) -> None:
        """Writes the index, if it is not there yet, and all changes to it, which a reader gets whole or not at all."""
        with self._lock:
            view = self._view
            if not (folder / indexes.PARAMS_FILE).exists():
                self.base.save(folder)
            removed = np.empty(0, np.int32) if view.hidden is None else np.flatnonzero(view.hidden.mask)
            with whole(folder / CHANGES_FILE) as part, part.open("wb") as file:
                sizes = [len(self.base), view.size]
                np.savez(file, rows=view.rows, vectors=view.beside, gone=view.gone, hidden=removed, sizes=sizes)

    def _checked(self, vectors: FloatArray) -> FloatArray:
        vectors = indexes.checked(vectors)
        if vectors.shape[1] != self.base.vectors.shape[1]:
            raise VectorIndexError(
                f"Expected vectors of {self.base.vectors.shape[1]} dimensions; got {vectors.shape[1]}. "
                "Hint: were they made by the towers of another release?"
            )
        return vectors

    def _known(self, rows: NDArray[np.integer]) -> RowArray:
        strange = rows[(rows < 0) | (rows >= self._view.size)]
        if len(strange):
            raise VectorIndexError(f"Expected rows from 0 to {self._view.size - 1}; got {int(strange[0])}.")
        return np.asarray(rows, np.int32)

    def _tell(self) -> None:
        beside = len(self._view.rows)
        if beside > self.rebuild_at and self.remote is None and not self._warned:
            self._warned = True
            log.warning(
                "%d vectors lie beside an index of %d, and every search looks at each of them. "
                "Hint: train and publish a release, which builds the index again.", beside, len(self.base)
            )  # fmt: skip


def load(folder: Path, rebuild_at: int = REBUILD_AT) -> LiveIndex:
    """The index that a live index or a plain one wrote, with its changes. Raises VectorIndexError for bad files."""
    live = LiveIndex(indexes.load(folder), rebuild_at)
    path = folder / CHANGES_FILE
    if not path.exists():
        return live
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            rows, vectors, gone, hidden = (saved[name] for name in ("rows", "vectors", "gone", "hidden"))
            length, size = saved["sizes"].tolist()
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
        raise VectorIndexError(
            f"Expected the changes of an index in {path}; got: {error}. Hint: remove the file to go without them."
        ) from error
    if length != len(live.base):
        raise VectorIndexError(
            f"Expected changes of an index of {len(live.base)} rows in {path}; got those of one of {length}. "
            "Hint: the files come from two builds; remove the changes to go without them."
        )
    view = live._view.without(np.asarray(hidden, np.int32)).told(np.asarray(rows, np.int32), vectors)
    live._view = replace(view, gone=gone, size=size)
    return live
