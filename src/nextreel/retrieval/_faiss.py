"""Approximate search by FAISS, known to this file alone: indexes made, searched, written and read.

FAISS is imported where it is called: a small catalogue is searched without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nextreel.types import FloatArray, RowArray

if TYPE_CHECKING:
    from nextreel.retrieval.index import IndexParams

TRAINING_POINTS = 64  # vectors per inverted list that its k-means is fitted on

Approximate = Literal["hnsw", "ivf", "sq8"]


def lists(n: int, params: IndexParams) -> int:
    """The inverted lists of n rows."""
    return min(params.lists or max(1, int(4 * n**0.5)), n)


def expected_bytes(kind: Approximate, n: int, d: int, params: IndexParams) -> int:
    """About how many bytes an index of that kind takes: vectors or their codes, row numbers, links, centroids."""
    if kind == "hnsw":
        return n * (4 * d + 8 * params.links + 20)
    return n * ((d if kind == "sq8" else 4 * d) + 8) + lists(n, params) * 4 * d


def made(vectors: FloatArray, kind: Approximate, params: IndexParams) -> Any:
    """The FAISS index of that kind over the vectors."""
    import faiss  # noqa: PLC0415

    n, d = vectors.shape
    if kind == "hnsw":
        engine = faiss.IndexHNSWFlat(d, params.links, faiss.METRIC_INNER_PRODUCT)
        engine.hnsw.efConstruction = params.build_width
    else:
        quantizer, metric, many = faiss.IndexFlatIP(d), faiss.METRIC_INNER_PRODUCT, lists(n, params)
        if kind == "ivf":
            engine = faiss.IndexIVFFlat(quantizer, d, many, metric)
        else:
            engine = faiss.IndexIVFScalarQuantizer(quantizer, d, many, faiss.ScalarQuantizer.QT_8bit, metric)
        engine.own_fields = True
        quantizer.this.disown()
        engine.cp.seed = params.seed
        engine.cp.min_points_per_centroid = 1  # small catalogues are no reason to warn
        engine.cp.max_points_per_centroid = TRAINING_POINTS
        engine.train(vectors)
    engine.add(vectors)
    return engine


def widest(engine: Any, kind: Approximate) -> int:
    """The width at which a search visits everything."""
    return int(engine.ntotal if kind == "hnsw" else engine.nlist)


def search(
    engine: Any,
    kind: Approximate,
    query: FloatArray,
    k: int,
    width: int,
    exclude: NDArray[np.integer] | None = None,
    visible: tuple[NDArray[np.uint8], int] | None = None,
) -> tuple[RowArray, FloatArray]:
    """The k best rows outside `exclude` for a query (d,) and their inner products, best first.

    `visible`, bits of all rows with the lowest first and how many are set, leaves the others out.
    """
    import faiss  # noqa: PLC0415

    options: dict[str, Any] = {}
    skipped = 0 if exclude is None else len(exclude)
    if exclude is not None and skipped:
        options["sel"] = faiss.IDSelectorNot(faiss.IDSelectorBatch(np.asarray(exclude, np.int64)))
    if visible is not None:
        seen = faiss.IDSelectorBitmap(visible[0])
        options["sel"] = faiss.IDSelectorAnd(seen, options["sel"]) if options else seen
    if kind == "hnsw":
        # what is excluded lies near the query and takes places of the search; what is hidden lies anywhere
        share = 1.0 if visible is None else engine.ntotal / visible[1]
        parameters = faiss.SearchParametersHNSW(efSearch=int(max(width, 2 * (k + skipped)) * share), **options)
    else:
        parameters = faiss.SearchParametersIVF(nprobe=min(width, engine.nlist), **options)
    scores, rows = engine.search(np.ascontiguousarray(query[None], np.float32), k, params=parameters)
    found = rows[0] >= 0  # FAISS fills up with -1
    return rows[0][found].astype(np.int32), scores[0][found].astype(np.float32)


def exact(vectors: FloatArray, queries: FloatArray, k: int) -> FloatArray:
    """The k largest inner products (q, k) of each query with the vectors, largest first."""
    import faiss  # noqa: PLC0415

    scores, _ = faiss.knn(np.ascontiguousarray(queries, np.float32), vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    return np.asarray(scores, np.float32)


class OneThread:
    """While entered, FAISS searches on its caller's thread alone, as a server does."""

    def __enter__(self) -> None:
        import faiss  # noqa: PLC0415

        self._before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        import faiss  # noqa: PLC0415

        faiss.omp_set_num_threads(self._before)


def write(engine: Any, path: Path) -> None:
    """Writes the index into the file."""
    import faiss  # noqa: PLC0415

    faiss.write_index(engine, str(path))


def size(engine: Any) -> int:
    """The bytes of the file that `write` makes."""
    import faiss  # noqa: PLC0415

    counted: list[int] = []
    faiss.write_index(engine, faiss.PyCallbackIOWriter(lambda part: counted.append(len(part))))
    return sum(counted)


def read(path: Path) -> Any:
    """The index in the file, memory-mapped; its searches run on their caller's thread alone.

    Requests are the parallelism of a server.
    """
    import faiss  # noqa: PLC0415

    faiss.omp_set_num_threads(1)
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
