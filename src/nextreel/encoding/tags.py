"""Tags as vectors learned from the company they keep: continuous bag of words over the tags of a video."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nextreel.encoding import vocabulary
from nextreel.encoding.files import EMBEDDINGS, EncodingError, read_json, write_json
from nextreel.encoding.vocabulary import Vocabulary
from nextreel.params import Params
from nextreel.progress import Progress, silent
from nextreel.types import FloatArray

Tags: TypeAlias = Sequence[Sequence[str]]  # of each video
Codes: TypeAlias = NDArray[np.int64]

log = logging.getLogger(__name__)


class TagParams(Params):
    """Shape and training of tag vectors."""

    dim: int = Field(default=32, ge=1)
    min_count: int = Field(default=3, ge=1)  # videos a tag needs for a vector of its own
    epochs: int = Field(default=20, ge=0)
    max_steps: int = Field(default=20_000, ge=1)  # whole epochs stop before it: large catalogues need fewer of them
    batch: int = Field(default=64, ge=1)  # videos per step
    noise: int = Field(default=256, ge=1)  # tags drawn per step that are not the right ones, shared by its positions
    negatives: float = Field(default=10.0, gt=0)  # how much all drawn tags together weigh against the right one
    noise_power: float = Field(default=0.75, ge=0)  # smooths frequencies before drawing
    learning_rate: float = Field(default=0.1, gt=0)
    weight_decay: float = Field(default=0.03, ge=0)  # else long fits tell apart all tags that never meet, kin or not
    seed: int = Field(default=42, ge=0)


@dataclass(frozen=True)
class TagEmbeddings:
    """Unit vectors of tags; a video's vector is their mean, short where its tags have little in common.

    Source: Mikolov et al., Efficient estimation of word representations in vector space (2013), and Distributed
    representations of words and phrases and their compositionality, NeurIPS (2013), for the sampled negatives.

    >>> pets = [("cat", "purr"), ("kitten", "purr"), ("car", "race"), ("truck", "race")] * 50
    >>> round(fit("tags", pets, params=TagParams(dim=4)).similarity("Cat", "kitten"), 1)
    1.0
    """

    name: str
    tags: Vocabulary
    vectors: FloatArray  # (len(tags), dim) by code; zeros for code 0, the tags that are rare or unknown

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def encode(self, tags: Tags) -> FloatArray:
        """The mean vector (n, dim) of each video's known tags, of length 0 to 1; zeros where none is known."""
        codes, owner = _flat(tags, self.tags)
        sums = np.zeros((len(tags), self.dim), np.float32)
        starts = _starts(owner)
        if len(codes):
            sums[owner[starts]] = np.add.reduceat(self.vectors[codes], starts, axis=0)
        counts = np.maximum(np.bincount(owner, minlength=len(tags)), 1).astype(np.float32)
        return np.asarray(sums / counts[:, None], np.float32)

    def nearest(self, tag: str, k: int = 10) -> list[tuple[str, float]]:
        """At most k other tags by cosine, best first; none for a tag without a vector."""
        code = self.tags.code(plain(tag))
        if code == 0:
            return []
        cosines = self.vectors @ self.vectors[code]
        cosines[[0, code]] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: max(0, min(k, len(cosines) - 2))]
        return [(str(self.tags.values[i - 1]), float(cosines[i])) for i in best.tolist()]

    def similarity(self, one: str, other: str) -> float:
        """The cosine of two tags; 0 where one has no vector."""
        left, right = (self.vectors[self.tags.code(plain(tag))] for tag in (one, other))
        return float(left @ right)

    def save(self, folder: Path) -> None:
        """Writes `vocabularies/<name>.json`, `embeddings/<name>.json` and `embeddings/<name>.npz` below the folder."""
        self.tags.save(folder)
        write_json(folder / EMBEDDINGS / f"{self.name}.json", {"name": self.name, "kind": "cbow", "dim": self.dim})
        np.savez(folder / EMBEDDINGS / f"{self.name}.npz", vectors=self.vectors)


def plain(tag: str) -> str:
    """The tag without differences of case, of blanks and of ways to write a letter.

    >>> plain("  Ariana\\tGRANDE ")
    'ariana grande'
    """
    return " ".join(unicodedata.normalize("NFKC", tag).casefold().split())


