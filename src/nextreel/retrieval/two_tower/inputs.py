"""What the towers read, made the same way for training and for serving: arrays of videos, histories and profiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextreel.encoding import numeric, text, vocabulary
from nextreel.encoding.cache import EmbeddingCache
from nextreel.encoding.files import read_json, write_json
from nextreel.encoding.numeric import AGE_EDGES, DURATION_EDGES, Buckets, Normalizer
from nextreel.encoding.text import Choice, TextEncoder
from nextreel.encoding.vocabulary import Vocabulary
from nextreel.types import DAY, BoolArray, Catalogue, Events, FloatArray, Profile, RowArray, TimeArray

GAP_BUCKETS = 32  # 0 unknown, then powers of two seconds: the last is above 17 years
UPLOAD_EDGES = (1.0, 7.0, 30.0, 90.0, 365.0, 730.0, 1825.0, 3650.0, 7300.0, 14600.0)  # days
PROFILE_FIELDS = ("country", "language", "gender", "age")
ENCODER_FILE = "video_inputs.json"
COUNTS_FILE = "popularity.npy"

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class VideoInputs:
    """Columns the video tower reads, one row per video."""

    ids: IntArray  # (n,) codes, 0 for a video without an embedding of its own
    channels: IntArray  # (n,)
    languages: IntArray  # (n,)
    popularity: FloatArray  # (n, 1) standard score; 0 for a video the training part hardly has
    content: FloatArray  # (n, features) categories, text, duration and age of the upload

    def take(self, rows: NDArray[np.integer]) -> VideoInputs:
        """The chosen rows."""
        return VideoInputs(
            self.ids[rows], self.channels[rows], self.languages[rows], self.popularity[rows], self.content[rows]
        )


@dataclass(frozen=True)
class VideoEncoder:
    """Turns a catalogue into what the video tower reads; fitted on the training part alone."""

    ids: Vocabulary
    channels: Vocabulary
    languages: Vocabulary
    categories: tuple[str, ...]
    duration: Normalizer
    upload: Normalizer
    text: TextEncoder
    reference_at: float  # the newest event of the training part: ages of uploads are counted back from it
    popularity: FloatArray  # (len(ids),) standard score by id code

    @property
    def features(self) -> int:
        """Width of the content columns."""
        return len(self.categories) + self.text.dim + 2 + len(_DURATIONS) + len(_UPLOADS)

    @property
    def dated(self) -> BoolArray:
        """(features,) the content columns that tell how old the upload is."""
        columns = np.zeros(self.features, np.bool_)
        columns[len(self.categories) + self.text.dim + 1] = True
        columns[-len(_UPLOADS) :] = True
        return columns

    def encode(self, catalogue: Catalogue, cache: EmbeddingCache | None = None) -> VideoInputs:
        """The inputs of all videos of a catalogue, which may be another than the one that was fitted on.

        A video without an id of its own has no age either: hardly any video that the towers learn from is younger than
        the last day of the data, so its age would say "nobody watches this". Texts that are in the cache are not
        encoded again.
        """
        n = len(catalogue)
        ids = self.ids.encode(catalogue.video_ids)
        channels = np.append(self.channels.encode(catalogue.channel_ids), 0)  # the last, -1, is UNKNOWN
        languages = np.append(self.languages.encode(catalogue.language_names), 0)
        days = np.maximum(self.reference_at - catalogue.published_at, 0.0) / DAY
        content = np.zeros((n, self.features), np.float32)
        place = {name: i for i, name in enumerate(self.categories)}
        for column, name in enumerate(catalogue.category_names):
            if name in place:
                content[:, place[name]] = catalogue.categories[:, column]
        width = len(self.categories)
        # unit length, so that a video of many categories is not louder than one of a single category
        content[:, :width] /= np.maximum(np.linalg.norm(content[:, :width], axis=1, keepdims=True), 1e-12)
        content[:, width : width + self.text.dim] = (
            self.text.encode(catalogue.texts) if cache is None else cache.encode(self.text, catalogue.texts).vectors
        )
        width += self.text.dim
        content[:, width] = self.duration.encode(catalogue.duration)
        content[:, width + 1] = self.upload.encode(days)
        width += 2
        every = np.arange(n)
        content[every, width + _DURATIONS.encode(catalogue.duration)] = 1.0
        content[every, width + len(_DURATIONS) + _UPLOADS.encode(days)] = 1.0
        content[np.ix_(ids == 0, self.dated)] = 0.0
        return VideoInputs(
            ids.astype(np.int64),
            channels[catalogue.channel].astype(np.int64),
            languages[catalogue.language].astype(np.int64),
            self.popularity[ids][:, None],
            content,
        )

    def save(self, folder: Path) -> None:
        """Writes the encoders below the folder."""
        for part in (self.ids, self.channels, self.languages, self.duration, self.upload, self.text):
            part.save(folder)
        write_json(folder / ENCODER_FILE, {"categories": list(self.categories), "reference_at": self.reference_at})
        np.save(folder / COUNTS_FILE, self.popularity)


_DURATIONS = Buckets("duration", DURATION_EDGES)
_UPLOADS = Buckets("upload_age_days", UPLOAD_EDGES)
_AGES = Buckets("age", AGE_EDGES)


def fit_videos(
    catalogue: Catalogue, rows: RowArray, at: TimeArray, min_count: int, text_dim: int, choice: Choice = "hashed"
) -> VideoEncoder:
    """The encoder of a catalogue, given the rows and times of the training part's positive events."""
    counts = np.bincount(rows, minlength=len(catalogue))
    frequent = np.repeat(catalogue.video_ids, np.where(counts >= min_count, counts, 0))
    ids = vocabulary.fit("video", frequent.tolist())
    channel = np.asarray(catalogue.channel_ids, object)[catalogue.channel[rows][catalogue.channel[rows] >= 0]]
    language = np.asarray(catalogue.language_names, object)[catalogue.language[catalogue.language >= 0]]
    seen = np.flatnonzero(counts)
    reference_at = float(at.max()) if len(at) else 0.0
    days = np.maximum(reference_at - catalogue.published_at[seen], 0.0) / DAY
    popularity = np.zeros(len(ids), np.float32)
    codes = ids.encode(catalogue.video_ids)
    popularity[codes] = numeric.fit_normalizer("popularity", counts[codes > 0]).encode(counts)
    popularity[0] = 0.0
    return VideoEncoder(
        ids,
        vocabulary.fit("channel", channel.tolist(), min_count),
        vocabulary.fit("language", language.tolist()),
        catalogue.category_names,
        numeric.fit_normalizer("duration", catalogue.duration[seen]),
        numeric.fit_normalizer("upload_age_days", days),
        text.choose("text", choice, catalogue.texts, text_dim),
        reference_at,
        popularity,
    )


