"""An index that changes while it is searched: vectors that came later are searched exactly beside it.

The index itself stays as it was built, memory-mapped. A mask hides its rows that were removed or have another vector
by now; new vectors lie in an array of their own. Each change puts one new view in the place of the old one, so that no
search sees half a change, and none waits.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from nextreel.folders import whole
from nextreel.retrieval import index as indexes
from nextreel.retrieval._arrays import best
from nextreel.retrieval.index import Hidden, Index, VectorIndexError
from nextreel.types import FloatArray, RowArray

CHANGES_FILE = "changes.npz"
REBUILD_AT = 20_000  # vectors beside the index, which cost each search about 0.2 ms

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _View:
    """What searches see between two changes."""

    base: Index
    rows: RowArray  # (m,) that have a vector beside the base, ascending
    vectors: FloatArray  # (m, d)
    size: int  # rows that were ever given out
    hidden: Hidden | None = None  # rows of the base that were removed or have another vector

    def has(self, rows: RowArray) -> NDArray[np.bool_]:
        """Which of the rows, all given out, a search may find."""
        found = np.isin(rows, self.rows)
        inside = rows < len(self.base)
        found[inside] |= True if self.hidden is None else ~self.hidden.mask[rows[inside]]
        return found

    def without(self, rows: RowArray) -> _View:
        """The view in which no search finds the rows."""
        kept = ~np.isin(self.rows, rows)
        hidden, inside = self.hidden, rows[rows < len(self.base)]
        if len(inside):
            mask = np.zeros(len(self.base), np.bool_) if hidden is None else hidden.mask.copy()
            mask[inside] = True
            hidden = Hidden.of(mask)
        return replace(self, rows=self.rows[kept], vectors=self.vectors[kept], hidden=hidden)

    def beside(self, rows: RowArray, vectors: FloatArray) -> _View:
        """The view with these vectors for these rows, which it does not have yet."""
        joined = np.concatenate([self.rows, rows])
        order = np.argsort(joined)
        size = max(self.size, int(rows.max(initial=-1)) + 1)
        return replace(self, rows=joined[order], vectors=np.concatenate([self.vectors, vectors])[order], size=size)


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
    _view: _View = field(init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _warned: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        empty = np.empty((0, self.base.vectors.shape[1]), np.float32)
        self._view = _View(self.base, np.empty(0, np.int32), empty, len(self.base))

    def __len__(self) -> int:
        """How many rows a search may find."""
        view = self._view
        return len(self.base) - (0 if view.hidden is None else view.hidden.count) + len(view.rows)

    def search(
        self, query: FloatArray, k: int, exclude: NDArray[np.integer] | None = None
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows outside `exclude` for a query (d,) and their inner products, best first.

        Fewer when fewer are left. Raises VectorIndexError for a query of another length.
        """
        view = self._view
        rows, scores = view.base.search(query, k, exclude, view.hidden)
        if len(view.rows) == 0:
            return rows, scores
        beside = np.asarray(view.vectors @ query, np.float32)
        if exclude is not None:
            beside[np.isin(view.rows, exclude)] = -np.inf
        near = best(beside, k)
        rows, scores = np.concatenate([rows, view.rows[near]]), np.concatenate([scores, beside[near]])
        order = np.lexsort((rows, -scores))[:k]
        return rows[order], scores[order]

    def add(self, vectors: FloatArray) -> RowArray:
        """The new rows of the vectors (m, d), numbered on from the last one.

        Raises VectorIndexError for vectors of another length or that are not finite.
        """
        vectors = self._checked(vectors)
        with self._lock:
            size = self._view.size
            rows = np.arange(size, size + len(vectors), dtype=np.int32)
            self._view = self._view.beside(rows, vectors)
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
            self._view = self._view.without(known).beside(known, vectors)
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
                np.savez(file, rows=view.rows, vectors=view.vectors, hidden=removed, sizes=[len(self.base), view.size])

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
        if beside > self.rebuild_at and not self._warned:
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
            rows, vectors, hidden = (saved[name] for name in ("rows", "vectors", "hidden"))
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
    view = live._view.without(np.asarray(hidden, np.int32)).beside(np.asarray(rows, np.int32), vectors)
    live._view = replace(view, size=size)
    return live