def load(folder: Path, name: str) -> TagEmbeddings:
    """The embeddings of that name which `TagEmbeddings.save` wrote below the folder."""
    content = read_json(folder / EMBEDDINGS / f"{name}.json", "set of tag embeddings", ("name", "kind", "dim"))
    tags = vocabulary.load(folder, name)
    path = folder / EMBEDDINGS / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            vectors = arrays["vectors"]
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise EncodingError(
            f"Expected the vectors of tags at {path}; got: {error}. Hint: fit the encoders again."
        ) from error
    if vectors.shape != (len(tags), content["dim"]):
        raise EncodingError(
            f"Expected vectors of shape {(len(tags), content['dim'])} in {path}; got {vectors.shape}. "
            "Hint: the files come from two fits; fit the encoders again."
        )
    return TagEmbeddings(content["name"], tags, vectors)


def fit(
    name: str,
    tags: Tags,
    categories: NDArray[np.integer] | None = None,
    params: TagParams | None = None,
    progress: Progress = silent,
) -> TagEmbeddings:
    """The vectors in which each tag of a video is foretold by the mean of its other tags.

    The category of the video, where given, is one more tag while learning, so that a tag alone has company too.

    `categories` (n,) are codes, negative where unknown. On one machine the same input and seed give the same vectors.
    Tags that never stand beside another known tag or a category get the vector they began with.
    """
    params = params or TagParams()
    if categories is not None and len(categories) != len(tags):
        raise EncodingError(f"Expected one category per video; got {len(categories)} for {len(tags)} videos.")
    known = vocabulary.fit(name, chain.from_iterable(dict.fromkeys(map(plain, one)) for one in tags), params.min_count)
    codes, owner = _flat(tags, known)
    bags = _bags(codes, owner, categories, len(tags), len(known))
    learner = _Learner(bags, params)
    steps = max(1, -(-len(bags) // params.batch))  # an epoch's
    epochs = min(params.epochs, max(1, params.max_steps // steps))
    with progress("Learning tag vectors", total=epochs) as advance:
        for _ in range(epochs):
            learner.epoch()
            advance(1)
    vectors = _centred(learner.inputs[: len(known)])
    log.info("Learned vectors of %d tags from %d videos, loss %.3f", len(known) - 1, len(bags), learner.loss)
    return TagEmbeddings(name, known, vectors)


def _centred(vectors: FloatArray) -> FloatArray:
    """Unit vectors without what all have in common, zeros for code 0.

    The direction all share says nothing of one and hides what tells them apart; it can be told from the rest where
    there are more tags than dimensions. Source: Mu, Viswanath, All-but-the-top, ICLR (2018).
    """
    if len(vectors) - 1 > vectors.shape[1]:
        vectors = vectors - vectors[1:].mean(axis=0)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    vectors[0] = 0.0
    return np.asarray(vectors, np.float32)


def _flat(tags: Tags, known: Vocabulary) -> tuple[Codes, Codes]:
    """The codes of all known tags end to end, each once a video, and the video of each."""
    words = [dict.fromkeys(map(plain, one)) for one in tags]
    owner = np.repeat(np.arange(len(words)), np.fromiter(map(len, words), np.int64, len(words)))
    codes = known.encode(list(chain.from_iterable(words))).astype(np.int64)
    return codes[codes > 0], owner[codes > 0]


def _starts(owner: Codes) -> Codes:
    """Where the entries of each owner begin, given that they lie together."""
    return np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]])[: len(owner)])


@dataclass(frozen=True)
class _Bags:
    """What is learned from: the known tags of every video and, as one more word, its category."""

    word: Codes  # (p,) of all bags end to end; categories have the codes after the tags
    begin: Codes  # (bags + 1,) where each bag begins
    words: int  # codes of tags and categories

    def __len__(self) -> int:
        return len(self.begin) - 1


def _bags(codes: Codes, owner: Codes, categories: NDArray[np.integer] | None, videos: int, tags: int) -> _Bags:
    words = tags
    if categories is not None and len(categories):
        known = np.flatnonzero(categories >= 0)
        codes = np.concatenate([codes, tags + categories[known].astype(np.int64)])
        owner = np.concatenate([owner, known])
        words += max(int(categories.max()) + 1, 0)
        order = np.argsort(owner, kind="stable")
        codes, owner = codes[order], owner[order]
    counts = np.bincount(owner, minlength=videos)
    usable = counts > 1  # a word alone has no company
    return _Bags(codes[usable[owner]], np.concatenate([[0], np.cumsum(counts[usable])]), words)


