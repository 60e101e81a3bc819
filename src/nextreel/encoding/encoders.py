"""All encoders of a data set, fitted on the training part at once and kept in one folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nextreel.encoding import numeric, tags, text, vocabulary
from nextreel.encoding.cache import EmbeddingCache
from nextreel.encoding.files import EMBEDDINGS, EncodingError, read_json, write_json
from nextreel.encoding.multihot import MultiHot
from nextreel.encoding.numeric import AGE_EDGES, DURATION_EDGES, Buckets, Normalizer
from nextreel.encoding.tags import TagEmbeddings, TagParams
from nextreel.encoding.text import Choice, TextEncoder
from nextreel.encoding.vocabulary import Value, Vocabulary
from nextreel.params import Params
from nextreel.progress import Progress, silent
from nextreel.types import DAY, BoolArray, Catalogue, Events, FloatArray, Profile, RowArray, VideoId

ABOUT_FILE = "encoders.json"
VERSION = 1
TITLE, TAG = "title", "tag"

log = logging.getLogger(__name__)


class EncoderParams(Params):
    """What the encoders of a data set keep, and how they read titles and tags."""

    min_count: int = Field(default=5, ge=1)  # how often a value must occur for a code of its own
    user_min_count: int | None = Field(default=None, ge=1)  # positive events for a person's own code; None: no codes
    popularity_buckets: int = Field(default=10, ge=1)
    title: Choice = "auto"
    title_dim: int = Field(default=128, ge=1)  # of the hashed titles; a sentence encoder has its own
    tags: TagParams = TagParams()


@dataclass(frozen=True)
class Encoders:
    """Every encoder by name, and the vectors of titles and tags in the order of a catalogue.

    Vocabularies: `video`, `channel`, `category`, `country`, `language` (of people and videos alike), `gender`,
    `device`, `location`, `surface`, and `user` where it was asked for. Normalizers: `age` (years), `duration`
    (seconds), `upload_age` (days), `popularity` (plays). Buckets: `age`, `duration`, `popularity`.
    """

    vocabularies: Mapping[str, Vocabulary]
    normalizers: Mapping[str, Normalizer]
    buckets: Mapping[str, Buckets]
    titles: TextEncoder
    tags: TagEmbeddings
    title_vectors: FloatArray  # (n, titles.dim) unit vectors by catalogue row
    tag_vectors: FloatArray  # (n, tags.dim) by catalogue row
    reference_at: float  # time of the newest event that was fitted on; 0 without events

    @property
    def categories(self) -> MultiHot:
        """All categories of a video: the columns are the codes of the vocabulary `category`."""
        return MultiHot(self.vocabularies["category"])

    @classmethod
    def fit(
        cls,
        catalogue: Catalogue,
        profiles: Sequence[Profile],
        events: Events,
        weights: FloatArray,
        params: EncoderParams | None = None,
        cache: EmbeddingCache | None = None,
        progress: Progress = silent,
        *,
        embed: bool = True,
    ) -> Encoders:
        """The encoders of the training part: its events (n,), their relevance weights (n,), and who took part.

        `profiles` go with `events.user_ids`; those of people without an event are not read, and neither are videos
        uploaded after the newest event. Titles embedded before come from the cache. Without `embed` no vector is made:
        `extended` makes them later. Raises EncodingError when the
        parts do not fit together.
        """
        params = params or EncoderParams()
        _check(catalogue, profiles, events, weights)
        positive = np.flatnonzero((weights > 0) & (events.video >= 0))
        rows = events.video[positive]
        reference_at = float(events.at.max()) if len(events) else 0.0
        there = ~(catalogue.published_at > reference_at)
        there[events.video[events.video >= 0]] = True
        people = [profiles[code] for code in np.unique(events.user).tolist()]
        plays = np.bincount(rows, minlength=len(catalogue))
        days = (events.at[positive] - catalogue.published_at[rows]) / DAY
        known_tags = catalogue.tags if len(catalogue.tags) else [()] * len(catalogue)
        chosen = np.flatnonzero(there).tolist()
        said = _titles(catalogue)
        titles = text.choose(TITLE, params.title, [said[row] for row in chosen], params.title_dim)
        learned = tags.fit(
            TAG, [known_tags[row] for row in chosen], catalogue.category[there], params.tags, progress=progress
        )
        seen = plays > 0
        normalizers: dict[str, numeric.Numbers] = {
            "age": np.array([np.nan if p.age is None else p.age for p in people], np.float64),
            "duration": catalogue.duration[seen],
            "upload_age": days,
            "popularity": plays[seen],
        }
        made = cls(
            _vocabularies(catalogue, people, events, positive, there, params),
            {name: numeric.fit_normalizer(name, values) for name, values in normalizers.items()},
            {
                "age": Buckets("age", AGE_EDGES),
                "duration": Buckets("duration", DURATION_EDGES),
                "popularity": numeric.fit_buckets("popularity", plays, params.popularity_buckets),
            },
            titles,
            learned,
            np.empty((0, titles.dim), np.float32),
            np.empty((0, learned.dim), np.float32),
            reference_at,
        )
        return made.extended(catalogue, cache, progress) if embed else made

    def extended(
        self, catalogue: Catalogue, cache: EmbeddingCache | None = None, progress: Progress = silent
    ) -> Encoders:
        """The same encoders with the vectors of another catalogue's titles and tags."""
        if cache is None:
            title_vectors = self.titles.encode(_titles(catalogue))
        else:
            title_vectors = cache.encode(self.titles, _titles(catalogue), progress).vectors
        known_tags = catalogue.tags if len(catalogue.tags) else [()] * len(catalogue)
        return replace(self, title_vectors=title_vectors, tag_vectors=self.tags.encode(known_tags))

    def save(self, folder: Path) -> None:
        """Writes all below `vocabularies/`, `normalizers/`, `buckets/` and `embeddings/` of the folder."""
        parts: tuple[Iterable[Vocabulary | Normalizer | Buckets | TextEncoder | TagEmbeddings], ...] = (
            self.vocabularies.values(),
            self.normalizers.values(),
            self.buckets.values(),
            (self.titles, self.tags),
        )
        for group in parts:
            for part in group:
                part.save(folder)
        for name, vectors in ((TITLE, self.title_vectors), (TAG, self.tag_vectors)):
            np.save(folder / EMBEDDINGS / f"{name}_vectors.npy", vectors, allow_pickle=False)
        about = {
            "version": VERSION,
            "vocabularies": list(self.vocabularies),
            "normalizers": list(self.normalizers),
            "buckets": list(self.buckets),
            "title_encoder": self.titles.kind,
            "title_fingerprint": self.titles.fingerprint,
            "videos": len(self.title_vectors),
            "reference_at": self.reference_at,
        }
        write_json(folder / ABOUT_FILE, about)

    @classmethod
    def load(cls, folder: Path) -> Encoders:
        """The encoders that `save` wrote, vectors memory-mapped. Raises EncodingError for a bad or missing file."""
        keys = ("version", "vocabularies", "normalizers", "buckets", "videos", "reference_at")
        about = read_json(folder / ABOUT_FILE, "set of encoders", keys)
        if about["version"] != VERSION:
            raise EncodingError(
                f"Expected encoders of version {VERSION} in {folder}; got {about['version']}. "
                "Hint: fit the encoders again."
            )
        titles, learned = text.load(folder, TITLE), tags.load(folder, TAG)
        return cls(
            {name: vocabulary.load(folder, name) for name in about["vocabularies"]},
            {name: numeric.load_normalizer(folder, name) for name in about["normalizers"]},
            {name: numeric.load_buckets(folder, name) for name in about["buckets"]},
            titles,
            learned,
            _vectors(folder, TITLE, (about["videos"], titles.dim)),
            _vectors(folder, TAG, (about["videos"], learned.dim)),
            float(about["reference_at"]),
        )


