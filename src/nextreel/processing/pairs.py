"""Rows for the two towers: a person, what they liked before, and the video they liked then."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel.encoding.numeric import hour_circle, weekday_circle
from nextreel.processing.people import Own
from nextreel.processing.shared import Shared
from nextreel.processing.visits import judged
from nextreel.types import DAY, RowArray

_CHUNK = 65_536  # rows made at once: histories of 50 take some 30 MB

SCHEMA = [
    ("user_id", None),
    ("video_id", None),
    ("at", pa.float64()),
    ("weight", pa.float32()),
    ("country", pa.int32()),
    ("language", pa.int32()),
    ("gender", pa.int32()),
    ("age", pa.float32()),
    ("age_bucket", pa.int32()),
    ("history", pa.list_(pa.int32())),
    ("history_categories", pa.list_(pa.int32())),
    ("hour_sin", pa.float32()),
    ("hour_cos", pa.float32()),
    ("weekday_sin", pa.float32()),
    ("weekday_cos", pa.float32()),
    ("device", pa.int32()),
    ("location", pa.int32()),
    ("video", pa.int32()),
    ("category", pa.int32()),
    ("child_category", pa.int32()),
    ("channel", pa.int32()),
    ("video_language", pa.int32()),
    ("duration", pa.float32()),
    ("duration_bucket", pa.int32()),
    ("popularity", pa.float32()),
    ("popularity_bucket", pa.int32()),
    ("upload_age", pa.float32()),
    ("split", pa.int8()),
]


def schema(shared: Shared) -> pa.Schema:
    """The columns of the rows; ids are of the source's type."""
    ids = {"user_id": shared.people["user_id"].type, "video_id": shared.video_ids.type}
    return pa.schema([(name, ids.get(name, kind)) for name, kind in SCHEMA])


def pair_rows(shared: Shared, own: Own) -> Iterator[pa.RecordBatch]:
    """One row for each video that a visit liked, by person and time.

    `history` are codes of the videos that the person liked before, newest last, at most `history` of them. Plays,
    ages and the history are those of the moment of the event.
    """
    graded, videos = own.graded, len(shared.catalogue)
    liked = judged(own.events, graded, own.visits, videos, shared.timed, shared.params)[0]
    visit = np.repeat(np.arange(len(own.visits)), np.diff(liked.start))
    key = visit * np.int64(videos) + liked.row
    positive = np.flatnonzero((graded > 0) & (own.events.video >= 0))
    known, first = np.unique(
        own.visits.of_event[positive] * np.int64(videos) + own.events.video[positive], return_index=True
    )
    event = positive[first]  # the first that each visit liked each video with
    order = np.argsort(event)
    # A row is what was not rejected later in the visit; the histories of the rows between cannot know of that.
    grade = np.full(len(known), np.nan, np.float32)
    grade[np.searchsorted(known, key)] = liked.grade
    event, grade = event[order], grade[order]
    kept = np.flatnonzero(~np.isnan(grade))
    sides = _Sides(shared)
    for begin in range(0, len(kept), _CHUNK):
        yield sides.batch(own, event, grade, kept[begin : begin + _CHUNK])


