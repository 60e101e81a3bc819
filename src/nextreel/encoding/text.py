"""Texts as unit vectors: by a sentence encoder where one is installed, by hashed n-grams everywhere."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, Protocol, TypeAlias, get_args
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from nextreel.encoding import sentence
from nextreel.encoding.files import EMBEDDINGS, EncodingError, read_json, write_json
from nextreel.encoding.hashing import mixed
from nextreel.types import FloatArray

CHUNK = 2048  # texts hashed at once: bounds the memory to some tens of MB
BASE = np.uint64(1_099_511_628_211)  # multiplier of the rolling hash: the FNV prime
GRAM_SIZES = (3, 4, 5)  # characters of an n-gram within one word
STATISTICS = 1 << 16  # hash buckets in which document frequencies are counted

Codes: TypeAlias = NDArray[np.uint64]
Choice: TypeAlias = Literal["auto", "hashed", "sentence"]

log = logging.getLogger(__name__)


class TextEncoder(Protocol):
    """Turns texts into vectors whose inner product says how alike they are."""

    @property
    def name(self) -> str:
        """Names the saved files."""
        ...

    @property
    def kind(self) -> str:
        """What reads the texts: "hashed" or "sentence"."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Equal for two encoders that give equal vectors: what a cache may rely on."""
        ...

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors (n, dim); zeros for a text that says nothing."""
        ...

    def save(self, folder: Path) -> None:
        """Writes what `load` reads below `embeddings/` of the folder."""
        ...


def _characters(texts: Sequence[str]) -> tuple[Codes, NDArray[np.int32]]:
    """Lower-case code points of all texts in a row, 0 for all that is neither letter nor digit; and their text."""
    joined = "\x00".join(text.lower() for text in texts) + "\x00"
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    ends = np.fromiter((len(text.lower()) + 1 for text in texts), np.int64, len(texts))
    owner = np.repeat(np.arange(len(texts), dtype=np.int32), ends)
    digit = (points >= 48) & (points <= 57)
    letter = ((points >= 97) & (points <= 122)) | (points >= 0xC0)
    return np.where(digit | letter, points, 0).astype(np.uint64), owner


def _words(points: Codes, owner: NDArray[np.int32]) -> tuple[Codes, NDArray[np.int32]]:
    """Hashes of all words and of all pairs of neighbouring words in one text, and the text of each."""
    inside = points > 0
    starts = np.flatnonzero(inside & ~np.concatenate([[False], inside[:-1]]))
    if len(starts) == 0:
        return np.empty(0, np.uint64), np.empty(0, np.int32)
    since = np.arange(len(points)) - starts[np.maximum(np.searchsorted(starts, np.arange(len(points)), "right") - 1, 0)]
    powers = np.power(BASE, np.where(inside, since, 0).astype(np.uint64))
    words = mixed(np.add.reduceat(np.where(inside, points * powers, 0), starts))
    texts = owner[starts]
    together = texts[1:] == texts[:-1]
    pairs = mixed(words[:-1] * BASE + words[1:])[together]
    return np.concatenate([words, pairs]), np.concatenate([texts, texts[1:][together]])


def _grams(points: Codes, owner: NDArray[np.int32]) -> Iterator[tuple[Codes, NDArray[np.int32]]]:
    """Hashes of the character n-grams inside words and the text of each, one size after the other."""
    for size in GRAM_SIZES:
        n = len(points) - size + 1
        if n <= 0:
            return
        rolling = np.zeros(n, np.uint64)
        whole = np.ones(n, bool)
        for offset in range(size):
            window = points[offset : offset + n]
            rolling = rolling * BASE + window
            whole &= window > 0
        yield mixed(rolling[whole] + np.uint64(size)), owner[:n][whole]


def _hashes(texts: Sequence[str]) -> tuple[Codes, NDArray[np.int32]]:
    """The hash of each distinct n-gram of each text, and the text it is of."""
    points, owner = _characters(texts)
    parts = [_words(points, owner), *_grams(points, owner)]
    hashes = np.concatenate([part[0] for part in parts])
    texts_of = np.concatenate([part[1] for part in parts])
    order = np.lexsort((hashes, texts_of))
    hashes, texts_of = hashes[order], texts_of[order]
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (texts_of[1:] != texts_of[:-1])
    return hashes[new], texts_of[new]


@dataclass(frozen=True)
class HashedText:
    """Unit vectors (n, dim) of texts: each n-gram adds or subtracts its inverse document frequency in one place.

    n-grams are words, pairs of words, and 3 to 5 characters within a word, so that spelling variants stay close.
    Source: Weinberger et al., Feature hashing for large scale multitask learning, ICML (2009).

    >>> encoder = fit("title", ["The red fox", "A blue whale", "Red foxes again"], dim=64)
    >>> red, whale, foxes = encoder.encode(["the red fox", "blue whale", "red foxes"])
    >>> bool(red @ foxes > red @ whale)
    True
    """

    name: str
    dim: int
    frequency: FloatArray  # (STATISTICS,) weight of an n-gram by its hash bucket
    kind: ClassVar[str] = "hashed"

    @cached_property
    def fingerprint(self) -> str:
        """Of the dimension and the document frequencies."""
        return hashlib.sha256(f"{self.kind} {self.dim} ".encode() + self.frequency.tobytes()).hexdigest()

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors (n, dim); zeros for a text without letters or digits."""
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            hashes, owner = _hashes(chunk)
            weights = self.frequency[(hashes % np.uint64(STATISTICS)).astype(np.int64)]
            signed = np.where(hashes >> np.uint64(63) == 0, weights, -weights)
            place = ((hashes >> np.uint64(20)) % np.uint64(self.dim)).astype(np.int64)
            sums = np.bincount(owner * np.int64(self.dim) + place, signed, len(chunk) * self.dim)
            vectors[start : start + CHUNK] = sums.reshape(len(chunk), self.dim)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)

    def save(self, folder: Path) -> None:
        """Writes `embeddings/<name>.json` and `embeddings/<name>.npz` below the folder."""
        content = {"name": self.name, "kind": self.kind, "dim": self.dim}
        write_json(folder / EMBEDDINGS / f"{self.name}.json", content)
        np.savez_compressed(folder / EMBEDDINGS / f"{self.name}.npz", frequency=self.frequency)


