"""What is wrong with a source: single problems, the report over all of them, and the error that carries it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

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
    """What reading a source found: rows per file, problems (the first ones kept, all counted) and warnings."""

    rows: dict[str, int] = field(default_factory=dict)  # file -> data rows read
    counts: dict[str, int] = field(default_factory=dict)  # file -> problems
    warnings: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)  # what to do about problems of whole files
    kept: list[Problem] = field(default_factory=list, repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing was refused."""
        return not self.counts

    @property
    def total(self) -> int:
        """How many problems there are in all files."""
        return sum(self.counts.values())

    @property
    def problems(self) -> list[Problem]:
        """The first problems, by file in reading order and by row."""
        files = list(self.counts)
        return sorted(self.kept, key=lambda one: (files.index(one.file), one.row or 0))[:SHOWN]

    def add(self, problem: Problem) -> None:
        """Counts one problem."""
        self.counts[problem.file] = self.counts.get(problem.file, 0) + 1
        if sum(one.file == problem.file for one in self.kept) < 10 * SHOWN:
            self.kept.append(problem)

    def merge(self, other: Report) -> None:
        """Counts the problems of another report too."""
        for file, n in other.counts.items():
            self.counts[file] = self.counts.get(file, 0) + n
        self.kept += other.kept
        self.hints += other.hints

    def add_rows(self, file: str, column: str | None, bad: BoolArray, rows: RowNumbers, texts: Told) -> None:
        """Counts one problem for every row where `bad` is True; only the first ones are put into words."""
        where = np.flatnonzero(bad)
        if len(where) == 0:
            return
        self.counts[file] = self.counts.get(file, 0) + len(where)
        self.kept += [
            Problem(file, rows.of(int(at)), column, texts.expected, texts.got(int(at))) for at in where[:SHOWN]
        ]

    def lines(self) -> list[str]:
        """What `nextreel data check` prints."""
        lines = [
            f"{file}: {n:,} rows, {self.counts[file]:,} problems"
            if file in self.counts
            else f"{file}: {n:,} rows, fine"
            for file, n in self.rows.items()
        ]
        lines += [f"{file}: {n:,} problems" for file, n in self.counts.items() if file not in self.rows]
        lines += [f"Warning: {warning}" for warning in self.warnings]
        shown = self.problems
        lines += [str(problem) for problem in shown]
        if self.total > len(shown):
            lines.append(f"… and {self.total - len(shown):,} more")
        return lines + [f"Hint: {hint}" for hint in self.hints]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def raise_if_refused(self) -> None:
        """Returns when nothing was refused, raises `DataError` otherwise."""
        if not self.ok:
            raise DataError(self)


@dataclass(frozen=True, slots=True)
class RowNumbers:
    """From the position in a table to the data row in its file; they differ after rows that could not be parsed."""

    skipped: tuple[int, ...] = ()  # data rows that are not in the table, ascending

    def of(self, position: int) -> int:
        """The 1-based data row at a 0-based position of the table."""
        row = position + 1
        for gap in self.skipped:
            if gap > row:
                break
            row += 1
        return row


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


class DataError(NextreelError):
    """A source was refused. `report` holds every file's counts and the first problems."""

    def __init__(self, report: Report) -> None:
        self.report = report
        shown = report.problems
        many = "1 problem" if report.total == 1 else f"{report.total:,} problems"
        lines = [f"The data were refused: {many}.", *(f"  {problem}" for problem in shown)]
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
