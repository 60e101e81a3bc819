"""The nouns of nextreel and the protocols its rooms are joined by; needs NumPy alone.

Times are seconds since 1970-01-01 UTC as floats. A *row* is the dense index of a video inside one catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nextreel.history import History
from nextreel.listed import Episodes, Rights

UserId: TypeAlias = int | str
VideoId: TypeAlias = int | str
RowArray: TypeAlias = NDArray[np.int32]
FloatArray: TypeAlias = NDArray[np.float32]
TimeArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
IdArray: TypeAlias = NDArray[Any]  # int64, or object holding str
Codes: TypeAlias = Mapping[str, Mapping[int | str, int]]

_INTEGER = re.compile("0|-?[1-9][0-9]*")  # "007" and "--7" are texts
UNKNOWN = -1  # the code of a category, channel or language that the data leave empty, and the row of no video
MINUTE, DAY = 60.0, 86_400.0
LATEST = 4_102_444_800.0  # 2100-01-01 UTC: no time that anybody tells us is later


class NextreelError(Exception):
    """Base of every error a person can act on: the message says what was expected, what came and what to do."""


class Kind(IntEnum):
    """What a person did; the numbers are written to disk and never change. Those of `RECORDS` are no deeds."""

    IMPRESSION = 0
    CLICK = 1
    WATCH = 2
    LIKE = 3
    DISLIKE = 4
    COMMENT = 5
    SHARE = 6
    COMPLETE = 7
    HIDE = 8
    SUBSCRIBE = 9
    BLOCK = 10
    MERGE = 11  # the log alone: what the session did is the person's
    ERASE = 12  # the log alone: a person is forgotten


RECORDS = (Kind.MERGE, Kind.ERASE)  # kinds that the log alone holds, about people and not about videos
SESSION = "session:"  # what the id of everybody starts with who has no account yet


def integer_or_text(text: str) -> int | str:
    """The integer that the text is, else the text.

    >>> [integer_or_text(text) for text in ("7", "-7", "007")]
    [7, -7, '007']
    """
    return int(text) if _INTEGER.fullmatch(text) else text


def session_person(session_id: str) -> UserId:
    """The person that an anonymous session is."""
    return SESSION + session_id


def is_session(user_id: UserId | None) -> bool:
    """Whether the person is an anonymous session."""
    return isinstance(user_id, str) and user_id.startswith(SESSION)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that one person did, as it arrives live. `video_id` or `channel_id` is set, as the kind asks."""

    user_id: UserId
    at: float
    kind: Kind
    video_id: VideoId | None = None
    channel_id: VideoId | None = None
    value: float | None = None  # a rating, or whatever the source measures
    watch_seconds: float | None = None
    device: str | None = None
    position: int | None = None
    request_id: str | None = None
    event_id: str | None = None
    location: str | None = None  # where the person was: a country, a city, "home"
    surface: str | None = None  # which page or tab of the product showed the video
    session_id: str | None = None  # of a MERGE: whose past becomes the person's


_NONE: NDArray[np.int32] = np.empty(0, np.int32)  # a column that the source does not have
_NEVER: NDArray[np.float64] = np.empty(0, np.float64)