def fit(name: str, texts: Sequence[str], dim: int = 128) -> HashedText:
    """The encoder whose inverse document frequencies come from the texts: log((1 + n) / (1 + n with it)) + 1."""
    if dim < 1:
        raise EncodingError(f"Expected a dimension of at least 1; got {dim}.")
    counts = np.zeros(STATISTICS, np.int64)
    for start in range(0, len(texts), CHUNK):
        hashes, _ = _hashes(texts[start : start + CHUNK])
        counts += np.bincount((hashes % np.uint64(STATISTICS)).astype(np.int64), minlength=STATISTICS)
    frequency = np.log((1.0 + len(texts)) / (1.0 + np.minimum(counts, len(texts)))) + 1.0
    return HashedText(name, dim, frequency.astype(np.float32))


def choose(name: str, choice: Choice, texts: Sequence[str], dim: int = 128) -> TextEncoder:
    """The text encoder of that name: "hashed", fitted on the texts, "sentence", or "auto": the best installed.

    `dim` is that of the hashed vectors; a sentence encoder has its own. The choice is logged and is the encoder's
    `kind`. Raises EncodingError for "sentence" where no sentence encoder is installed.
    """
    if choice not in get_args(Choice):
        raise EncodingError(f"Expected one of {', '.join(get_args(Choice))} as text encoder; got '{choice}'.")
    by_sentence = choice == "sentence" or (choice == "auto" and sentence.installed())
    encoder: TextEncoder = sentence.fit(name) if by_sentence else fit(name, texts, dim)
    log.info("Encoding '%s' with the %s encoder (asked for: %s, %d dims)", name, encoder.kind, choice, encoder.dim)
    return encoder


def load(folder: Path, name: str) -> TextEncoder:
    """The encoder of that name which `save` wrote below the folder."""
    content = read_json(folder / EMBEDDINGS / f"{name}.json", "text encoder", ("name", "kind", "dim"))
    if content["kind"] == sentence.SentenceText.kind:
        return sentence.load(folder, name)
    if content["kind"] != HashedText.kind:
        raise EncodingError(
            f"Expected a text encoder of kind hashed or sentence in {folder}; got '{content['kind']}'. "
            "Hint: the release is of a newer version; upgrade nextreel."
        )
    path = folder / EMBEDDINGS / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            frequency = arrays["frequency"]
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise EncodingError(
            f"Expected the frequencies of a saved text encoder at {path}; got: {error}. "
            "Hint: train and publish the release again."
        ) from error
    return HashedText(content["name"], int(content["dim"]), frequency)
