"""The vector index: nearest rows by inner product, kind chosen by size; FAISS is known to this file alone.

A small catalogue is searched exactly, by a product with all vectors; FAISS is imported for the larger ones only.

A folder holds `index.json`, `vectors.npy` (memory-mapped when read) and, unless it is flat, `index.faiss`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nextreel.params import Params
from nextreel.retrieval._arrays import best
from nextreel.types import FloatArray, NextreelError, RowArray

VECTORS_FILE = "vectors.npy"
FAISS_FILE = "index.faiss"
PARAMS_FILE = "index.json"
TRAINING_POINTS = 64  # vectors per inverted list that its k-means is fitted on

IndexKind = Literal["flat", "hnsw", "ivf"]


class VectorIndexError(NextreelError):
    """Vectors that cannot be indexed or searched, or a saved index that cannot be read."""


class IndexParams(Params):
    """When which kind of index is built, and how widely it is searched."""

    kind: Literal["auto", "flat", "hnsw", "ivf"] = "auto"
    flat_up_to: int = Field(default=20_000, ge=0)  # rows; exact search costs 0.2 ms there
    hnsw_up_to: int = Field(default=200_000, ge=0)  # rows; above, IVF builds faster and takes less memory
    links: int = Field(default=32, ge=2)  # HNSW: neighbours per node
    build_width: int = Field(default=80, ge=1)  # HNSW: efConstruction
    search_width: int = Field(default=400, ge=1)  # HNSW: efSearch, raised to twice the k asked for
    lists: int = Field(default=0, ge=0)  # IVF: inverted lists; 0 = 4 x the root of the rows
    probes: int = Field(default=64, ge=1)  # IVF: lists visited
    seed: int = Field(default=42, ge=0)

    def kind_for(self, n: int) -> IndexKind:
        """The kind of index that n rows get."""
        if self.kind != "auto":
            return self.kind
        if n <= self.flat_up_to:
            return "flat"
        return "hnsw" if n <= self.hnsw_up_to else "ivf"


@dataclass(frozen=True)
class Index:
    """Rows searched by inner product; row r is `vectors[r]`."""

    vectors: FloatArray  # (n, d), perhaps memory-mapped
    params: IndexParams
    kind: IndexKind
    engine: Any = None  # the FAISS index, whose library is not typed; None where the vectors are all there is

    def __len__(self) -> int:
        return len(self.vectors)

    def search(
        self, query: FloatArray, k: int, exclude: NDArray[np.integer] | None = None
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows outside `exclude` for a query (d,) and their inner products, best first.

        Fewer when fewer are left. Raises VectorIndexError for a query of another length.
        """
        if query.shape != self.vectors.shape[1:]:
            raise VectorIndexError(f"Expected a query of shape {self.vectors.shape[1:]}; got {query.shape}.")
        k = min(k, len(self))
        if k <= 0:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        if self.kind == "flat":
            return self.best(self.scores(query), k, exclude)
        unwanted = None if exclude is None or len(exclude) == 0 else np.asarray(exclude, np.int64)
        batch = np.ascontiguousarray(query[None], np.float32)
        scores, rows = self.engine.search(batch, k, params=self._parameters(k, unwanted))
        found = rows[0] >= 0  # FAISS fills up with -1
        return rows[0][found].astype(np.int32), scores[0][found].astype(np.float32)

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

    def _parameters(self, k: int, exclude: NDArray[np.int64] | None) -> Any:
        """FAISS' search parameters."""
        import faiss  # noqa: PLC0415

        options: dict[str, Any] = {}
        if exclude is not None:
            options["sel"] = faiss.IDSelectorNot(faiss.IDSelectorBatch(exclude))
        if self.kind == "hnsw":
            skipped = 0 if exclude is None else len(exclude)
            return faiss.SearchParametersHNSW(efSearch=max(self.params.search_width, 2 * (k + skipped)), **options)
        return faiss.SearchParametersIVF(nprobe=min(self.params.probes, self.engine.nlist), **options)

    def save(self, folder: Path) -> None:
        """Writes the vectors, the parameters and the index into the folder, which it makes when needed."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / VECTORS_FILE, self.vectors)
        text = json.dumps({"kind": self.kind, "params": self.params.model_dump()}, indent=2, sort_keys=True)
        (folder / PARAMS_FILE).write_text(text + "\n", encoding="utf-8")
        if self.kind != "flat":
            import faiss  # noqa: PLC0415

            faiss.write_index(self.engine, str(folder / FAISS_FILE))


def build(vectors: FloatArray, params: IndexParams | None = None) -> Index:
    """The index of the vectors (n, d), of the kind that the parameters give this many rows.

    Raises VectorIndexError for vectors that are no matrix or not finite.

    >>> index = build(np.eye(3, dtype=np.float32))
    >>> index.search(np.array([0.1, 0.9, 0.2], np.float32), 2)[0].tolist()
    [1, 2]
    """
    params = params or IndexParams()
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise VectorIndexError(f"Expected vectors of shape (n, d); got {vectors.shape}.")
    if not np.isfinite(vectors).all():
        bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise VectorIndexError(f"Expected finite vectors; row {bad} is not. Hint: was the learning rate too high?")
    kind = params.kind_for(len(vectors)) if len(vectors) else "flat"
    return Index(vectors, params, kind, None if kind == "flat" else _engine(vectors, params, kind))


def _engine(vectors: FloatArray, params: IndexParams, kind: IndexKind) -> Any:
    """The FAISS index of that kind, which is not flat, over the vectors."""
    import faiss  # noqa: PLC0415

    n, d = vectors.shape
    if kind == "hnsw":
        engine = faiss.IndexHNSWFlat(d, params.links, faiss.METRIC_INNER_PRODUCT)
        engine.hnsw.efConstruction = params.build_width
    else:
        lists = min(params.lists or max(1, int(4 * n**0.5)), n)
        quantizer = faiss.IndexFlatIP(d)
        engine = faiss.IndexIVFFlat(quantizer, d, lists, faiss.METRIC_INNER_PRODUCT)
        engine.own_fields = True
        quantizer.this.disown()
        engine.cp.seed = params.seed
        engine.cp.min_points_per_centroid = 1  # small catalogues are no reason to warn
        engine.cp.max_points_per_centroid = TRAINING_POINTS
        engine.train(vectors)
    engine.add(vectors)
    return engine


def load(folder: Path) -> Index:
    """The index that `Index.save` wrote, its vectors memory-mapped. Raises VectorIndexError for a bad file."""
    try:
        about = json.loads((folder / PARAMS_FILE).read_text(encoding="utf-8"))
        kind, params = about["kind"], IndexParams(**about["params"])
        vectors = np.asarray(np.load(folder / VECTORS_FILE, mmap_mode="r", allow_pickle=False))
        engine = None if kind == "flat" else _read(folder / FAISS_FILE)
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
    return Index(vectors, params, kind, engine)


def _read(path: Path) -> Any:
    """The FAISS index in the file, memory-mapped; its searches run on their caller's thread alone.

    Requests are the parallelism of a server.
    """
    import faiss  # noqa: PLC0415

    faiss.omp_set_num_threads(1)
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