@dataclass(frozen=True, slots=True)
class Events:
    """Events as columns of one length, oldest first: what a data set holds and a replay reads.

    A column that is left out holds UNKNOWN for every event and takes no memory.
    """

    user_ids: IdArray  # (users,) code -> id
    user: NDArray[np.int32]  # (n,) codes into user_ids
    video: RowArray  # (n,) catalogue rows; UNKNOWN for an event about a channel
    at: TimeArray  # (n,)
    kind: NDArray[np.int8]  # (n,) Kind
    value: FloatArray  # (n,) NaN where the source has none
    watch_seconds: FloatArray  # (n,) NaN where the source has none
    channel: NDArray[np.int32] = field(default_factory=lambda: _NONE)  # (n,) code of the channel it is about
    device: NDArray[np.int32] = field(default_factory=lambda: _NONE)  # (n,) codes into devices
    location: NDArray[np.int32] = field(default_factory=lambda: _NONE)  # (n,) codes into locations
    surface: NDArray[np.int32] = field(default_factory=lambda: _NONE)  # (n,) codes into surfaces
    position: NDArray[np.int32] = field(default_factory=lambda: _NONE)  # (n,) place in the list shown, 0 = first
    request: NDArray[np.int32] = field(default_factory=lambda: _NONE)  # (n,) number of the answer it follows from
    devices: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    surfaces: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("channel", "device", "location", "surface", "position", "request"):
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.broadcast_to(np.int32(UNKNOWN), len(self.at)))

    def __len__(self) -> int:
        return len(self.at)

    def take(self, which: slice | NDArray[Any]) -> Events:
        """The chosen events in the given order; the codes of users and of words stay the same."""
        return Events(
            self.user_ids,
            self.user[which],
            self.video[which],
            self.at[which],
            self.kind[which],
            self.value[which],
            self.watch_seconds[which],
            self.channel[which],
            self.device[which],
            self.location[which],
            self.surface[which],
            self.position[which],
            self.request[which],
            self.devices,
            self.locations,
            self.surfaces,
        )


def joined(parts: Sequence[Events]) -> Events:
    """All events of the parts, which have the same people and words, in the order of the parts."""
    names = [one.name for one in fields(Events) if one.name not in ("user_ids", "devices", "locations", "surfaces")]
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **columns)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a person said of themselves; every field may be missing."""

    country: str | None = None
    language: str | None = None
    age: float | None = None
    gender: str | None = None
    created_at: float | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Columns of all videos; the row is the dense index. Counters are not here: they come from replay alone."""

    video_ids: IdArray  # (n,)
    titles: Sequence[str]  # (n,)
    category: NDArray[np.int32]  # (n,) code of the main category, UNKNOWN where missing
    categories: FloatArray  # (n, categories) 1.0 for each category and child category of the video
    channel: NDArray[np.int32]  # (n,) code, UNKNOWN where missing
    language: NDArray[np.int32]  # (n,) code, UNKNOWN where missing
    duration: FloatArray  # (n,) seconds, NaN where missing
    published_at: TimeArray  # (n,) NaN where missing
    maturity: NDArray[np.int8]  # (n,) the least age for which the video is suitable, 0 for everyone
    available: BoolArray  # (n,)
    texts: Sequence[str]  # (n,) title, tags and description joined: what a text encoder reads
    category_names: tuple[str, ...]
    channel_ids: tuple[VideoId, ...]
    language_names: tuple[str, ...]
    row_of: Mapping[VideoId, int] = field(repr=False)  # id -> row
    tags: Sequence[Sequence[str]] = ()  # (n,) free key words of each video; empty where the source has none
    series: NDArray[np.int32] = field(default_factory=lambda: _NONE)  # (n,) code, UNKNOWN outside a series
    episode: NDArray[np.int32] = field(default_factory=lambda: _NONE)  # (n,) number in the series, UNKNOWN without
    series_ids: tuple[VideoId, ...] = ()
    rights: Rights | None = None  # None: every video may be shown everywhere and at any time
    changes: int = 0  # how many changes of the home it holds, beside what the release came with
    episodes: Episodes = field(init=False, repr=False)  # the rows of each series in order
    category_length: FloatArray = field(init=False, repr=False)  # (n,) root of how many categories the video has
    child_category: NDArray[np.int32] = field(init=False, repr=False)  # (n,) code of the rarest but the main one

    def __post_init__(self) -> None:
        for name in ("series", "episode"):
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.broadcast_to(np.int32(UNKNOWN), len(self.video_ids)))
        object.__setattr__(self, "episodes", Episodes.of(self.series, self.episode, len(self.series_ids)))
        object.__setattr__(self, "category_length", np.linalg.norm(self.categories, axis=1).astype(np.float32))
        object.__setattr__(self, "child_category", _rarest_child(self.categories, self.category))

    def __len__(self) -> int:
        return len(self.video_ids)

    def rows(self, video_ids: Sequence[VideoId]) -> RowArray:
        """Rows of the ids, UNKNOWN (-1) for an id that is not in the catalogue."""
        return np.fromiter((self.row_of.get(v, UNKNOWN) for v in video_ids), np.int32, len(video_ids))


