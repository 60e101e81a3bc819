"""Changes of a catalogue while it is served: whole videos that come or are told anew, and videos that are withdrawn.

A release's catalogue never changes. Changes are kept beside it, in the store that all processes of a home share, each
under the next number; whoever serves follows them in that order. So a row, once given, is the same video everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from nextreel.listed import Rights, entries
from nextreel.types import (
    UNKNOWN,
    BoolArray,
    Catalogue,
    KeyValue,
    NextreelError,
    RowArray,
    VideoId,
    integer_or_text,
)

_VERSION = b"\x01"
_LOOKED_FOR = 4  # numbers that a look asks for at first; four times as many whenever all of them are there
_MOST_LOOKED_FOR = 256


class WrongUpload(NextreelError):
    """A record that cannot enter this catalogue."""


class Upload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole record of a video: what it leaves out is not known of the video, whatever was known before."""

    video_id: int | str
    channel_id: int | str | None = None
    title: str | None = None  # None: the id is shown
    description: str | None = None
    category: str | None = None
    child_categories: tuple[str, ...] = ()
    language: str | None = None
    duration: float | None = None  # seconds
    tags: tuple[str, ...] = ()
    published_at: float | None = None
    is_available: bool = True
    maturity_rating: int = 0  # least suitable age
    series: int | str | None = None
    episode: int | None = None  # number within the series
    regions: tuple[str, ...] = ()  # where alone it may be shown; everywhere without any
    available_from: float | None = None
    available_until: float | None = None  # from when on it may no longer be shown

    @property
    def rights(self) -> list[tuple[str | None, float, float]]:
        """Region, beginning and end of each right to show it; none where it may be shown everywhere and always."""
        if not self.regions and self.available_from is None and self.available_until is None:
            return []
        since = np.nan if self.available_from is None else self.available_from
        until = np.nan if self.available_until is None else self.available_until
        return [(region, since, until) for region in self.regions or (None,)]

    @property
    def text(self) -> str:
        """What a text encoder reads: title, categories, tags and description, as in a data set's videos."""
        children = " ".join(self.child_categories)
        # the main category is not said twice where it also stands among the children
        category = None if f" {self.category} " in f" {children} " else self.category
        parts = [self.shown, category, children, " ".join(self.tags), self.description]
        return " ".join(part for part in parts if part).strip()

    @property
    def shown(self) -> str:
        """What people read."""
        return str(self.video_id) if self.title is None else self.title


class Change(msgspec.Struct, frozen=True, array_like=True):
    """What changes at once: videos uploaded or told anew, then videos withdrawn."""

    at: float  # when it was written
    uploads: tuple[Upload, ...] = ()
    withdrawn: tuple[int | str, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Change)


def encode(change: Change) -> bytes:
    """The change's bytes: one version byte, then MessagePack."""
    return _VERSION + _encoder.encode(change)


def decode(body: bytes) -> Change:
    """The change that `encode` wrote. Raises `NextreelError` for bytes of another version."""
    if body[:1] != _VERSION:
        raise NextreelError(
            f"Expected a change of the catalogue to start with version byte {_VERSION.hex()}, got "
            f"{body[:1].hex() or 'nothing'}. Hint: serve with the version of nextreel that wrote it, or a newer one."
        )
    return _decoder.decode(body[1:])


def key_of(number: int) -> str:
    """The key of a change."""
    return f"video/{number:08d}"


class Changes:
    """The changes of one home, numbered from 1 without a gap."""

    def __init__(self, shared: KeyValue) -> None:
        self._shared = shared

    def after(self, number: int, until: int | None = None) -> list[Change]:
        """All changes above the number, and not above the other one if it is given, in their order."""
        found: list[Change] = []
        many = _LOOKED_FOR
        while True:
            first = number + len(found) + 1
            end = first + many if until is None else min(first + many, until + 1)
            bodies = self._shared.get_many([key_of(one) for one in range(first, end)]) if first < end else []
            for body in bodies:
                if body is None:
                    return found
                found.append(decode(body[0]))
            if not bodies:
                return found
            many = min(4 * many, _MOST_LOOKED_FOR)

    def append(self, change: Change, number: int) -> None:
        """Keeps the change under the number, whole or not at all. Raises `Conflict` where there is one already."""
        self._shared.put_many([(key_of(number), encode(change), 0)])