class _Sides:
    """Columns of all people and videos, looked up by code."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.schema = schema(shared)
        catalogue, encoders = shared.catalogue, shared.encoders
        words = encoders.vocabularies
        category = np.append(words["category"].encode(catalogue.category_names), 0)  # UNKNOWN (-1) is the last
        channel = np.append(words["channel"].encode(catalogue.channel_ids), 0)
        language = np.append(words["language"].encode(catalogue.language_names), 0)
        self.videos = {
            "video": words["video"].encode(catalogue.video_ids),
            "category": category[catalogue.category],
            "child_category": category[catalogue.child_category],
            "channel": channel[catalogue.channel],
            "video_language": language[catalogue.language],
            "duration": encoders.normalizers["duration"].encode(catalogue.duration),
            "duration_bucket": encoders.buckets["duration"].encode(catalogue.duration),
        }
        self.device = np.append(words["device"].encode(shared.events.devices), 0)
        self.location = np.append(words["location"].encode(shared.events.locations), 0)

    def batch(
        self, own: Own, event: NDArray[np.intp], grade: NDArray[np.float32], chosen: NDArray[np.intp]
    ) -> pa.RecordBatch:
        """The rows of the chosen ones among the likes (p,), which stand by person and time."""
        at_hand = event[chosen]
        user, row, at = own.events.user[at_hand], own.events.video[at_hand], own.events.at[at_hand]
        history, offsets = _histories(
            own.events.user[event], own.events.video[event], chosen, self.shared.params.history
        )
        encoders = self.shared.encoders
        plays = own.plays_before[at_hand]
        hour, weekday = hour_circle(at), weekday_circle(at)
        timed = 1.0 if self.shared.timed else np.nan
        days = (at - self.shared.catalogue.published_at[row]) / DAY * timed
        offsets = pa.array(offsets)
        columns = {
            "user_id": self.shared.people["user_id"].take(pa.array(user)).combine_chunks(),
            "video_id": self.shared.video_ids.take(pa.array(row)),
            "at": at,
            "weight": grade[chosen],
            **self._people(user),
            "history": pa.ListArray.from_arrays(offsets, pa.array(self.videos["video"][history])),
            "history_categories": pa.ListArray.from_arrays(offsets, pa.array(self.videos["category"][history])),
            "hour_sin": hour[:, 0] * np.float32(timed),
            "hour_cos": hour[:, 1] * np.float32(timed),
            "weekday_sin": weekday[:, 0] * np.float32(timed),
            "weekday_cos": weekday[:, 1] * np.float32(timed),
            "device": self.device[own.events.device[at_hand]],
            "location": self.location[own.events.location[at_hand]],
            **{name: column[row] for name, column in self.videos.items()},
            "popularity": encoders.normalizers["popularity"].encode(plays),
            "popularity_bucket": encoders.buckets["popularity"].encode(plays),
            "upload_age": encoders.normalizers["upload_age"].encode(days),
            "split": own.split[at_hand],
        }
        arrays = [
            one if isinstance(one, pa.Array | pa.ChunkedArray) else pa.array(np.ascontiguousarray(one), field.type)
            for field, one in ((field, columns[field.name]) for field in self.schema)
        ]
        return pa.RecordBatch.from_arrays(
            [one.combine_chunks() if isinstance(one, pa.ChunkedArray) else one for one in arrays], schema=self.schema
        )

    def _people(self, user: RowArray) -> dict[str, NDArray[np.generic]]:
        """The person's columns of each row."""
        people, place = np.unique(user, return_inverse=True)
        profiles = self.shared.profiles(people)
        encoders = self.shared.encoders
        age = np.array([np.nan if one.age is None else one.age for one in profiles], np.float64)
        words = encoders.vocabularies
        columns: dict[str, NDArray[np.generic]] = {
            "country": words["country"].encode([one.country for one in profiles]),
            "language": words["language"].encode([one.language for one in profiles]),
            "gender": words["gender"].encode([one.gender for one in profiles]),
            "age": encoders.normalizers["age"].encode(age),
            "age_bucket": encoders.buckets["age"].encode(age),
        }
        return {name: column[place] for name, column in columns.items()}


def _histories(
    user: NDArray[np.int32], row: RowArray, chosen: NDArray[np.intp], longest: int
) -> tuple[RowArray, NDArray[np.int32]]:
    """Rows of the same person's likes before each of the chosen ones, oldest first, and where each list starts."""
    first = np.searchsorted(user, user[chosen])
    length = np.minimum(chosen - first, longest)
    offsets = np.concatenate([[0], np.cumsum(length)])
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], length) + np.repeat(chosen - length, length)
    return row[place], offsets.astype(np.int32)