def _rarest_child(categories: FloatArray, main: NDArray[np.int32]) -> NDArray[np.int32]:
    """Code (n,) of the category that fewest videos have among each video's own but the main one, else UNKNOWN."""
    rarest = np.full(len(main), UNKNOWN, np.int32)
    fewest = np.full(len(main), np.inf)
    for code, many in enumerate(categories.sum(axis=0).tolist()):  # by category: (n, categories) at once is too wide
        better = (categories[:, code] > 0) & (main != code) & (many < fewest)
        rarest[better], fewest[better] = code, many
    return rarest


@dataclass(slots=True)
class UserState:
    """What is known of one person now; advanced by events alone. `known` is False for one never heard of."""

    user_id: UserId | None
    profile: Profile = field(default_factory=Profile)
    history: History = field(default_factory=History)  # every event but impressions, subscriptions and blocks
    version: int = 0  # grows with every event applied
    offset: int = 0  # log offset of the newest event applied: applying the log twice changes nothing
    known: bool = False
    subscribed: frozenset[int] = frozenset()  # codes of channels
    blocked: frozenset[int] = frozenset()  # codes of channels
    told_at: dict[int, float] = field(default_factory=dict)  # channel -> time of the newest word on it
    watches: int = 0  # events that carried a watch time
    watch_seconds: float = 0.0  # their sum
    impressions: int = 0
    clicks: int = 0
    full_watches: int = 0  # watches of positive relevance: for long enough, or for nobody knows how long
    shown_rows: RowArray = field(default_factory=lambda: _NONE)  # of the newest impressions, oldest first
    shown_at: TimeArray = field(default_factory=lambda: _NEVER)  # their times
    # row -> seconds watched in all, time of the last watch: of the videos watched last, the oldest first, without those
    # that were completed, disliked or hidden since
    partly: dict[int, tuple[float, float]] = field(default_factory=dict)

    @property
    def last_at(self) -> float:
        """Time of the newest event, NaN without one."""
        return float(self.history.at[-1]) if len(self.history) else float("nan")


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that may change the answer, so that a request can be replayed."""

    user_id: UserId | None
    at: float
    k: int = 10
    request_id: str = ""
    session_id: str | None = None
    device: str | None = None
    country: str | None = None  # where the request comes from
    categories: tuple[str, ...] = ()  # when given, only videos of these categories
    languages: tuple[str, ...] = ()  # when given, only videos in these languages
    max_maturity: int | None = None  # least suitable age that may be shown; None: by the profile's age
    exclude: tuple[VideoId, ...] = ()
    variant: str | None = None
    seed: int = 0
    anytime: bool = False  # a list for whenever the person comes next: how long they were away is not known
    surface: str | None = None  # which page or tab asks
    explain: bool = False  # the slate tells why each video is where it is; the list stays the same
    max_age_days: float | None = None  # when given, only videos that came out within so many days


@dataclass(slots=True)
class Moment:
    """All that may be known when candidates are judged: n candidates from S sources."""

    request: Request
    user: UserState
    catalogue: Catalogue
    counters: Any  # nextreel.store.Counters; typed there
    rows: RowArray  # (n,) without repeats
    sources: tuple[str, ...]  # (S,)
    scores: FloatArray  # (n, S) each source's own score of every row; NaN where it has none
    ranks: FloatArray  # (n, S) how many of the request's candidates the source scores higher; 0 = best
    weights: FloatArray  # (S,) how much each source's rank counts where all are joined into one order
    codes: Codes = field(default_factory=dict)  # vocabulary -> word -> code, for what is text in profile and request
    memo: dict[str, FloatArray] = field(default_factory=dict, repr=False, compare=False)  # what features share
    liked: dict[int, RowArray] = field(default_factory=dict, repr=False, compare=False)  # last n events -> rows liked

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def unscored(
        cls, request: Request, user: UserState, catalogue: Catalogue, counters: Any, rows: RowArray, codes: Codes
    ) -> Moment:
        """A moment of rows that no source has scored: all that filters and features of the data look at."""
        none = np.empty((len(rows), 0), np.float32)
        return cls(request, user, catalogue, counters, rows, (), none, none, np.empty(0, np.float32), codes)

    def take(self, which: BoolArray | NDArray[np.integer[Any]]) -> Moment:
        """The moment with only the chosen rows: those where a mask is True, or the given positions in their order."""
        return Moment(
            self.request,
            self.user,
            self.catalogue,
            self.counters,
            self.rows[which],
            self.sources,
            self.scores[which],
            self.ranks[which],
            self.weights,
            self.codes,
        )


@dataclass(frozen=True, slots=True)
class Matrix:
    """Feature values of n candidates; `names` are the columns in order."""

    names: tuple[str, ...]
    values: FloatArray  # (n, features)


@dataclass(frozen=True, slots=True)
class Order:
    """Positions (k,) into the judged rows, best first, and the probability with which each was chosen (k,)."""

    positions: NDArray[np.intp]
    propensities: FloatArray


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the k videos of a slate are where they are: what each feature added, and what each step of the order did."""

    features: tuple[str, ...]
    # objective -> (k, features + 1) what each feature adds to the raw score, and last what every video begins with:
    # they sum to it. Empty where nothing was ranked, or by a ranker that has no such parts.
    contributions: Mapping[str, FloatArray]
    # step -> (k,) the place it left each video at, 0 = first: by "value" alone, then by each orderer, and last by
    # "resume" and "promotion" where there is any; -1 for a step that did not look at the video
    places: Mapping[str, NDArray[np.intp]]

    def top(self, objective: str, place: int, n: int = 5) -> list[tuple[str, float]]:
        """The n features that added or took most for the video at a place, with what each did to the raw score."""
        parts = self.contributions[objective][place, :-1]
        largest = np.argsort(-np.abs(parts), kind="stable")[:n]
        return [(self.features[one], float(parts[one])) for one in largest.tolist()]

    def raw(self, objective: str) -> FloatArray:
        """(k,) raw scores of an objective, before any calibration."""
        total: FloatArray = self.contributions[objective].sum(axis=1)
        return total

    def moved(self, place: int) -> list[str]:
        """The steps that moved the video at a place, in running order."""
        steps = [(name, int(places[place])) for name, places in self.places.items() if places[place] != UNKNOWN]
        return [name for (_, before), (name, after) in pairwise(steps) if before != after]


