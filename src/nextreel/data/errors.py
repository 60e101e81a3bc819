"""What is wrong with a source: single problems, the report over all of them, and the error that carries it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nextreel.types import BoolArray, NextreelError

SHOWN = 20  # problems that are kept and printed; all are counted


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what was expected and what came. `row` is the 1-based data row of the file."""

    file: str
    row: int | None
    column: str | None
    expected: str
    got: str

    def __str__(self) -> str:
        place = [self.file]
        if self.row is not None:
            place.append(f"row {self.row:,}")
        if self.column is not None:
            place.append(f"column {self.column!r}")
        return f"{', '.join(place)}: expected {self.expected}, got {self.got}"


@dataclass(slots=True)
class Report:
    """What reading a source found: rows per file, problems (the first ones kept, all counted) and warnings.

    For every file that was read, rows = rows loaded + `quarantined` + `repeated`.
    """

    rows: dict[str, int] = field(default_factory=dict)  # file -> data rows read
    groups: dict[tuple[str, str | None, str], int] = field(default_factory=dict)  # file, column, expected -> problems
    quarantined: dict[str, int] = field(default_factory=dict)  # file -> rows set aside
    repeated: dict[str, int] = field(default_factory=dict)  # file -> rows left out, their event_id was there already
    refused: int = 0  # problems whose row was not set aside: with one of them there is no data set
    warnings: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)  # what to do about problems of whole files
    kept: list[Problem] = field(default_factory=list, repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing was refused: no problem, or none but those of rows that were quarantined."""
        return self.refused == 0

    @property
    def counts(self) -> dict[str, int]:
        """The problems of each file that has any, in reading order."""
        counts: dict[str, int] = {}
        for (file, _, _), n in self.groups.items():
            counts[file] = counts.get(file, 0) + n
        return counts

    @property
    def total(self) -> int:
        """How many problems there are in all files."""
        return sum(self.groups.values())

    @property
    def problems(self) -> list[Problem]:
        """The first problems: those of whole files, then those of rows, by file in reading order and by row."""
        files = {file: place for place, file in enumerate(self.counts)}
        return sorted(self.kept, key=lambda one: (one.row is not None, files[one.file], one.row or 0))[:SHOWN]

    def add(self, problem: Problem, *, refused: bool = True) -> None:
        """Counts one problem; `refused` unless its row is set aside."""
        group = (problem.file, problem.column, problem.expected)
        before = self.groups.get(group, 0)
        self.groups[group] = before + 1
        self.refused += refused
        if before < SHOWN:
            self.kept.append(problem)

    def merge(self, other: Report) -> None:
        """Counts the problems of another report too."""
        for group, n in other.groups.items():
            self.groups[group] = self.groups.get(group, 0) + n
        self.refused += other.refused
        self.kept += other.kept
        self.hints += [hint for hint in other.hints if hint not in self.hints]

    def add_rows(self, file: str, fault: Fault, rows: RowNumbers, *, refused: bool = True) -> None:
        """Counts one problem for every row with the fault; only the first ones are put into words."""
        where = np.flatnonzero(fault.bad)
        if len(where) == 0:
            return
        group = (file, fault.column, fault.told.expected)
        before = self.groups.get(group, 0)
        self.groups[group] = before + len(where)
        self.refused += len(where) if refused else 0
        self.kept += [
            Problem(file, rows.of(at), fault.column, fault.told.expected, fault.told.got(at))
            for at in where[: max(0, SHOWN - before)].tolist()
        ]

    def lines(self) -> list[str]:
        """The report in plain text: a line for each file, the warnings, the first problems."""
        counts = self.counts
        lines = [f"{file}: {n:,} rows, {self.state(file)}" for file, n in self.rows.items()]
        lines += [f"{file}: {many(n, 'problem')}" for file, n in counts.items() if file not in self.rows]
        lines += [f"Warning: {warning}" for warning in self.warnings]
        shown = self.problems
        lines += [str(problem) for problem in shown]
        if self.total > len(shown):
            lines.append(f"… and {self.total - len(shown):,} more")
        return lines + [f"Hint: {hint}" for hint in self.hints]

    def state(self, file: str) -> str:
        """What became of a file's rows, in words."""
        n = self.counts.get(file, 0)
        parts = [many(n, "problem")] if n else ["fine"]
        if file in self.quarantined:
            parts.append(f"{many(self.quarantined[file], 'row')} quarantined")
        if file in self.repeated:
            parts.append(f"{many(self.repeated[file], 'repeated event')} left out")
        return ", ".join(parts)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def raise_if_refused(self) -> None:
        """Returns when nothing was refused, raises `DataError` otherwise."""
        if not self.ok:
            raise DataError(self)


def many(n: int, noun: str) -> str:
    """A number of things.

    >>> many(1, "row"), many(2_000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


@dataclass(frozen=True, slots=True)
class RowNumbers:
    """From positions in a table to data rows of its file; they differ where the table is a later piece of the file,
    and after rows that could not be parsed.
    """

    skipped: tuple[int, ...] = ()  # data rows above `start` that are not in the table, ascending
    start: int = 0  # data rows of the file before the table, those that could not be parsed among them

    def of(self, position: int) -> int:
        """The 1-based data row at a 0-based position of the table."""
        row = self.start + position + 1
        for gap in self.skipped:
            if gap > row:
                break
            row += 1
        return row

    def all(self, n: int) -> NDArray[np.int64]:
        """The data rows (n,) of a table with n rows.

        >>> RowNumbers((2, 3), start=1).all(2).tolist()
        [4, 5]
        """
        every = np.arange(self.start + 1, self.start + 1 + n + len(self.skipped), dtype=np.int64)
        return np.delete(every, np.array(self.skipped, np.int64) - self.start - 1)


class Told:
    """How a refused cell is put into words."""

    def __init__(self, expected: str, values: object = None, got: str = "nothing") -> None:
        self.expected = expected
        self._values = values
        self._got = got

    def got(self, position: int) -> str:
        """What came at the position of the table, shortened."""
        if self._values is None:
            return self._got
        value = self._values[position]  # type: ignore[index]  # a polars series or a list
        if value is None:
            return "nothing"
        text = repr(value)
        return text if len(text) <= 80 else text[:77] + "..."


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault in the rows of a table."""

    column: str | None  # as the file names it
    bad: BoolArray  # (rows,) True where the row has it
    told: Told


class DataError(NextreelError):
    """A source was refused. `report` holds every file's counts and the first problems."""

    def __init__(self, report: Report) -> None:
        self.report = report
        shown = report.problems
        lines = [f"The data were refused: {many(report.total, 'problem')}.", *(f"  {problem}" for problem in shown)]
        if report.total > len(shown):
            lines.append(f"  … and {report.total - len(shown):,} more")
        lines += [f"Hint: {hint}" for hint in report.hints]
        super().__init__("\n".join(lines))

    @property
    def problems(self) -> list[Problem]:
        """The first problems, by file and row."""
        return self.report.problems

    @classmethod
    def of(cls, file: str, expected: str, got: str, hint: str = "") -> DataError:
        """The error about one problem of a whole file or folder."""
        report = Report(hints=[hint] if hint else [])
        report.add(Problem(file, None, None, expected, got))
        return cls(report)
