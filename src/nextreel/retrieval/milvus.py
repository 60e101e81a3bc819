"""The vector index in Milvus: for catalogues that outgrow one machine. Needs the extra `milvus`.

Searches read what was written before they began (strong consistency). A removed row stays, without a vector and marked
as gone, so that its number is never given out again, after a restart neither. One process writes at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from nextreel.retrieval.index import VectorIndexError, check_pairs, checked
from nextreel.types import FloatArray, RowArray

SCHEME = "milvus://"
DEFAULT_COLLECTION = "videos"
TIMEOUT = 10.0  # seconds in which Milvus must answer when it is opened
CHUNK = 10_000  # rows written or asked for at once: a few MB


@dataclass
class MilvusIndex:
    """Rows by inner product in a collection of Milvus; made by `open_milvus`."""

    client: Any  # a MilvusClient
    collection: str
    dim: int
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _size: int = field(init=False, repr=False)  # rows that were ever given out

    def __post_init__(self) -> None:
        self._size = self._count("")

    def __len__(self) -> int:
        """How many rows a search may find."""
        return self._count("there == true")

    def search(
        self, query: FloatArray, k: int, exclude: NDArray[np.integer] | None = None
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows outside `exclude` for a query (d,) and their inner products, best first.

        Fewer when fewer are left. Raises VectorIndexError for a query of another length.
        """
        if query.shape != (self.dim,):
            raise VectorIndexError(f"Expected a query of shape ({self.dim},); got {query.shape}.")
        if k <= 0:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        unwanted = "" if exclude is None or len(exclude) == 0 else f" and row not in {exclude.tolist()}"
        (hits,) = self.client.search(
            self.collection,
            data=[np.asarray(query, np.float32)],
            limit=k,
            filter="there == true" + unwanted,
            output_fields=["row"],
            search_params={"metric_type": "IP"},
        )
        rows, scores = [hit["row"] for hit in hits], [hit["distance"] for hit in hits]
        return np.asarray(rows, np.int32), np.asarray(scores, np.float32)

    def add(self, vectors: FloatArray) -> RowArray:
        """The new rows of the vectors (m, d), numbered on from the last one.

        Raises VectorIndexError for vectors of another length or that are not finite.
        """
        vectors = self._checked(vectors)
        with self._lock:
            rows = np.arange(self._size, self._size + len(vectors), dtype=np.int32)
            self._write(rows, vectors, there=True)
            self._size += len(vectors)
        return rows

    def update(self, rows: NDArray[np.integer], vectors: FloatArray) -> None:
        """Gives each of the rows (m,) another vector; one that was removed is there again.

        Raises VectorIndexError for rows that were never given out or that repeat, and for vectors as `add` does.
        """
        vectors = self._checked(vectors)
        with self._lock:
            self._known(rows)
            check_pairs(rows, vectors)
            self._write(rows, vectors, there=True)

    def remove(self, rows: NDArray[np.integer]) -> int:
        """How many of the rows were there; no search finds them any more.

        Raises VectorIndexError for rows that were never given out.
        """
        with self._lock:
            self._known(rows)
            gone = np.unique(rows)
            parts = [gone[start : start + CHUNK] for start in range(0, len(gone), CHUNK)]
            there = sum(self._count(f"there == true and row in {part.tolist()}") for part in parts)
            self._write(gone, np.zeros((len(gone), self.dim), np.float32), there=False)
        return there

    def close(self) -> None:
        """Leaves the server."""
        self.client.close()

    def _write(self, rows: NDArray[np.integer], vectors: FloatArray, *, there: bool) -> None:
        for start in range(0, len(rows), CHUNK):
            part = zip(rows[start : start + CHUNK].tolist(), vectors[start : start + CHUNK], strict=True)
            self.client.upsert(
                self.collection, [{"row": row, "there": there, "vector": vector} for row, vector in part]
            )

    def _count(self, where: str) -> int:
        (found,) = self.client.query(self.collection, filter=where, output_fields=["count(*)"])
        return int(found["count(*)"])

    def _checked(self, vectors: FloatArray) -> FloatArray:
        vectors = checked(vectors)
        if vectors.shape[1] != self.dim:
            raise VectorIndexError(f"Expected vectors of {self.dim} dimensions; got {vectors.shape[1]}.")
        return vectors

    def _known(self, rows: NDArray[np.integer]) -> None:
        strange = rows[(rows < 0) | (rows >= self._size)]
        if len(strange):
            raise VectorIndexError(f"Expected rows from 0 to {self._size - 1}; got {int(strange[0])}.")


def open_milvus(url: str, dim: int, index_type: str = "AUTOINDEX") -> MilvusIndex:
    """The index at `milvus://[USER:PASSWORD@]HOST:PORT[/COLLECTION]`, or in a file of milvus-lite that ends with .db.

    The collection is made where there is none. Raises VectorIndexError where Milvus does not answer, or holds vectors
    of other dimensions.
    """
    try:
        from pymilvus import MilvusClient, MilvusException  # noqa: PLC0415
    except ImportError as error:
        raise VectorIndexError(
            "Expected pymilvus; it is not installed. Hint: pip install 'nextreel[milvus]'."
        ) from error
    collection = DEFAULT_COLLECTION
    address: dict[str, str] = {"uri": url}
    if url.startswith(SCHEME):
        parts = urlsplit(url)
        collection = parts.path.strip("/") or DEFAULT_COLLECTION
        address = {"uri": f"http://{parts.hostname}:{parts.port or 19530}"}
        if parts.username:
            address["token"] = f"{parts.username}:{parts.password or ''}"
    elif not url.endswith(".db"):
        raise VectorIndexError(f"Expected milvus://HOST:PORT/COLLECTION or a file that ends with .db; got '{url}'.")
    try:
        client = MilvusClient(**address, timeout=TIMEOUT)
        if not client.has_collection(collection):
            _make(client, collection, dim, index_type)
        fields = client.describe_collection(collection)["fields"]
    except MilvusException as error:
        raise VectorIndexError(
            f"Expected Milvus at {address['uri']}; got: {error.message}. Hint: is it running, and may we write there?"
        ) from error
    held = {one["name"]: one["params"] for one in fields}
    if int(held["vector"]["dim"]) != dim:
        client.close()
        raise VectorIndexError(
            f"Expected vectors of {dim} dimensions in the collection '{collection}'; got {held['vector']['dim']}. "
            "Hint: give each release a collection of its own."
        )
    return MilvusIndex(client, collection, dim)


def _make(client: Any, collection: str, dim: int, index_type: str) -> None:
    from pymilvus import DataType  # noqa: PLC0415

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("row", DataType.INT64, is_primary=True)
    schema.add_field("there", DataType.BOOL)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    searched = client.prepare_index_params()
    searched.add_index("vector", index_type=index_type, metric_type="IP")
    client.create_collection(collection, schema=schema, index_params=searched, consistency_level="Strong")
