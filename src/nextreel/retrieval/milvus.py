"""The vector index in Milvus: for catalogues that outgrow one machine. Needs the extra `milvus`.

Searches read what was written before they began (strong consistency). A removed row stays, without a vector and marked
as gone, so that its number is never given out again, after a restart neither. One process adds at a time; the vectors
of a release, whose rows are known, are kept up by every process that serves it: `open_shared`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic, sleep
from typing import Any, TypeVar
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from nextreel.backends.urls import shown, split
from nextreel.retrieval.index import VectorIndexError, check_pairs, checked
from nextreel.types import BoolArray, FloatArray, RowArray

Answer = TypeVar("Answer")

SCHEME = "milvus://"
DEFAULT_COLLECTION = "videos"
TIMEOUT = 10.0  # seconds in which Milvus must answer when it is opened
WRITE_TIMEOUT = 60.0  # seconds in which a chunk must be written
ANSWER_WITHIN = 1.0  # seconds that a search of a server that answers requests may take
AGAIN_AFTER = 2.0  # seconds for which nobody asks a Milvus that failed
CHUNK = 10_000  # rows written or asked for at once: a few MB
MOST_FOUND = 16_384  # rows that Milvus returns at most

log = logging.getLogger(__name__)


@dataclass
class MilvusIndex:
    """Rows by inner product in a collection of Milvus; made by `open_milvus`."""

    client: Any  # a MilvusClient
    collection: str
    dim: int
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _size: int = field(init=False, repr=False)  # rows that were ever given out

    def __post_init__(self) -> None:
        self._size = self.count("")

    def __len__(self) -> int:
        """How many rows a search may find."""
        return self.count("there == true")

    def search(
        self,
        query: FloatArray,
        k: int,
        exclude: NDArray[np.integer] | None = None,
        below: int | None = None,
        timeout: float = TIMEOUT,
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows outside `exclude`, and `below` a row, for a query (d,) and their inner products, best first.

        Fewer when fewer are left, and at most 16,384. Raises VectorIndexError for a query of another length.
        """
        if query.shape != (self.dim,):
            raise VectorIndexError(f"Expected a query of shape ({self.dim},); got {query.shape}.")
        if k <= 0:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        wanted = "there == true" if below is None else f"there == true and row < {below}"
        unwanted = "" if exclude is None or len(exclude) == 0 else f" and row not in {exclude.tolist()}"
        (hits,) = self.client.search(
            self.collection,
            data=[np.asarray(query, np.float32)],
            limit=min(k, MOST_FOUND),
            filter=wanted + unwanted,
            output_fields=["row"],
            search_params={"metric_type": "IP"},
            timeout=timeout,
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
            self.put(rows, vectors, np.ones(len(rows), np.bool_))
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
            self.put(rows, vectors, np.ones(len(rows), np.bool_))

    def remove(self, rows: NDArray[np.integer]) -> int:
        """How many of the rows were there; no search finds them any more.

        Raises VectorIndexError for rows that were never given out.
        """
        with self._lock:
            self._known(rows)
            gone = np.unique(rows)
            parts = [gone[start : start + CHUNK] for start in range(0, len(gone), CHUNK)]
            there = sum(self.count(f"there == true and row in {part.tolist()}") for part in parts)
            self.put(gone, np.zeros((len(gone), self.dim), np.float32), np.zeros(len(gone), np.bool_))
        return there

    def close(self) -> None:
        """Leaves the server."""
        self.client.close()

    def put(
        self, rows: NDArray[np.integer], vectors: FloatArray, there: BoolArray, timeout: float = WRITE_TIMEOUT
    ) -> None:
        """Writes the rows (m,) with their vectors (m, d), and whether a search finds each, over what is there."""
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            found = zip(rows[part].tolist(), there[part].tolist(), vectors[part], strict=True)
            records = [{"row": row, "there": shown, "vector": vector} for row, shown, vector in found]
            self.client.upsert(self.collection, records, timeout=timeout)

    def load(self, timeout: float = TIMEOUT) -> None:
        """Sees to it that the collection can be searched, as a server that began anew may have to be told."""
        self.client.load_collection(self.collection, timeout=timeout)

    def count(self, where: str, timeout: float = TIMEOUT) -> int:
        """How many rows there are, removed ones too, of which the expression of Milvus is true."""
        (found,) = self.client.query(self.collection, filter=where, output_fields=["count(*)"], timeout=timeout)
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


@dataclass
class SharedVectors:
    """The vectors of a release in Milvus, which every process that serves it searches and keeps up; by `open_shared`.

    Rows and vectors are the same in all processes, so it does no harm that each writes them. A search raises
    VectorIndexError while Milvus does not answer, or lacks what this process told it; a failure is not waited for again
    within AGAIN_AFTER.
    """

    index: MilvusIndex
    _lacking: dict[int, tuple[FloatArray, bool]] = field(default_factory=dict, init=False, repr=False)  # by row
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _down_until: float = field(default=0.0, init=False, repr=False)  # of `monotonic`; 0: it answered last

    def search(
        self, query: FloatArray, k: int, exclude: NDArray[np.integer] | None, below: int
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows outside `exclude` and below a row for a query (d,) and their inner products, best first."""
        self._catch_up()
        return self._asked(lambda: self.index.search(query, k, exclude, below, timeout=ANSWER_WITHIN))

    def tell(self, rows: RowArray, vectors: FloatArray, there: BoolArray) -> None:
        """Keeps the vectors (m, d) of the rows (m,), and whether a search finds each; when Milvus fails, later."""
        with self._lock:
            told = zip(vectors, there.tolist(), strict=True)
            self._lacking.update(zip(rows.tolist(), told, strict=True))
        try:
            self._catch_up()
        except VectorIndexError as error:
            log.warning("Milvus lacks %d vectors until it answers again: %s", len(self._lacking), error)

    def up_to_date(self) -> bool:
        """Whether Milvus answers, and holds what this process told it."""
        try:
            self._catch_up()
            self._asked(lambda: self.index.count("row < 0", ANSWER_WITHIN))
        except VectorIndexError:
            return False
        return True

    def close(self) -> None:
        """Leaves the server."""
        self.index.close()

    def _catch_up(self) -> None:
        """Writes what Milvus lacks. Raises VectorIndexError where it fails."""
        if not self._lacking:
            return
        with self._lock:
            rows = np.fromiter(self._lacking, np.int32)
            if len(rows) == 0:
                return  # another thread was quicker
            vectors = np.stack([vector for vector, _ in self._lacking.values()])
            there = np.array([shown for _, shown in self._lacking.values()])
            seconds = ANSWER_WITHIN + min(len(rows), CHUNK) / 1000  # a millisecond for each row
            self._asked(lambda: self.index.put(rows, vectors, there, seconds))
            self._lacking.clear()

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        if monotonic() < self._down_until:
            raise VectorIndexError("Expected Milvus to answer; it failed a moment ago. Hint: see /health and the log.")
        try:
            if self._down_until:
                self.index.load(ANSWER_WITHIN)
                self._down_until = 0.0
            return ask()
        except VectorIndexError:  # what was asked is wrong
            raise
        except Exception as error:  # of pymilvus and of gRPC
            self._down_until = monotonic() + AGAIN_AFTER
            raise VectorIndexError(f"Expected Milvus to answer; got: {error}. Hint: is it running?") from error


def open_shared(url: str, release: str, vectors: FloatArray) -> SharedVectors:
    """The vectors (n, d) of the release in a collection of its own, `COLLECTION_RELEASE`, filled where rows lack.

    The URL is that of `open_milvus`, whose errors it raises.
    """
    index = open_milvus(url, vectors.shape[1], release)
    rows = np.arange(len(vectors))
    try:
        if index.count(f"row < {len(rows)}") < len(rows):
            log.info("filling the collection '%s' of Milvus with %d vectors", index.collection, len(rows))
            index.put(rows, vectors, np.ones(len(rows), np.bool_))
    except Exception as error:
        index.close()
        raise VectorIndexError(
            f"Expected Milvus to take {len(rows)} vectors; got: {error}. Hint: is it running, and has it room?"
        ) from error
    return SharedVectors(index)


def open_milvus(url: str, dim: int, release: str = "", index_type: str = "AUTOINDEX") -> MilvusIndex:
    """The index at `milvus://[USER:PASSWORD@]HOST:PORT[/COLLECTION]`, or in a file of milvus-lite that ends with .db.

    With a release, the collection has its id after its name. It is made where there is none. Raises VectorIndexError
    where Milvus does not answer, or holds vectors of other dimensions.
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
        parts, _ = split(url, ())
        collection = parts.path.strip("/") or DEFAULT_COLLECTION
        address = {"uri": f"http://{parts.hostname}:{parts.port or 19530}"}
        if parts.username:
            address["token"] = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    elif not url.endswith(".db"):
        raise VectorIndexError(
            f"Expected milvus://HOST:PORT/COLLECTION or a file that ends with .db; got '{shown(url)}'."
        )
    if release:
        collection += "_" + re.sub(r"[^0-9A-Za-z]", "_", release)  # all that a name may hold
    try:
        client = MilvusClient(**address, timeout=TIMEOUT)
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
    """Sees to it that the collection is there and can be searched; other processes may make it at the same time."""
    from pymilvus import DataType, MilvusException  # noqa: PLC0415
    from pymilvus.client.types import LoadState  # noqa: PLC0415

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("row", DataType.INT64, is_primary=True)
    schema.add_field("there", DataType.BOOL)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    searched = client.prepare_index_params()
    searched.add_index("vector", index_type=index_type, metric_type="IP")
    until = monotonic() + TIMEOUT
    while True:
        try:
            if not client.has_collection(collection):
                client.create_collection(collection, schema=schema, index_params=searched, consistency_level="Strong")
            if client.get_load_state(collection)["state"] != LoadState.Loaded:
                client.load_collection(collection, timeout=TIMEOUT)
        except MilvusException:  # perhaps another process began to make it a moment ago
            if monotonic() > until:
                raise
            sleep(0.1)
        else:
            return
