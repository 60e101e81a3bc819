"""The feature log: what the ranker read when it answered, kept so that it can be computed again.

A file is `MAGIC`, then frames. A frame is the length and the CRC-32 of its body (4 bytes each), the offset up to which
the counters counted (8 bytes, -1 when they changed meanwhile; all little-endian), and the body in MessagePack: of the
first frame the `Heading`, of every other one answer, `Served`. A frame is written by one call, so a killed process
leaves whole frames and at most one that is cut off at the end of its file. Where answers were erased, frames of zeros
with the offset `ERASED` are left in their places.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from nextreel.types import FloatArray, NextreelError, Request, UserState, VideoId

MAGIC = b"nextreel features 1\n"
SUFFIX = ".features"
ROLL_BYTES = 64 * 1024 * 1024  # a file that has grown so large is followed by the next one
WAITING = 256  # answers that wait for the writer at most; with a hundred candidates each about 10 MB
PAUSE = 0.05  # seconds between the writer's looks: to wake it for every answer would cost the request 20 µs
PATIENCE = 5.0  # seconds that `close` waits for the writer
MOVED, ERASED = -1, -2
_FRAME = struct.Struct("<IIq")

log = logging.getLogger(__name__)


class UnreadableFeatureLog(NextreelError):
    """A file that is no feature log, or is damaged elsewhere than at its end."""


class Heading(msgspec.Struct, frozen=True):
    """What holds for all answers of one file."""

    release: str
    columns: tuple[str, ...]  # of the matrix that the ranker reads
    objectives: tuple[str, ...]  # columns of its scores
    fingerprint: str  # of the columns
    writer: str  # tells the processes apart
    number: int = 0  # of the file among those of its writer


class Served(msgspec.Struct, frozen=True, array_like=True):
    """One answer as it was computed: n candidates."""

    request: Request
    user_offset: int  # log offset of the newest event in the person's state
    user_version: int  # number of events in it
    counted: int  # log offset up to which the counters counted; MOVED when they changed while the row was computed
    dropped: int  # answers that this writer could not keep, up to this one
    video_ids: tuple[VideoId, ...]  # (n,)
    values: bytes  # float32 by column, deflated: see `matrix`
    scores: bytes  # float32 (n, objectives)
    changes: int = 0  # of the catalogue that the answer knew

    def matrix(self, heading: Heading) -> tuple[FloatArray, FloatArray]:
        """The features (n, columns) that the ranker read, and its scores (n, objectives)."""
        n = len(self.video_ids)
        values = np.frombuffer(zlib.decompress(self.values), np.float32).reshape(len(heading.columns), n)
        return values.T, np.frombuffer(self.scores, np.float32).reshape(n, len(heading.objectives))


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer as the request's thread hands it over; nobody changes the arrays any more."""

    request: Request
    user: UserState
    counted: int
    video_ids: NDArray[Any]  # (n,)
    values: FloatArray  # (n, columns)
    scores: FloatArray  # (n, objectives)
    changes: int = 0


def native(value: Any) -> Any:
    """The Python number of a NumPy one, as ids taken out of a catalogue's columns are."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"Expected texts and numbers in a request, got a {type(value).__name__}.")


_encoder = msgspec.msgpack.Encoder(enc_hook=native)
_served = msgspec.msgpack.Decoder(Served)
_heading = msgspec.msgpack.Decoder(Heading)


def encode(seen: Seen, dropped: int) -> Served:
    """The answer as it is kept."""
    columns = np.ascontiguousarray(seen.values.T, np.float32)  # by column: what is one number for all deflates best
    return Served(
        seen.request,
        seen.user.offset,
        seen.user.version,
        seen.counted,
        dropped,
        tuple(seen.video_ids.tolist()),
        zlib.compress(columns.tobytes(), 1),
        np.ascontiguousarray(seen.scores, np.float32).tobytes(),
        seen.changes,
    )


def frame(body: Heading | Served) -> bytes:
    """The bytes of one frame."""
    encoded = _encoder.encode(body)
    counted = body.counted if isinstance(body, Served) else MOVED
    return _FRAME.pack(len(encoded), zlib.crc32(encoded), counted) + encoded


class FeatureLog:
    """Keeps a share of the answers of one process; `add` neither waits nor raises, a thread of its own writes.

    What comes while the queue is full, or cannot be written, is dropped and counted. Raises `NextreelError` when the
    folder cannot be written to at the start.
    """

    def __init__(
        self, folder: Path, heading: Heading, share: float = 1.0, roll_bytes: int = ROLL_BYTES, waiting: int = WAITING
    ) -> None:
        if not 0 < share <= 1:
            raise NextreelError(f"Expected a share of requests above 0 and at most 1 for the feature log, got {share}.")
        self.folder = folder
        self._heading = heading
        self._below = share * 2**32
        self._roll_bytes = roll_bytes
        self._waiting: deque[Seen] = deque()
        self._most = waiting
        self._lock = threading.Lock()
        self._dropped = 0
        self._number = 0
        self._closed = threading.Event()
        self._failing = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: FileIO | None = self._next_file()
        except OSError as error:
            raise NextreelError(
                f"Expected a folder for the feature log that can be written to, got {folder}: {error.strerror}."
            ) from error
        self._thread = threading.Thread(target=self._write_all, name="feature-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Answers that were to be kept and could not."""
        return self._dropped

    def takes(self, request: Request) -> bool:
        """Whether the request is in the share; one id is in it everywhere or nowhere."""
        return zlib.crc32(request.request_id.encode()) < self._below

    def add(self, seen: Seen) -> None:
        """Hands the answer over to the writer, or drops and counts it."""
        if self._closed.is_set() or len(self._waiting) >= self._most:
            self._drop()
        else:
            self._waiting.append(seen)

    def close(self) -> None:
        """Writes what waits, for a few seconds at most, and lets go of the file."""
        self._closed.set()
        self._thread.join(PATIENCE)
        with self._lock:
            self._dropped += len(self._waiting)
            self._waiting.clear()
        if self._dropped:
            log.warning("the feature log dropped %d answers", self._dropped)

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1

    def _write_all(self) -> None:
        while not self._closed.wait(PAUSE):
            self._write_waiting()
        self._write_waiting()
        if self._file is not None:
            self._file.close()

    def _write_waiting(self) -> None:
        while self._waiting:
            try:
                self._write(frame(encode(self._waiting.popleft(), self._dropped)))
                self._failing = False
            except Exception:  # whatever it is, the thread must live to keep the next one
                self._drop()
                if not self._failing:  # a full disk fails every time and is told once
                    log.exception("the feature log could not keep an answer")
                self._failing = True

    def _write(self, whole: bytes) -> None:
        file = self._file
        if file is None or file.tell() >= self._roll_bytes:
            if file is not None:
                file.close()
            self._file = None
            file = self._file = self._next_file()
        try:
            _put(file, whole)
        except OSError:
            file.close()  # half a frame may be at its end, after which no other can be read
            self._file = None
            raise

    def _next_file(self) -> FileIO:
        heading = msgspec.structs.replace(self._heading, number=self._number)
        file = FileIO(self.folder / f"{heading.release}-{heading.writer}-{self._number:05d}{SUFFIX}", "x")
        self._number += 1
        try:
            _put(file, MAGIC + frame(heading))
        except OSError:
            file.close()
            raise
        return file


