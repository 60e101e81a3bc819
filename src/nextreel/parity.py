"""Parity: logged answers computed again from the snapshot and the event log, and where the numbers differ."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextreel.feature_log import LogFile, Served, open_files
from nextreel.growing import Growing
from nextreel.opening import heading, replayed
from nextreel.progress import Progress, silent
from nextreel.store import Counters, LiveStore, bounded
from nextreel.types import BoolArray, FloatArray, NextreelError, UserId, UserState

TOLERANCE = 1e-6  # relative; for numbers that are not whole
STATE = "user_state"  # stands among the columns: whether the person's state could be had again


@dataclass(frozen=True)
class Column:
    """How one column of the matrix compares: a feature, a source's score or rank, or the ranker's own score."""

    name: str
    compared: int  # numbers: one for each candidate of each request
    mismatches: int
    exact: int  # equal to the last bit; two NaN are equal
    largest: float  # absolute difference; infinite when one of the two is NaN

    @property
    def rate(self) -> float:
        """Mismatches per number compared; 0 without any."""
        return self.mismatches / self.compared if self.compared else 0.0


@dataclass(frozen=True)
class Parity:
    """What comparing served with recomputed rows gave."""

    release: str
    requests: int  # computed again
    rows: int  # candidates of these requests
    # requests during which the counters changed, or over a catalogue that others had left behind by then: they cannot
    # be had again, and are in no other number
    moved: int
    dropped: int  # requests that the servers had no time to log
    lost: dict[str, int]  # files whose last answer was cut off, and how many bytes are left of it
    columns: tuple[Column, ...]

    @property
    def rate(self) -> float:
        """Mismatches per number compared, over all columns."""
        compared = sum(column.compared for column in self.columns)
        return sum(column.mismatches for column in self.columns) / compared if compared else 0.0

    @property
    def exact(self) -> float:
        """Share of the numbers that are equal to the last bit."""
        compared = sum(column.compared for column in self.columns)
        return sum(column.exact for column in self.columns) / compared if compared else 1.0

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        columns = [asdict(column) | {"rate": column.rate} for column in self.columns]
        return asdict(self) | {"rate": self.rate, "exact": self.exact, "columns": columns}


class AsOf:
    """A store of one person, whose counters are those of a replay."""

    def __init__(self, store: LiveStore, person: UserState) -> None:
        self._store = store
        self.person = person

    @property
    def counters(self) -> Counters:
        """Those of the replayed store."""
        return self._store.counters

    def user(self, user_id: UserId | None) -> UserState:
        """The person's state; an empty one for anybody else."""
        return self.person if user_id == self.person.user_id else UserState(user_id)