class _Learner:
    """Input and output vectors and the steps of Adagrad that change them."""

    def __init__(self, bags: _Bags, params: TagParams) -> None:
        self.bags, self.params, self.loss = bags, params, 0.0
        self.rng = np.random.default_rng(params.seed)
        self.inputs = ((self.rng.random((bags.words, params.dim)) - 0.5) / params.dim).astype(np.float32)
        self.outputs = np.zeros_like(self.inputs)
        self.squares = [np.full(table.shape, 1e-6, np.float32) for table in (self.inputs, self.outputs)]
        counts = np.bincount(bags.word, minlength=bags.words) ** params.noise_power
        self.share = np.cumsum(counts) / max(counts.sum(), 1e-12)  # noise distribution, summed up

    def epoch(self) -> None:
        """One pass over all bags in a random order."""
        order = self.rng.permutation(len(self.bags))
        total = 0.0
        for start in range(0, len(order), self.params.batch):
            total += self._step(order[start : start + self.params.batch])
        self.loss = total / max(len(self.bags.word), 1)

    def _step(self, bags: Codes) -> float:
        """The summed loss of the bags' words, after one step.

        With h the mean of the context: -log sigmoid(h·u_word) - negatives · mean over noise u of log sigmoid(-h·u).
        """
        begin = self.bags.begin
        sizes = begin[bags + 1] - begin[bags]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        owner = np.repeat(np.arange(len(bags)), sizes)
        word = self.bags.word[np.arange(len(owner)) - starts[owner] + begin[bags][owner]]
        context = (sizes - 1).astype(np.float32)[owner, None]
        own = self.inputs[word]
        mean = (np.add.reduceat(own, starts, axis=0)[owner] - own) / context  # (p, dim): all of the bag but the word
        noise, weight = self._noise(word, owner, len(bags))
        right, drawn = self.outputs[word], self.outputs[noise]
        error = _sigmoid((mean * right).sum(1, keepdims=True)) - 1.0  # (p, 1) slope of the loss
        other = _sigmoid(mean @ drawn.T)  # (p, noise)
        loss = -np.log1p(error).sum() - (weight * np.log1p(-other)).sum()
        other *= weight
        slope = (error * right + other @ drawn) / context
        by_bag = np.add.reduceat(slope, starts, axis=0)[owner]
        self._descend(0, word, by_bag - slope)
        self._descend(1, np.concatenate([word, noise]), np.concatenate([error * mean, other.T @ mean]))
        return float(loss)

    def _noise(self, word: Codes, owner: Codes, bags: int) -> tuple[Codes, FloatArray]:
        """The distinct words drawn (d,) and how much each weighs for each of the step's words (p, d).

        A word of the same bag weighs nothing: to tell it from itself would push apart what belongs together.
        """
        at = np.searchsorted(self.share, self.rng.random(self.params.noise), "right")
        at = np.minimum(at, len(self.share) - 1)  # the sum of all shares may end a hair below 1
        noise, times = np.unique(at, return_counts=True)
        column = np.full(self.bags.words, -1)
        column[noise] = np.arange(len(noise))
        drawn = column[word] >= 0
        weight = np.tile(times.astype(np.float32) * (self.params.negatives / self.params.noise), (bags, 1))
        weight[owner[drawn], column[word[drawn]]] = 0.0
        return noise, np.asarray(weight[owner], np.float32)

    def _descend(self, table: int, rows: Codes, slopes: FloatArray) -> None:
        """One step of Adagrad on the rows, which may repeat; each time a row is used, its square weighs on the loss."""
        values, squares = (self.inputs, self.outputs)[table], self.squares[table]
        order = np.argsort(rows, kind="stable")
        starts = _starts(rows[order])
        changed, sums = rows[order][starts], np.add.reduceat(slopes[order], starts, axis=0)
        times = np.diff(starts, append=len(rows)).astype(np.float32)
        sums += self.params.weight_decay * times[:, None] * values[changed]
        squares[changed] += sums**2
        values[changed] -= self.params.learning_rate * sums / np.sqrt(squares[changed])


def _sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + e^-x), between 0.000001 and 0.999999 so that its logarithm is finite."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -13.8, 13.8))), np.float32)
