"""The vector index: nearest rows by inner product; its kind is chosen by size, memory and measured recall.

A small catalogue is searched exactly, by a product with all vectors; larger ones by FAISS. What an approximate search
finds is measured when it is built, against the exact answer, and it is made as wide as the wanted recall needs.

A folder holds `index.json`, `vectors.npy` (memory-mapped when read) and, unless it is flat, `index.faiss`.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nextreel.params import Params
from nextreel.retrieval import _faiss, _recall
from nextreel.retrieval._arrays import best
from nextreel.types import BoolArray, FloatArray, NextreelError, RowArray

VECTORS_FILE = "vectors.npy"
FAISS_FILE = "index.faiss"
PARAMS_FILE = "index.json"
REFINED = 2  # times as many rows as are wanted are judged by their vectors, where the index knows codes alone
NARROWEST = 4  # lists that are visited first, before recall asks for more
MOST_VISITED = 0.25  # share of the lists or nodes; a search that visits more is no cheaper than the exact one

IndexKind = Literal["flat", "hnsw", "ivf", "sq8"]

log = logging.getLogger(__name__)


class VectorIndexError(NextreelError):
    """Vectors that cannot be indexed or searched, or a saved index that cannot be read."""


class IndexParams(Params):
    """When which kind of index is built, and how widely it is searched."""

    kind: Literal["auto", "flat", "hnsw", "ivf", "sq8"] = "auto"  # sq8: IVF with a byte for each number
    flat_up_to: int = Field(default=20_000, ge=0)  # rows; exact search costs 0.2 ms there
    hnsw_up_to: int = Field(default=200_000, ge=0)  # rows; above, IVF builds faster and takes less memory
    memory_limit_mb: int = Field(default=500, ge=1)  # of the index beside the vectors; what does not fit is not chosen
    recall_at_least: float = Field(default=0.98, gt=0, le=1)  # of the exact answer, measured when the index is built
    recall_at: int = Field(default=100, ge=1)  # rows of an answer that recall is measured by
    recall_queries: int = Field(default=200, ge=1)
    links: int = Field(default=32, ge=2)  # HNSW: neighbours per node
    build_width: int = Field(default=80, ge=1)  # HNSW: efConstruction
    search_width: int = Field(default=0, ge=0)  # HNSW: efSearch, raised to twice the k asked for; 0 = by recall
    lists: int = Field(default=0, ge=0)  # IVF: inverted lists; 0 = 4 x the root of the rows
    probes: int = Field(default=0, ge=0)  # IVF: lists visited; 0 = by recall
    seed: int = Field(default=42, ge=0)

    def kinds_for(self, n: int, d: int) -> tuple[IndexKind, ...]:
        """The kinds of index that n rows of d dimensions may get, the first that finds enough being taken.

        Flat ends the line: it is exact, and takes no memory beside the vectors.
        """
        if self.kind != "auto":
            return (self.kind,)
        if n <= self.flat_up_to:
            return ("flat",)

        def fits(kind: _faiss.Approximate) -> bool:
            return _faiss.expected_bytes(kind, n, d, self) <= self.memory_limit_mb * 1_000_000

        lists: _faiss.Approximate = "ivf" if fits("ivf") else "sq8"
        order: tuple[_faiss.Approximate, ...] = ("hnsw", lists) if n <= self.hnsw_up_to else (lists, "hnsw")
        return (*(kind for kind in order if fits(kind)), "flat")

    def width(self, kind: IndexKind) -> int:
        """The width that was set for a kind of index; 0 where recall chooses it."""
        return self.search_width if kind == "hnsw" else self.probes


@dataclass(frozen=True)
class Measured:
    """What an approximate index was measured to find when it was built, and what that costs."""

    recall: float  # share of the exact answer that a search finds
    at: int  # rows of an answer
    queries: int
    milliseconds: float  # per query, on one thread
    bytes: int  # of index.faiss


@dataclass(frozen=True)
class Hidden:
    """Rows of an index that no search finds."""

    mask: BoolArray  # (n,)
    visible: NDArray[np.uint8]  # a bit for each row, lowest first: what may be found
    count: int

    @classmethod
    def of(cls, mask: BoolArray) -> Hidden:
        """The rows where the mask is True."""
        return cls(mask, np.packbits(~mask, bitorder="little"), int(np.count_nonzero(mask)))


@dataclass(frozen=True)
class Index:
    """Rows searched by inner product; row r is `vectors[r]`."""

    vectors: FloatArray  # (n, d), perhaps memory-mapped
    params: IndexParams
    kind: IndexKind
    engine: Any = None  # the FAISS index, whose library is not typed; None where the vectors are all there is
    width: int = 0  # of a search: efSearch or lists visited; 0 where it is exact
    measured: Measured | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def of(self, rows: NDArray[np.integer]) -> FloatArray:
        """The vectors (m, d) of the rows (m,)."""
        return np.asarray(self.vectors[rows], np.float32)

    def search(
        self, query: FloatArray, k: int, exclude: NDArray[np.integer] | None = None, hidden: Hidden | None = None
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows outside `exclude` and `hidden` for a query (d,) and their inner products, best first.

        Fewer when fewer are left. Raises VectorIndexError for a query of another length.
        """
        if query.shape != self.vectors.shape[1:]:
            raise VectorIndexError(f"Expected a query of shape {self.vectors.shape[1:]}; got {query.shape}.")
        k = min(k, len(self) - (0 if hidden is None else hidden.count))
        if k <= 0:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        if self.kind == "flat":
            scores = self.scores(query)
            if hidden is not None:
                scores[hidden.mask] = -np.inf
            return self.best(scores, k, exclude)
        visible = None if hidden is None else (hidden.visible, len(self) - hidden.count)
        wanted = min(REFINED * k, len(self)) if self.kind == "sq8" else k
        rows, scores = _faiss.search(self.engine, self.kind, query, wanted, self.width, exclude, visible)
        if self.kind == "sq8":  # codes come near the vectors; who is nearest is told by the vectors themselves
            scores = np.asarray(self.vectors[rows] @ query, np.float32)
            chosen = best(scores, k)
            rows, scores = rows[chosen], scores[chosen]
        return rows, scores

    def scores(self, query: FloatArray) -> FloatArray:
        """The inner product of every row (n,) with a query (d,)."""
        return np.asarray(self.vectors @ query, np.float32)

    def best(
        self, scores: FloatArray, k: int, exclude: NDArray[np.integer] | None = None
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows outside `exclude` by given scores (n,), and these, best first."""
        if exclude is not None:
            scores = scores.copy()
            scores[exclude[exclude < len(self)]] = -np.inf
        rows = best(scores, k)
        return rows, scores[rows]

    def about(self) -> dict[str, Any]:
        """The kind and, where it was measured, what a search finds and costs: plain values for people to read."""
        measured = {} if self.measured is None else {"width": self.width} | asdict(self.measured)
        return {"kind": self.kind} | measured

    def save(self, folder: Path) -> None:
        """Writes the vectors, the parameters and the index into the folder, which it makes when needed."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / VECTORS_FILE, self.vectors)
        measured = None if self.measured is None else asdict(self.measured)
        about = {"kind": self.kind, "params": self.params.model_dump(), "width": self.width, "measured": measured}
        text = json.dumps(about, indent=2, sort_keys=True)
        (folder / PARAMS_FILE).write_text(text + "\n", encoding="utf-8")
        if self.kind != "flat":
            _faiss.write(self.engine, folder / FAISS_FILE)


def build(vectors: FloatArray, params: IndexParams | None = None, queries: FloatArray | None = None) -> Index:
    """The index of the vectors (n, d): of the first kind for this many rows whose searches find enough.

    What is not searched exactly is measured with `queries` (q, d), the vectors of people if there are any, else with
    videos' vectors moved aside. A kind that the parameters name is kept, whatever it finds; a warning tells when that
    is too little. Raises VectorIndexError for vectors or queries that are no matrix or not finite.

    >>> index = build(np.eye(3, dtype=np.float32))
    >>> index.search(np.array([0.1, 0.9, 0.2], np.float32), 2)[0].tolist()
    [1, 2]
    """
    params = params or IndexParams()
    vectors = checked(vectors)
    kinds = params.kinds_for(*vectors.shape) if len(vectors) else ("flat",)
    if kinds[0] == "flat":
        return Index(vectors, params, "flat")
    asked = _recall.people(vectors, params.recall_queries, params.seed) if queries is None else checked(queries)
    if asked.shape[1] != vectors.shape[1] or len(asked) == 0:
        raise VectorIndexError(f"Expected queries of shape (q, {vectors.shape[1]}); got {asked.shape}.")
    asked = asked[: params.recall_queries]
    exact = _faiss.exact(vectors, asked, min(params.recall_at, len(vectors)))
    for kind, following in zip(kinds, (*kinds[1:], "flat"), strict=True):
        if kind == "flat":
            break
        found = _widened(Index(vectors, params, kind, _faiss.made(vectors, kind, params)), asked, exact)
        recall = 0.0 if found.measured is None else found.measured.recall
        if recall >= params.recall_at_least:
            return found
        kept = params.kind != "auto"
        log.warning(
            "Expected a recall of %.3f of an index of %d rows; %s finds %.3f at width %d, and %s. "
            "Hint: raise `links`, `lists` or `memory_limit_mb`, or lower `recall_at_least`.",
            params.recall_at_least, len(vectors), kind, recall, found.width,
            "is kept, as its kind was asked for" if kept else f"{following} is taken",
        )  # fmt: skip
        if kept:
            return found
    return Index(vectors, params, "flat")


def check_pairs(rows: NDArray[np.integer], vectors: FloatArray) -> None:
    """Raises VectorIndexError unless there is one vector for each of the rows (m,), none of which repeats."""
    different = len(np.unique(rows))
    if len(rows) != len(vectors) or different != len(rows):
        raise VectorIndexError(
            f"Expected one vector for each of the rows, and no row twice; got {len(rows)} rows, "
            f"{different} of them different, and {len(vectors)} vectors."
        )


def checked(vectors: FloatArray) -> FloatArray:
    """The vectors (n, d), contiguous. Raises VectorIndexError for what is no matrix or not finite."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise VectorIndexError(f"Expected vectors of shape (n, d); got {vectors.shape}.")
    if not np.isfinite(vectors).all():
        bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise VectorIndexError(f"Expected finite vectors; row {bad} is not. Hint: was the learning rate too high?")
    return vectors


def _widened(index: Index, queries: FloatArray, exact: FloatArray) -> Index:
    """The same index with the least width that finds enough, or the greatest where none does, and what it finds."""
    kind, params = index.kind, index.params
    if kind == "flat":
        raise VectorIndexError("Expected an approximate index; got a flat one, which finds everything.")
    whole = _faiss.widest(index.engine, kind)
    if fixed := params.width(kind):
        tried = iter((fixed,))
    else:
        # below twice the rows of an answer HNSW visits as much as there
        first = 2 * exact.shape[1] if kind == "hnsw" else NARROWEST
        last = whole if params.kind != "auto" else max(1, int(MOST_VISITED * whole))
        tried = _recall.widths(min(first, last), last)
    size = _faiss.size(index.engine)
    with _faiss.OneThread():
        for width in tried:
            index = replace(index, width=width)
            recall, milliseconds = _recall.measured(index.search, queries, exact)
            if recall >= params.recall_at_least:
                break
    return replace(index, measured=Measured(recall, exact.shape[1], len(queries), milliseconds, size))


def load(folder: Path) -> Index:
    """The index that `Index.save` wrote, its vectors memory-mapped. Raises VectorIndexError for a bad file."""
    try:
        about = json.loads((folder / PARAMS_FILE).read_text(encoding="utf-8"))
        kind, params = about["kind"], IndexParams(**about["params"])
        vectors = np.asarray(np.load(folder / VECTORS_FILE, mmap_mode="r", allow_pickle=False))
        measured = about.get("measured")  # older releases have fixed widths, and none measured
        found = None if measured is None else Measured(**measured)
        width = about["width"] if "width" in about else 0 if kind == "flat" else params.width(kind)
        engine = None if kind == "flat" else _faiss.read(folder / FAISS_FILE)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise VectorIndexError(
            f"Expected a saved index ({PARAMS_FILE}, {VECTORS_FILE}) in {folder}; got: {error}. "
            "Hint: train and publish the release again."
        ) from error
    if engine is not None and engine.ntotal != len(vectors):
        raise VectorIndexError(
            f"Expected {len(vectors)} rows, as in {VECTORS_FILE}, in the index in {folder}; got {engine.ntotal}. "
            "Hint: the files come from two builds; train and publish the release again."
        )
    return Index(vectors, params, kind, engine, width, found)