class Tally:
    """Adds up, column by column, how served numbers compare with recomputed ones.

    >>> tally = Tally(["plays", "share"])
    >>> tally.add(np.array([[3, 0.5]], np.float32), np.array([[4, 0.5000001]], np.float32))
    >>> [(column.name, column.mismatches, column.exact) for column in tally.columns()]
    [('plays', 1, 0), ('share', 0, 0)]
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._compared = np.zeros(len(names), np.int64)
        self._mismatches = np.zeros(len(names), np.int64)
        self._exact = np.zeros(len(names), np.int64)
        self._largest = np.zeros(len(names))

    def add(self, served: FloatArray, again: FloatArray) -> None:
        """Compares two matrices (n, columns)."""
        differs, exact, gaps = differences(served, again)
        self._compared += len(served)
        self._mismatches += differs.sum(axis=0)
        self._exact += exact.sum(axis=0)
        self._largest = np.maximum(self._largest, gaps.max(axis=0, initial=0.0))

    def columns(self) -> tuple[Column, ...]:
        """What came together so far."""
        parts = (self._compared, self._mismatches, self._exact, self._largest)
        return tuple(
            Column(name, *numbers) for name, *numbers in zip(self._names, *map(np.ndarray.tolist, parts), strict=True)
        )


def differences(served: FloatArray, again: FloatArray) -> tuple[BoolArray, BoolArray, NDArray[np.float64]]:
    """Where two matrices differ, where they are equal to the last bit, and by how much: |served - again|.

    Numbers that are both whole must be equal, others may be `TOLERANCE` of the larger one apart. NaN equals NaN alone.
    """
    exact = (served == again) | (np.isnan(served) & np.isnan(again))
    left, right = served.astype(np.float64), again.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less itself
        gaps = np.abs(left - right)
    gaps[exact] = 0.0
    gaps[np.isnan(gaps)] = np.inf
    whole = (left == np.rint(left)) & (right == np.rint(right))
    near = ~whole & (gaps <= TOLERANCE * np.maximum(np.abs(left), np.abs(right)))
    return ~(exact | near), exact, gaps


def verify(
    home: Path,
    release: str,
    feature_log: Path,
    limit: int | None = None,
    progress: Progress = silent,
    *,
    state_url: str | None = None,
    log_url: str | None = None,
) -> Parity:
    """How the rows that a release served compare with those that its code and state give now.

    Requests are replayed in the order of the event log, which `log_url` names, at most `limit` of them: state and
    counters follow the log up to what the answer saw, the catalogue its changes, which are in the store of `state_url`;
    then `Recommender.gather` and `matrix` compute the same candidates again. Raises `NextreelError` when nothing was
    logged of the release, by other features, or over another event log.
    """
    files = [file for file in open_files(feature_log) if file.heading is None or file.heading.release == release]
    order = sorted(
        (counted, number, position) for number, file in enumerate(files) for counted, position in file.answers
    )
    still = [one for one in order if one[0] >= 0]
    if not order:
        raise NextreelError(
            f"Expected answers of release {release} in {feature_log}, found none. Hint: nextreel features verify "
            "--release names the one that served; a killed server keeps what it had written."
        )
    if not still:
        raise NextreelError(
            f"Expected an answer in {feature_log} during which no event was counted, got {len(order)} answers that all "
            "saw one. Hint: log a larger share, or a quieter hour."
        )
    chosen = sorted((counted, files[number].read(place).changes, number, place) for counted, number, place in still)
    chosen = chosen[:limit]
    with (
        _one_thread(),
        replayed(home, release, state_url, log_url) as (growing, store),
        progress("replaying", len(chosen)) as advance,
    ):
        replay = _Replay(growing, store)
        for file in files:
            replay.check(file)
        for _, _, number, position in chosen:
            replay.compare(files[number].read(position))
            advance(1)
    return Parity(
        release=release,
        requests=len(chosen) - replay.passed,
        rows=replay.rows,
        moved=len(order) - len(still) + replay.passed,
        dropped=_dropped(files),
        lost={str(file.path): file.lost for file in files if file.lost},
        columns=replay.states.columns() + replay.tally.columns(),
    )


def _one_thread() -> AbstractContextManager[object]:
    """As servers compute: with more threads a product of matrices adds up in another order, and rounds otherwise."""
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415  not on servers
    except ImportError as error:
        raise NextreelError(
            "Verifying needs the library threadpoolctl. Hint: pip install 'nextreel[train]'."
        ) from error
    limits: AbstractContextManager[object] = threadpool_limits(1, "blas")
    return limits


class _Replay:
    """One pass through the event log, with what it found on the way."""

    def __init__(self, growing: Growing, store: LiveStore) -> None:
        self.heading = heading(growing.recommender)
        self.growing = growing
        self.store = store
        self.passed = 0  # answers over an older catalogue than others that had counted as far
        self.tally = Tally([*self.heading.columns, *(f"ranker_{name}" for name in self.heading.objectives)])
        self.states = Tally([STATE])
        self.rows = 0

    def check(self, file: LogFile) -> None:
        """Refuses a file of other columns than this version computes."""
        if file.heading is None:
            return
        theirs, ours = file.heading, self.heading
        if (theirs.columns, theirs.objectives) != (ours.columns, ours.objectives):
            odd = sorted({*theirs.columns, *theirs.objectives} ^ {*ours.columns, *ours.objectives})
            raise NextreelError(
                f"Expected the columns of release {ours.release} in {file.path}, got others or another order "
                f"({', '.join(odd) or 'the same names'}). Hint: verify with the version of nextreel that served."
            )
        if theirs.fingerprint != ours.fingerprint:
            raise NextreelError(
                f"Expected features of fingerprint {ours.fingerprint} in {file.path}, got {theirs.fingerprint}: the "
                "names are the same, what they are said to mean is not. Hint: verify with the version that served."
            )

    def compare(self, served: Served) -> None:
        """Computes one answer again, at the moment of which it was, and adds it to the tallies."""
        request, store = served.request, self.store
        if served.changes < store.catalogue.changes:
            self.passed += 1
            return
        self.growing.follow(served.changes)
        recommender = self.growing.recommender
        store.follow(served.counted)
        if store.counted != served.counted:
            raise NextreelError(
                f"Expected an event at offset {served.counted} of the event log, got {store.counted} as the last one "
                "up to there. Hint: verify with the home that served the requests."
            )
        catalogue = recommender.catalogue
        person = store.user_at(request.user_id, served.user_offset)
        point = AsOf(store, bounded(person, len(catalogue), len(catalogue.channel_ids)))
        same = (point.person.offset, point.person.version) == (served.user_offset, served.user_version)
        self.states.add(np.ones((1, 1), np.float32), np.full((1, 1), same, np.float32))
        rows = catalogue.rows(served.video_ids)
        if (rows < 0).any():
            raise NextreelError(
                f"Expected videos of release {recommender.release} in the feature log, got "
                f"{served.video_ids[int(np.argmax(rows < 0))]!r}. Hint: the log was written over another catalogue."
            )
        again = replace(recommender, store=point)
        matrix = again.matrix(again.gather(request, rows))
        scores = [] if recommender.ranker is None else [recommender.ranker.score(matrix)]
        self.tally.add(np.hstack(served.matrix(self.heading)), np.hstack([matrix.values, *scores]))
        self.rows += len(rows)


def _dropped(files: Sequence[LogFile]) -> int:
    """What all writers together had dropped by the last answer that each of them kept."""
    newest: dict[str, int] = {}
    for file in files:
        if file.heading is not None and file.answers:
            dropped = file.read(file.answers[-1][1]).dropped
            newest[file.heading.writer] = max(dropped, newest.get(file.heading.writer, 0))
    return sum(newest.values())