def _put(file: FileIO, content: bytes) -> None:
    written = file.write(content)
    if written != len(content):
        raise OSError(f"wrote {written} of {len(content)} bytes to {file.name!r}; is the disk full?")


def writer_id() -> str:
    """A name that no other process has."""
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True)
class LogFile:
    """Where the answers of one file lie."""

    path: Path
    heading: Heading | None  # None for a file that ends before its heading does
    answers: Sequence[tuple[int, int]]  # offset of the counters, position in the file
    lost: int  # bytes at the end that are no whole frame

    def read(self, position: int) -> Served:
        """The answer at the position. Raises `UnreadableFeatureLog` for a damaged one."""
        with self.path.open("rb") as file:
            file.seek(position)
            body = _body(file.read(_FRAME.size), file.read)
        if body is None:
            raise _damaged(self.path, position)
        try:
            return _served.decode(body)
        except msgspec.DecodeError as error:
            raise _damaged(self.path, position) from error


def open_files(path: Path) -> list[LogFile]:
    """The files of a feature log, of a folder or a single one. Raises `UnreadableFeatureLog` when there is none."""
    paths = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    if not paths or not paths[0].is_file():
        raise UnreadableFeatureLog(
            f"Expected a feature log in {path}, found none. Hint: nextreel serve --feature-log {path} writes one."
        )
    return [scan(one) for one in paths]


def scan(path: Path) -> LogFile:
    """Heading and places of the answers of one file, without reading them; what is cut off at its end is told."""
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(len(MAGIC))
        if not MAGIC.startswith(magic):
            raise UnreadableFeatureLog(
                f"Expected a feature log that starts with {MAGIC!r}, got {magic!r} in {path}. "
                "Hint: give the file or folder that nextreel serve --feature-log wrote, and the version that wrote it."
            )
        head = _body(file.read(_FRAME.size), file.read) if len(magic) == len(MAGIC) else None
        if head is None:
            return LogFile(path, None, (), size)
        position = file.tell()
        answers: list[tuple[int, int]] = []
        while position + _FRAME.size <= size:
            length, _, counted = _FRAME.unpack(file.read(_FRAME.size))
            end = position + _FRAME.size + length
            if length == 0 or end > size:
                break
            if counted != ERASED:
                answers.append((counted, position))
            position = end
            file.seek(position)
        if answers:  # a power cut may leave the length of the last frame without its content
            file.seek(answers[-1][1])
            if _body(file.read(_FRAME.size), file.read) is None:
                position = answers.pop()[1]
    try:
        return LogFile(path, _heading.decode(head), tuple(answers), size - position)
    except msgspec.DecodeError as error:
        raise _damaged(path, len(MAGIC)) from error


def erase(file: LogFile, whose: Callable[[Served], bool]) -> int:
    """How many answers of the file were such; zeros are in their places, also while the file still grows."""
    erased = 0
    with file.path.open("rb+") as opened:
        for _, position in file.answers:
            if whose(file.read(position)):
                opened.seek(position)
                length = _FRAME.unpack(opened.read(_FRAME.size))[0]
                nothing = bytes(length)
                opened.seek(position)
                opened.write(_FRAME.pack(length, zlib.crc32(nothing), ERASED) + nothing)
                erased += 1
        opened.flush()
        os.fsync(opened.fileno())
    return erased


def _body(head: bytes, read: Any) -> bytes | None:
    """The body that belongs to the head of a frame; None when it is not whole."""
    if len(head) < _FRAME.size:
        return None
    length, checksum, _ = _FRAME.unpack(head)
    body: bytes = read(length)
    return body if 0 < length == len(body) and zlib.crc32(body) == checksum else None


def _damaged(path: Path, position: int) -> UnreadableFeatureLog:
    return UnreadableFeatureLog(
        f"Expected a whole answer at byte {position} of {path}, got a damaged one. Hint: restore a copy of the file."
    )