@dataclass(frozen=True, slots=True)
class Slate:
    """The answer to one request: parallel columns of at most k videos, and how it came about."""

    request: Request
    rows: RowArray
    video_ids: list[VideoId]
    value: FloatArray  # the joined value the list was ordered by, before the final order moved anything
    objectives: FloatArray  # (k, objectives)
    sources: list[str]  # the source that ranked the video best
    reasons: list[str]
    propensities: FloatArray
    promoted: BoolArray  # the place was given to the video, whatever its value
    trace: Trace
    release: str
    level: str  # "full", "unranked" or "trending": the rung of the fallback ladder
    explanation: Explanation | None = None  # where the request asked for it


@dataclass(slots=True)
class Trace:
    """What happened on the way: counts and milliseconds per stage."""

    milliseconds: dict[str, float] = field(default_factory=dict)  # stage -> ms
    proposed: dict[str, int] = field(default_factory=dict)  # source -> candidates
    removed: dict[str, int] = field(default_factory=dict)  # filter -> candidates removed
    moved: dict[str, int] = field(default_factory=dict)  # orderer -> positions it changed in the slate
    promoted: dict[str, int] = field(default_factory=dict)  # "configured", "eligible", "shown" -> promoted videos
    resumed: dict[str, int] = field(default_factory=dict)  # "begun", "eligible", "shown" -> videos to go on with
    candidates: int = 0
    eligible: int = 0
    failures: dict[str, str] = field(default_factory=dict)  # part -> error


