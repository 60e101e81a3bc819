"""Pages of one list: what was shown and what is left of it lie in the shared store, so any process gives the next page.

The record of a page is kept under its cursor for half an hour: the page as it was given, what the list holds beyond it,
and every video given before. The same cursor gives the same page however often it is asked for, and no video comes
twice in a list. What no longer may be shown when a page is asked for, is left out of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import msgspec
import numpy as np

from nextreel.feature_log import native
from nextreel.types import (
    UNKNOWN,
    BoolArray,
    Catalogue,
    Conflict,
    KeyValue,
    NextreelError,
    Request,
    RowArray,
    Slate,
    Trace,
    UserId,
    VideoId,
)

SECONDS = 1800.0  # that a cursor lasts
BLOCK = 100  # places of a list that are made at once, and kept for the next pages
MOST = 10_000  # videos of one list: where so many are given, it ends
PREFIX = "cursor/"
_VERSION = b"\x01"


class UnknownCursor(NextreelError):
    """A cursor that nobody gave, that has expired, or that belongs to somebody else."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list and the cursor of the next one, None where the list ends."""

    slate: Slate
    cursor: str | None


class Place(msgspec.Struct, frozen=True, array_like=True):
    """One place of a list."""

    video_id: VideoId
    value: float
    source: str
    reason: str
    propensity: float
    promoted: bool


class _Record(msgspec.Struct, frozen=True, array_like=True):
    """A page that was given, and how its list goes on."""

    request: Request
    before: tuple[VideoId, ...]  # given on earlier pages
    page: tuple[Place, ...]
    rest: tuple[Place, ...]  # of the block that the page is from
    ended: bool  # nothing comes after the rest
    level: str
    release: str


_encoder = msgspec.msgpack.Encoder(enc_hook=native)
_decoder = msgspec.msgpack.Decoder(_Record)


class Pages:
    """Gives the pages of lists; all processes of a shared store continue each other's.

    `recommend` makes a list, and `keeps` is asked which rows of the `catalogue` of now may be shown by the request.
    """

    def __init__(
        self,
        shared: KeyValue,
        recommend: Callable[[Request], Slate],
        keeps: Callable[[Request, RowArray], BoolArray],
        catalogue: Callable[[], Catalogue],
    ) -> None:
        self._shared = shared
        self._recommend = recommend
        self._keeps = keeps
        self._catalogue = catalogue

    def first(self, request: Request) -> Page:
        """The first page of a new list, of the request's k videos."""
        none = _Record(request, (), (), (), ended=False, level="", release="")
        return self._page(none, request, f"{uuid.uuid4().hex}.1")

    def next(self, cursor: str, user_id: UserId | None, k: int, at: float, request_id: str) -> Page:
        """The page after the one that the cursor came with, of k videos if it was not asked for before.

        Raises `UnknownCursor` for one that has expired, was never given, or is of another person's list.
        """
        following = _following(cursor)
        record, given = (None if one is None else _decode(*one) for one in self._find(cursor, following))
        if record is None or record.request.user_id != user_id:
            raise UnknownCursor(
                f"Expected the cursor of a list of this person, given within {SECONDS / 60:.0f} minutes, got another. "
                "Hint: ask for the first page again, without a cursor."
            )
        asked = replace(record.request, at=at, request_id=request_id)
        if given is not None:
            return self._again(given, asked, following)
        return self._page(record, replace(asked, k=k), following)

    def _find(self, cursor: str, following: str) -> list[tuple[str, bytes] | None]:
        names = (cursor, following)
        found = self._shared.get_many([PREFIX + name for name in names])
        return [None if one is None else (name, one[0]) for name, one in zip(names, found, strict=True)]

    def _page(self, record: _Record, asked: Request, name: str) -> Page:
        """The page after the record's, which is kept under the name."""
        started = perf_counter()
        before = record.before + tuple(one.video_id for one in record.page)
        places = self._showable(record.rest, asked, before)
        ended, made = record.ended, None
        while len(places) <= asked.k and not ended and len(before) + len(places) < MOST:  # one more: is it the last?
            taken = before + tuple(one.video_id for one in places)
            wanted = replace(asked, k=max(BLOCK, asked.k), exclude=asked.exclude + taken)
            made = self._recommend(wanted)
            ended = len(made.video_ids) < wanted.k
            places += places_of(made)
        page, rest = tuple(places[: asked.k]), tuple(places[asked.k :])
        if made is None:
            level, release, trace = record.level, record.release, Trace()
        else:
            level, release = made.level, made.release
            trace = replace(made.trace, milliseconds=dict(made.trace.milliseconds))  # others may have the same slate
        kept = _Record(record.request, before, page, rest, ended or len(before) + len(page) >= MOST, level, release)
        if rest or record.page:  # a whole list on its first page has no cursor to ask for it again
            try:
                self._shared.put_many([(PREFIX + name, _VERSION + _encoder.encode(kept), 0)], SECONDS)
            except Conflict:  # the same page was asked for at the same time: what was first holds
                return self.next(_preceding(name), asked.user_id, asked.k, asked.at, asked.request_id)
        trace.milliseconds["page"] = (perf_counter() - started) * 1000
        return Page(self._slate(page, asked, kept, trace), name if rest else None)

    def _again(self, given: _Record, asked: Request, name: str) -> Page:
        """The page as it was given, less what may no longer be shown."""
        started = perf_counter()
        slate = self._slate(self._showable(given.page, asked, given.before), asked, given, Trace())
        slate.trace.milliseconds["page"] = (perf_counter() - started) * 1000
        return Page(slate, name if given.rest else None)

    def _showable(self, places: Sequence[Place], asked: Request, before: tuple[VideoId, ...]) -> list[Place]:
        """Those of the places, given after others, whose video is still there and kept by every filter."""
        rows = self._catalogue().rows([one.video_id for one in places])
        keep = rows != UNKNOWN
        request = replace(asked, k=BLOCK, exclude=asked.exclude + before)  # of a list as the one that they are from
        keep[keep] = self._keeps(request, rows[keep])
        return [one for one, kept in zip(places, keep.tolist(), strict=True) if kept]

    def _slate(self, places: Sequence[Place], asked: Request, record: _Record, trace: Trace) -> Slate:
        request = replace(asked, k=max(1, len(places)))
        return slate_of(places, request, self._catalogue(), trace, record.release, record.level)


