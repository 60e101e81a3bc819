"""Vectors of texts kept on disk under the hash of encoder and text, so that a run embeds only what is new."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextreel.encoding.files import EncodingError
from nextreel.encoding.text import TextEncoder
from nextreel.progress import Progress, silent
from nextreel.types import FloatArray

CHUNK = 4096  # texts embedded between two writes: what an interrupted run loses at most

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedded:
    """Vectors of texts, and how many distinct texts had theirs on disk."""

    vectors: FloatArray  # (n, dim)
    hits: int  # distinct texts whose vector was read
    misses: int  # distinct texts that were embedded now
    damaged: int  # files that held other bytes than were written; deleted, their texts are among the misses


@dataclass(frozen=True)
class EmbeddingCache:
    """Files `<folder>/<kind>-<encoder>/<sha256>.npy` of keys and vectors, each named by the hash of its bytes.

    A key is the SHA-256 of the encoder's fingerprint and the text, so that another model never answers for this one.
    Files are only ever added, each at once: several processes may share a cache, and a killed one leaves it whole.
    """

    folder: Path

    def encode(self, encoder: TextEncoder, texts: Sequence[str], progress: Progress = silent) -> Embedded:
        """What `encoder.encode(texts)` gives, from disk where it is there, and on disk from then on.

        Raises EncodingError when the folder cannot be read or written.
        """
        place = self.folder / f"{encoder.kind}-{encoder.fingerprint[:16]}"
        distinct = list(dict.fromkeys(texts))
        keys = _keys(encoder, distinct)
        vectors = np.zeros((len(distinct), encoder.dim), np.float32)
        try:
            place.mkdir(parents=True, exist_ok=True)
            known, damaged = _read(place, keys, vectors)
            missing = np.flatnonzero(~known)
            with progress("Embedding new texts", total=len(missing)) as advance:
                for start in range(0, len(missing), CHUNK):
                    part = missing[start : start + CHUNK]
                    vectors[part] = encoder.encode([distinct[i] for i in part.tolist()])
                    _write(place, keys[part], vectors[part])
                    advance(len(part))
        except OSError as error:
            raise EncodingError(
                f"Expected to read and write the cache of embeddings in {self.folder}; got: {error}. "
                "Hint: check its permissions and the space on the disk, or name another folder."
            ) from error
        hits, misses = int(known.sum()), len(missing)
        log.info("Embeddings of %d texts: %d read, %d made, %d damaged files", len(distinct), hits, misses, damaged)
        row_of = {text: row for row, text in enumerate(distinct)}
        rows = np.fromiter((row_of[text] for text in texts), np.intp, len(texts))
        return Embedded(vectors[rows], hits, misses, damaged)


def _keys(encoder: TextEncoder, texts: Sequence[str]) -> NDArray[np.bytes_]:
    """The key of each text (n,), 32 bytes."""
    start = hashlib.sha256(encoder.fingerprint.encode() + b"\0")
    digests = []
    for text in texts:
        one = start.copy()
        one.update(text.encode("utf-8", "surrogatepass"))
        digests.append(one.digest())
    return np.frombuffer(b"".join(digests), "S32")


def _type(dim: int) -> np.dtype[Any]:
    return np.dtype([("key", "S32"), ("vector", "<f4", (dim,))])


def _read(place: Path, keys: NDArray[np.bytes_], vectors: FloatArray) -> tuple[NDArray[np.bool_], int]:
    """Fills in the vectors that are there; which of them are (n,), and how many files were damaged."""
    known, damaged = np.zeros(len(keys), np.bool_), 0
    order = np.argsort(keys)
    ordered = keys[order]
    for path in sorted(place.glob("*.npy")):
        kept = _kept(path, vectors.shape[1])
        if kept is None:
            log.warning("The cache file %s is damaged; its texts are embedded again", path)
            path.unlink(missing_ok=True)
            damaged += 1
            continue
        if len(keys) == 0:
            continue
        at = np.minimum(np.searchsorted(ordered, kept["key"]), len(keys) - 1)
        inside = np.flatnonzero(ordered[at] == kept["key"])
        rows = order[at[inside]]
        vectors[rows] = kept["vector"][inside]
        known[rows] = True
    return known, damaged


def _kept(path: Path, dim: int) -> NDArray[Any] | None:
    """Keys and vectors of a file; None where its bytes are not those that were written."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # another process found the damage first
        return None
    if hashlib.sha256(content).hexdigest() != path.stem:
        return None
    kept: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return kept if kept.dtype == _type(dim) else None


def _write(place: Path, keys: NDArray[np.bytes_], vectors: FloatArray) -> None:
    """Adds a file of keys and vectors, whole or not at all."""
    rows = np.empty(len(keys), _type(vectors.shape[1]))
    rows["key"], rows["vector"] = keys, vectors
    content = io.BytesIO()
    np.save(content, rows, allow_pickle=False)
    name = hashlib.sha256(content.getbuffer()).hexdigest()
    with NamedTemporaryFile(dir=place, prefix="half-", delete=False) as file:
        half = Path(file.name)
        try:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
            half.replace(place / f"{name}.npy")
        finally:
            half.unlink(missing_ok=True)  # still there only when the disk is full