class Retriever(Protocol):
    """Proposes from the whole catalogue, best first."""

    @property
    def name(self) -> str:
        """Names the source in features, quotas and traces."""
        ...

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """At most n rows outside the person's history, without repeats, best first, and their scores; may be empty."""
        ...

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """The same score for any rows, also ones it would not propose; NaN where it has none."""
        ...


Filter: TypeAlias = Callable[[Moment], BoolArray]  # True keeps the row
Feature: TypeAlias = Callable[[Moment], FloatArray | float]  # a column named as the function, or one number for all
Orderer: TypeAlias = Callable[[Moment, FloatArray, int], Order]


class Ranker(Protocol):
    """Scores candidates; it can drop none."""

    @property
    def objectives(self) -> tuple[str, ...]:
        """What is predicted, one name per column of the scores."""
        ...

    def score(self, matrix: Matrix) -> FloatArray:
        """(n, objectives), higher is better."""
        ...


@runtime_checkable
class Explaining(Protocol):
    """A ranker that can tell what each feature adds."""

    def contributions(self, matrix: Matrix) -> dict[str, FloatArray]:
        """For each objective (n, features + 1): what each feature adds to the raw score, and last what all begin with.

        Raises `NextreelError` where the model has no such parts.
        """
        ...


class KeyValue(Protocol):
    """Bytes under a key, each with a version that starts at 1 and grows by one with every write."""

    def get_many(self, keys: Sequence[str]) -> list[tuple[bytes, int] | None]:
        """Value and version for each key, None where there is none."""
        ...

    def put_many(self, items: Sequence[tuple[str, bytes, int | None]], seconds: float | None = None) -> None:
        """Writes all of (key, value, expected version) or none; expected 0 = must not exist, None = whatever is there.

        With `seconds`, the keys are no longer there when so many have passed, or at most one more; a later write
        without them keeps its keys for good. Raises `Conflict` when another version is there. A backend that takes
        only so many keys at once refuses more.
        """
        ...

    def delete(self, keys: Sequence[str]) -> int:
        """How many of the keys were there; they no longer are."""
        ...

    def erase(self, items: Sequence[tuple[str, int | None]]) -> int:
        """How many of (key, version) were there, None = at any version; no file of this process keeps their bytes."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Every key that starts with the prefix, sorted. Reads all keys on some backends: not for requests."""
        ...


class Conflict(NextreelError):
    """A write expected another version than the one that is there."""


class EventLog(Protocol):
    """An ordered, durable log; an append that returned is not lost."""

    def append(self, events: Sequence[Event]) -> list[int]:
        """Offset of each event; an event whose event_id is already there gets the offset it has."""
        ...

    def read(self, after: int, limit: int = 1000) -> list[tuple[int, Event]]:
        """Events with an offset above `after`, oldest first."""
        ...

    def erase(self, offsets: Sequence[int]) -> int:
        """How many of the offsets held an event; they hold none any more, and those of the others stay."""
        ...


class Blobs(Protocol):
    """Files under slash-separated keys."""

    def put(self, key: str, source: Path) -> None:
        """Keeps a copy of the file under the key."""
        ...

    def get(self, key: str, target: Path) -> Path:
        """The target, now holding what is kept under the key."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Every key that starts with the prefix, sorted."""
        ...


@runtime_checkable
class VectorIndex(Protocol):
    """Rows by inner product, which may change while others search; a row keeps its number for good."""

    def search(
        self, query: FloatArray, k: int, exclude: NDArray[np.integer] | None = None
    ) -> tuple[RowArray, FloatArray]:
        """The k best rows outside `exclude` and their inner products, best first."""
        ...

    def add(self, vectors: FloatArray) -> RowArray:
        """The new rows of the vectors, numbered on from the last one; the next search finds them."""
        ...

    def update(self, rows: NDArray[np.integer], vectors: FloatArray) -> None:
        """Gives each of the rows another vector; one that was removed is there again."""
        ...

    def remove(self, rows: NDArray[np.integer]) -> int:
        """How many of the rows were there; no search finds them any more."""
        ...