def asked_for(name: str, body: bytes) -> Request:
    """The request for the first page of the list that a record of the shared store is of."""
    return _decode(name, body).request


def places_of(slate: Slate) -> list[Place]:
    """The places of a slate as they can be kept; the scores of each objective stay behind."""
    columns = (
        slate.video_ids,
        slate.value.tolist(),
        slate.sources,
        slate.reasons,
        slate.propensities.tolist(),
        slate.promoted.tolist(),
    )
    return [Place(*one) for one in zip(*columns, strict=True)]


def slate_of(
    places: Sequence[Place], request: Request, catalogue: Catalogue, trace: Trace, release: str, level: str
) -> Slate:
    """The slate of kept places, all of whose videos are in the catalogue."""
    return Slate(
        request=request,
        rows=catalogue.rows([one.video_id for one in places]),
        video_ids=[one.video_id for one in places],
        value=np.array([one.value for one in places], np.float32),
        objectives=np.empty((len(places), 0), np.float32),
        sources=[one.source for one in places],
        reasons=[one.reason for one in places],
        propensities=np.array([one.propensity for one in places], np.float32),
        promoted=np.array([one.promoted for one in places], np.bool_),
        trace=trace,
        release=release,
        level=level,
    )


def _decode(name: str, body: bytes) -> _Record:
    if body[:1] != _VERSION:
        raise NextreelError(f"Expected the cursor {name!r} to start with version byte {_VERSION.hex()}, got another.")
    return _decoder.decode(body[1:])


def _following(cursor: str) -> str:
    list_id, _, number = cursor.rpartition(".")
    if not list_id or not number.isdecimal() or not number.isascii() or len(number) > 5:
        raise UnknownCursor(f"Expected a cursor that came with a page, got {cursor!r:.80}.")
    return f"{list_id}.{int(number) + 1}"


def _preceding(cursor: str) -> str:
    list_id, _, number = cursor.rpartition(".")
    return f"{list_id}.{int(number) - 1}"