def entering(uploads: Sequence[Upload], catalogue: Catalogue) -> list[Upload]:
    """The uploads with ids of the types that the catalogue's are of: 7 and "7" are one video, channel or series.

    Raises `WrongUpload` where an id is there twice, or cannot be of that type.
    """
    whole = catalogue.video_ids.dtype.kind == "i"
    whole_channels = isinstance(next(iter(catalogue.channel_ids), ""), int)
    whole_series = isinstance(next(iter(catalogue.series_ids), ""), int)
    seen: set[VideoId] = set()
    found = []
    for one in uploads:
        video_id = _as(one.video_id, whole)
        if isinstance(video_id, int) != whole:
            raise WrongUpload(
                f"Expected a whole number of 64 bits as the id of a video, as in the catalogue, got {one.video_id!r}."
            )
        if video_id in seen:
            raise WrongUpload(f"Expected each video once, got {video_id!r} twice. Hint: send its newest record.")
        seen.add(video_id)
        channel_id = None if one.channel_id is None else _as(one.channel_id, whole_channels)
        series = None if one.series is None else _as(one.series, whole_series)
        found.append(msgspec.structs.replace(one, video_id=video_id, channel_id=channel_id, series=series))
    return found


def _as(given: int | str, whole: bool) -> int | str:
    """The id as a whole number where it is one and may be, else as text."""
    text = str(given)
    found = integer_or_text(text) if whole else text
    return found if isinstance(found, int) and -(2**63) <= found < 2**63 else text


@dataclass(frozen=True, slots=True)
class Released:
    """What a release says itself: changes that are older than it do not tell its videos anew."""

    at: float  # when the release was made
    available: BoolArray  # (videos,) of its own catalogue

    @classmethod
    def of(cls, catalogue: Catalogue, at: float) -> Released:
        """What the release says that was made at the time with the catalogue."""
        return cls(at, np.array(catalogue.available))


@dataclass(frozen=True, slots=True)
class Extended:
    """A catalogue after some changes."""

    catalogue: Catalogue
    told: RowArray  # rows that have new columns, ascending; those that were not there before are the last
    touched: RowArray  # these, and the rows that were withdrawn or are there again


def extended(catalogue: Catalogue, changes: Sequence[Change], released: Released) -> Extended:
    """The catalogue after the changes: rows never move, and new videos, categories, … get the next row or code.

    Many changes at once give what one after the other gives. A change older than the release withdraws a video that the
    release has, or takes such a withdrawal back, and changes nothing else of it.
    """
    names = _Names(catalogue)
    row_of = dict(catalogue.row_of)
    told: dict[int, Upload] = {}
    available: dict[int, bool] = {}
    for change in changes:
        old = change.at < released.at
        for upload in change.uploads:
            row = row_of.setdefault(upload.video_id, len(row_of))
            if old and row < len(released.available):
                available[row] = bool(released.available[row])
                continue
            names.learn(upload)
            told[row], available[row] = upload, upload.is_available
        available.update((row_of[video_id], False) for video_id in change.withdrawn if video_id in row_of)
    rows = np.array(sorted(told), np.int32)
    uploads = [told[row] for row in rows.tolist()]
    columns = _grown(catalogue, len(row_of), len(names.category))
    _tell(columns, uploads, rows, names)
    touched = np.array(sorted(available), np.int32)
    columns["available"][touched] = [available[row] for row in touched.tolist()]
    after = replace(
        catalogue,
        **columns,
        category_names=tuple(names.category),
        channel_ids=tuple(names.channel.ids),
        series_ids=tuple(names.series.ids),
        rights=_rights(catalogue, uploads, rows, len(row_of)),
        language_names=tuple(names.language),
        row_of=row_of,
        changes=catalogue.changes + len(changes),
    )
    return Extended(after, rows, touched)


def taken(catalogue: Catalogue, rows: RowArray) -> Catalogue:
    """The catalogue of the rows alone, in their order; categories, channels and languages keep their codes."""
    columns: dict[str, Any] = {name: column[rows] for name, column in _columns(catalogue).items()}
    for name in ("titles", "texts", "tags"):
        column = getattr(catalogue, name)
        columns[name] = [column[row] for row in rows.tolist()] if column else ()
    row_of = {video_id: row for row, video_id in enumerate(columns["video_ids"].tolist())}
    rights = catalogue.rights
    if rights is not None:
        owner, entry = entries(rights.starts, rows)
        starts = np.searchsorted(owner, np.arange(len(rows) + 1)).astype(np.int64)
        rights = replace(
            rights, starts=starts, region=rights.region[entry], since=rights.since[entry], until=rights.until[entry]
        )
    return replace(catalogue, **columns, row_of=row_of, rights=rights)


class _Ids:
    """Codes of ids, which go on where the catalogue's end; 7 and "7" are one."""

    def __init__(self, ids: Sequence[VideoId]) -> None:
        self.ids = list(ids)
        self._codes = {str(one): code for code, one in enumerate(self.ids)}

    def learn(self, given: VideoId | None) -> None:
        """Gives a code to an id that has none."""
        if given is not None and str(given) not in self._codes:
            self._codes[str(given)] = len(self.ids)
            self.ids.append(given)

    def code(self, given: VideoId | None) -> int:
        """The code of an id that was learnt, UNKNOWN for none."""
        return UNKNOWN if given is None else self._codes[str(given)]