def _titles(catalogue: Catalogue) -> list[str]:
    """Each video's title; nothing where the source has none and the id stands in for it, as it means nothing."""
    pairs = zip(catalogue.titles, catalogue.video_ids.tolist(), strict=True)
    return ["" if title == str(video_id) else title for title, video_id in pairs]


def _vectors(folder: Path, name: str, shape: tuple[int, int]) -> FloatArray:
    """The vectors of a saved catalogue, which have the shape."""
    path = folder / EMBEDDINGS / f"{name}_vectors.npy"
    try:
        # NumPy maps no empty file
        vectors: FloatArray = np.load(path, mmap_mode="r" if shape[0] else None, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise EncodingError(f"Expected saved vectors at {path}; got: {error}. Hint: fit the encoders again.") from error
    if vectors.shape != shape:
        raise EncodingError(
            f"Expected vectors of shape {shape} in {path}; got {vectors.shape}. "
            "Hint: the files come from two fits; fit the encoders again."
        )
    return vectors


def _check(catalogue: Catalogue, profiles: Sequence[Profile], events: Events, weights: FloatArray) -> None:
    """Raises EncodingError unless what goes together has one length."""
    wrong = [
        f"{what}: expected {expected}, got {got}"
        for what, expected, got in (
            ("relevance weights, one per event", len(events), len(weights)),
            ("profiles, one per user id", len(events.user_ids), len(profiles)),
            ("lists of tags, one per video", len(catalogue), len(catalogue.tags) or len(catalogue)),
            ("highest video row of the events, below", len(catalogue), int(events.video.max(initial=-1))),
        )
        if (got >= expected if what.endswith("below") else got != expected)
    ]
    if wrong:
        raise EncodingError(f"The parts to fit encoders on do not fit together. {'; '.join(wrong)}.")


def _vocabularies(
    catalogue: Catalogue,
    people: Sequence[Profile],
    events: Events,
    positive: NDArray[np.intp],
    there: BoolArray,
    params: EncoderParams,
) -> dict[str, Vocabulary]:
    """Every vocabulary by name."""
    rows = events.video[positive]
    languages = dict(_named(catalogue.language_names, catalogue.language[there]))
    for language in (p.language for p in people if p.language is not None):
        languages[language] = languages.get(language, 0) + 1
    per_category = catalogue.categories[there].sum(axis=0).astype(np.int64).tolist()
    counted: dict[str, Iterable[tuple[Value, int]]] = {
        "video": _named(catalogue.video_ids.tolist(), rows),
        "channel": _named(catalogue.channel_ids, catalogue.channel[rows]),
        "category": zip(catalogue.category_names, per_category, strict=True),
        "language": languages.items(),
        "device": _named(events.devices, events.device),
        "location": _named(events.locations, events.location),
        "surface": _named(events.surfaces, events.surface),
    }
    if params.user_min_count is not None:
        counted["user"] = _named(events.user_ids.tolist(), events.user[positive])
    floors = {"user": params.user_min_count or 1}
    made = {
        name: vocabulary.from_counts(name, values, floors.get(name, params.min_count))
        for name, values in counted.items()
    }
    made["country"] = vocabulary.fit("country", (p.country for p in people), params.min_count)
    made["gender"] = vocabulary.fit("gender", (p.gender for p in people), params.min_count)
    for name, one in made.items():
        log.info("Vocabulary '%s': %d values", name, len(one) - 1)
    return made


def _named(names: Sequence[VideoId], codes: RowArray) -> Iterable[tuple[Value, int]]:
    """Each name that occurs among the codes (n,), UNKNOWN left out, and how often."""
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    return ((names[i], int(counts[i])) for i in np.flatnonzero(counts).tolist())