def load_videos(folder: Path) -> VideoEncoder:
    """The encoder that `VideoEncoder.save` wrote below the folder."""
    about = read_json(folder / ENCODER_FILE, "video encoder", ("categories", "reference_at"))
    return VideoEncoder(
        vocabulary.load(folder, "video"),
        vocabulary.load(folder, "channel"),
        vocabulary.load(folder, "language"),
        tuple(about["categories"]),
        numeric.load_normalizer(folder, "duration"),
        numeric.load_normalizer(folder, "upload_age_days"),
        text.load(folder, "text"),
        float(about["reference_at"]),
        np.load(folder / COUNTS_FILE, allow_pickle=False),
    )


@dataclass(frozen=True)
class ProfileEncoder:
    """Turns profiles into codes (n, 4) of country, language, gender and age bucket; 0 where unknown."""

    country: Vocabulary
    language: Vocabulary  # the videos': both towers share its embedding
    gender: Vocabulary

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each field has."""
        return len(self.country), len(self.language), len(self.gender), len(_AGES)

    def encode(self, profiles: Sequence[Profile]) -> IntArray:
        """Codes (n, 4) of the profiles."""
        codes = [
            (
                self.country.code(p.country),
                self.language.code(p.language),
                self.gender.code(p.gender),
                _AGES.code(p.age),
            )
            for p in profiles
        ]
        return np.array(codes, np.int64).reshape(-1, len(PROFILE_FIELDS))

    def save(self, folder: Path) -> None:
        """Writes the vocabularies below the folder; the language's is the video encoder's."""
        self.country.save(folder)
        self.gender.save(folder)


def fit_profiles(profiles: Sequence[Profile], language: Vocabulary, min_count: int) -> ProfileEncoder:
    """The encoder of profiles whose values are frequent enough."""
    country = vocabulary.fit("country", (p.country for p in profiles), min_count)
    return ProfileEncoder(country, language, vocabulary.fit("gender", (p.gender for p in profiles), min_count))


def load_profiles(folder: Path) -> ProfileEncoder:
    """The encoder that `ProfileEncoder.save` and `VideoEncoder.save` wrote below the folder."""
    return ProfileEncoder(*(vocabulary.load(folder, name) for name in ("country", "language", "gender")))


def gap_codes(seconds: NDArray[np.float64]) -> IntArray:
    """Codes of time gaps: 0 unknown, 1 below a second, and one more with every doubling.

    >>> gap_codes(np.array([np.nan, 0.0, 1.0, 60.0, 86400.0])).tolist()
    [0, 1, 2, 6, 17]
    """
    codes = 1 + np.floor(np.log2(1.0 + np.maximum(seconds, 0.0)))
    return np.where(np.isnan(seconds), 0, np.minimum(codes, GAP_BUCKETS - 1)).astype(np.int64)


def gaps(at: TimeArray, asked: TimeArray, timed: bool = True) -> IntArray:
    """Codes (..., l, 2) of the time since the event before, and from then until one `asked`, from times (..., l).

    Where it is not known when anybody asks, `asked` is NaN. Where the data have no times, all codes are 0.

    >>> gaps(np.array([0.0, 5.0]), np.array([5.0, np.nan])).tolist()
    [[0, 35], [3, 32]]
    """
    if not timed:
        return np.zeros((*at.shape, 2), np.int64)
    since = np.full(at.shape, np.nan)
    since[..., 1:] = np.diff(at)
    return np.stack([gap_codes(since), GAP_BUCKETS + gap_codes(asked - at)], -1)


def tokens(rows: RowArray, at: TimeArray, weights: FloatArray, n_videos: int) -> tuple[RowArray, TimeArray, FloatArray]:
    """What a history says to the tower: positive events, one token for a run of events about one video.

    A run has the time of its first event and the largest of its weights. Rows outside the catalogue are left out.
    """
    keep = (weights > 0) & (rows >= 0) & (rows < n_videos)
    if not keep.all():
        rows, at, weights = rows[keep], at[keep], weights[keep]
    if len(rows) == 0:
        return rows, at, weights
    new = np.ones(len(rows), bool)
    new[1:] = rows[1:] != rows[:-1]
    if new.all():
        return rows, at, weights
    first = np.flatnonzero(new)
    return rows[first], at[first], np.maximum.reduceat(weights, first)


@dataclass(frozen=True)
class Sequences:
    """Tokens of all users end to end: user u has the positions starts[u] to starts[u + 1]."""

    users: NDArray[np.int32]  # (users,) codes
    starts: IntArray  # (users + 1,)
    rows: RowArray  # (n,)
    at: TimeArray  # (n,)
    weights: FloatArray  # (n,)

    def __len__(self) -> int:
        return len(self.users)


def sequences(events: Events, weights: FloatArray, n_videos: int) -> Sequences:
    """The tokens of every user with a positive event, oldest first; the same rules as `tokens`, for all at once."""
    keep = np.flatnonzero((weights > 0) & (events.video >= 0) & (events.video < n_videos))
    order = keep[np.argsort(events.user[keep], kind="stable")]
    user, rows, at, weight = events.user[order], events.video[order], events.at[order], weights[order]
    if len(user) == 0:
        return Sequences(np.empty(0, np.int32), np.zeros(1, np.int64), rows, at, weight)
    new = np.ones(len(user), bool)
    new[1:] = (rows[1:] != rows[:-1]) | (user[1:] != user[:-1])
    first = np.flatnonzero(new)
    weight = np.maximum.reduceat(weight, first)
    user, rows, at = user[first], rows[first], at[first]
    starts = np.flatnonzero(np.concatenate([[True], user[1:] != user[:-1]]))
    return Sequences(user[starts], np.append(starts, len(user)).astype(np.int64), rows, at, weight.astype(np.float32))