class _Names:
    """Codes of categories, languages, channels and series, which go on where the catalogue's end.

    A superseded upload gives its names their codes too: who followed it and who reads it later count alike.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.category = {name: code for code, name in enumerate(catalogue.category_names)}
        self.language = {name: code for code, name in enumerate(catalogue.language_names)}
        self.channel, self.series = _Ids(catalogue.channel_ids), _Ids(catalogue.series_ids)

    def learn(self, upload: Upload) -> None:
        """Gives a code to every name that has none."""
        for name in (upload.category, *upload.child_categories):
            if name is not None:
                self.category.setdefault(name, len(self.category))
        if upload.language is not None:
            self.language.setdefault(upload.language, len(self.language))
        self.channel.learn(upload.channel_id)
        self.series.learn(upload.series)


def _rights(catalogue: Catalogue, uploads: Sequence[Upload], rows: RowArray, videos: int) -> Rights | None:
    """The rights of all videos, where those of the rows are what their uploads say; None where there are none."""
    old, before = catalogue.rights, len(catalogue)
    told = [(row, *entry) for row, one in zip(rows.tolist(), uploads, strict=True) for entry in one.rights]
    if old is None:
        old = Rights.of(np.empty(0, np.int32), [], np.empty(0), np.empty(0), before)
    owner = np.repeat(np.arange(before), np.diff(old.starts))
    kept = ~np.isin(owner, rows)
    if not told and kept.all():
        longer = np.concatenate([old.starts, np.full(videos - before, old.starts[-1])])
        return replace(old, starts=longer) if len(owner) else None
    names = np.array([*old.region_names, None], object)  # the last, -1, is anywhere
    region, since, until = zip(*(entry[1:] for entry in told), strict=True) if told else ((), (), ())
    if not told and not kept.any():
        return None
    return Rights.of(
        np.concatenate([owner[kept], np.array([entry[0] for entry in told], np.int64)]),
        [*names[old.region[kept]].tolist(), *region],
        np.concatenate([old.since[kept], np.array(since, np.float64)]),
        np.concatenate([old.until[kept], np.array(until, np.float64)]),
        videos,
    )


def _columns(catalogue: Catalogue) -> dict[str, NDArray[Any]]:
    """Every column that is an array of one entry for each video."""
    given = {one.name: getattr(catalogue, one.name) for one in fields(Catalogue) if one.init}
    return {name: value for name, value in given.items() if isinstance(value, np.ndarray)}


def _grown(catalogue: Catalogue, videos: int, categories: int) -> dict[str, Any]:
    """Copies of all columns for so many videos; what is not told of a new one is NaN, UNKNOWN or True."""
    before = len(catalogue)
    columns: dict[str, Any] = {}
    for name, column in _columns(catalogue).items():
        shape = (videos, categories) if name == "categories" else (videos, *column.shape[1:])
        longer = np.full(shape, _missing(name, column), column.dtype)
        longer[(slice(before), *(slice(width) for width in column.shape[1:]))] = column
        columns[name] = longer
    more = videos - before
    columns["titles"] = [*catalogue.titles, *[""] * more]
    columns["texts"] = [*catalogue.texts, *[""] * more]
    columns["tags"] = [*(catalogue.tags or [()] * before), *[()] * more]
    return columns


def _missing(name: str, column: NDArray[Any]) -> Any:
    """What stands in a column for a new video until it is told."""
    match column.dtype.kind:
        case "f":
            return 0.0 if name == "categories" else np.nan
        case "b":
            return True
        case "O":
            return None
    return UNKNOWN


def _tell(columns: dict[str, Any], uploads: Sequence[Upload], rows: RowArray, names: _Names) -> None:
    """Writes what the uploads say into the rows."""
    for row, one in zip(rows.tolist(), uploads, strict=True):
        columns["video_ids"][row] = one.video_id
        columns["titles"][row], columns["texts"][row], columns["tags"][row] = one.shown, one.text, list(one.tags)
        columns["category"][row] = UNKNOWN if one.category is None else names.category[one.category]
        columns["categories"][row] = 0.0
        given = (one.category, *one.child_categories)
        columns["categories"][row, [names.category[name] for name in given if name is not None]] = 1.0
        columns["channel"][row] = names.channel.code(one.channel_id)
        columns["series"][row] = names.series.code(one.series)
        columns["episode"][row] = UNKNOWN if one.episode is None else one.episode
        columns["language"][row] = UNKNOWN if one.language is None else names.language[one.language]
        columns["duration"][row] = np.nan if one.duration is None else one.duration
        columns["published_at"][row] = np.nan if one.published_at is None else one.published_at
        columns["maturity"][row] = one.maturity_rating
