"""What commands print: rich tables of results, slates, histories and releases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from nextreel.data import Dataset, Report
    from nextreel.system import System
    from nextreel.types import Explanation, Slate, UserState

out = Console(highlight=False)


def rows(title: str, lines: Iterable[Mapping[str, Any]]) -> Table:
    """A table with one column for each key of the first line; numbers to the right, floats with four digits."""
    lines = list(lines)
    table = Table(title=title, title_justify="left")
    for name, value in (lines[0] if lines else {}).items():
        right = isinstance(value, int | float)
        table.add_column(escape(name), justify="right" if right else "left", overflow="fold")
    for line in lines:
        table.add_row(*(f"{value:.4f}" if isinstance(value, float) else escape(str(value)) for value in line.values()))
    return table


def report(found: Report) -> Iterator[str | Table]:
    """The report on a source: its files, what is wrong by column with counts, and the first rows."""
    yield rows(
        "Files", ({"file": file, "rows": f"{n:,}", "found": found.state(file)} for file, n in found.rows.items())
    )
    yield from (f"Warning: {warning}" for warning in found.warnings)
    if found.groups:
        files = list(found.counts)
        lines = sorted(found.groups.items(), key=lambda one: (files.index(one[0][0]), -one[1]))
        yield rows(
            f"{found.total:,} problems",
            ({"file": file, "column": column or "", "problems": n, "expected": expected}
             for (file, column, expected), n in lines),
        )  # fmt: skip
        shown = found.problems
        yield rows(
            "All of them" if len(shown) == found.total else f"The first {len(shown)}",
            ({"file": one.file, "row": "" if one.row is None else f"{one.row:,}", "column": one.column or "",
              "expected": one.expected, "got": one.got} for one in shown),
        )  # fmt: skip
    yield from (f"Hint: {hint}" for hint in found.hints)


def left_out(dataset: Dataset) -> None:
    """Prints how many rows of the source are not in the data set, where there are any."""
    from nextreel.data.errors import many

    counts = dataset.manifest.counts
    told = {"rows_quarantined": ("bad row", "set aside"), "repeated_events": ("repeated event", "left out")}
    for name, (what, how) in told.items():
        if n := counts.get(name):
            verb = "was" if n == 1 else "were"
            out.print(f"{many(n, what)} {verb} {how} (`nextreel data check` shows which)", soft_wrap=True)


def unfollowed(system: System) -> None:
    """Prints why a declared value formula is not followed, where it is not."""
    if system.value_problem is not None:
        out.print(f"What is declared cannot be followed: {system.value_problem}", markup=False, soft_wrap=True)


def metrics(found: Mapping[str, Any]) -> str:
    """The metrics in one line, numbers with four significant digits; the manifest has them whole.

    >>> metrics({"recall@10": 0.123456, "users": 40})
    'recall@10 0.1235, users 40'
    """
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in found.items()
    )


def day(at: float | None, form: str = "%Y-%m-%d %H:%M") -> str:
    """The UTC day and minute of a time, or what else the form asks for; empty for none and for NaN."""
    return datetime.fromtimestamp(at, UTC).strftime(form) if at is not None and math.isfinite(at) else ""


def video(system: System, row: int) -> tuple[str, str]:
    """Title and category of a catalogue row."""
    catalogue = system.catalogue
    code = int(catalogue.category[row])
    return catalogue.titles[row], catalogue.category_names[code] if code >= 0 else ""


def history(system: System, user: UserState, last: int = 10) -> Table:
    """The person's newest events about videos, newest first."""
    from nextreel.types import Kind

    table = Table("when", "what", "video", "category", title=f"What {user.user_id} did last", title_justify="left")
    for i in range(len(user.history) - 1, max(-1, len(user.history) - 1 - last), -1):
        title, category = video(system, int(user.history.rows[i]))
        what = Kind(int(user.history.kinds[i])).name.lower()
        table.add_row(day(float(user.history.at[i])), what, escape(title), escape(category))
    return table


def slate(system: System, answer: Slate) -> Table:
    """The recommended videos, best first, each with its score, its source and the reason."""
    title = f"Recommended to {answer.request.user_id} (release {answer.release}, {answer.level})"
    table = Table(title=title, title_justify="left")
    for name in ("rank", "video", "category", "score", "source", "reason"):
        table.add_column(name, justify="right" if name in {"rank", "score"} else "left")
    for i, row in enumerate(answer.rows):
        name, category = video(system, int(row))
        cells = (name, category, f"{answer.value[i]:.3f}", answer.sources[i], answer.reasons[i])
        table.add_row(str(i + 1), *map(escape, cells))
    return table


def explanation(system: System, answer: Slate, most: int = 5) -> Iterator[str | Table]:
    """For each objective what added or took most for every video, and where the final order moved it.

    Nothing where the request did not ask for it.
    """
    found = answer.explanation
    if found is None:
        return
    steps = list(found.places)
    yield rows(
        "Rank after each step",
        ({"rank": i + 1, "video": video(system, int(row))[0]}
         | {step: "" if found.places[step][i] < 0 else int(found.places[step][i]) + 1 for step in steps}
         for i, row in enumerate(answer.rows)),
    )  # fmt: skip
    for objective in found.contributions:
        raw = found.raw(objective)
        yield rows(
            f"What adds to {objective}",
            ({"rank": i + 1, "video": video(system, int(row))[0], "raw score": float(raw[i]),
              "of it": ", ".join(f"{name} {part:+.3f}" for name, part in found.top(objective, i, most))}
             for i, row in enumerate(answer.rows)),
        )  # fmt: skip
    if not found.contributions:
        yield "No ranker tells what features add to these scores."


def slate_json(system: System, answer: Slate) -> dict[str, Any]:
    """The slate as plain values that JSON can hold."""
    return {
        "user_id": answer.request.user_id,
        "at": answer.request.at,
        "release": answer.release,
        "level": answer.level,
        "recommendations": [
            {
                "rank": i + 1,
                "video_id": video_id,
                "title": video(system, int(answer.rows[i]))[0],
                "category": video(system, int(answer.rows[i]))[1],
                "score": float(answer.value[i]),
                "source": answer.sources[i],
                "reason": answer.reasons[i],
                "promoted": bool(answer.promoted[i]),
            }
            | ({} if answer.explanation is None else {"explanation": _explained(answer.explanation, i)})
            for i, video_id in enumerate(answer.video_ids)
        ],
        "milliseconds": answer.trace.milliseconds,
    }


def _explained(found: Explanation, place: int) -> dict[str, Any]:
    """What is known of one place, for JSON: every part of every raw score, and the place after each step."""
    parts = {objective: columns[place].tolist() for objective, columns in found.contributions.items()}
    return {
        "contributions": {
            objective: dict(zip((*found.features, "base"), values, strict=True)) for objective, values in parts.items()
        },
        "places": {step: int(places[place]) for step, places in found.places.items()},
        "moved_by": found.moved(place),
    }
