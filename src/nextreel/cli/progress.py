"""Progress on a terminal as bars, and in a log as one line for each finished step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Live

from nextreel.progress import Advance, Progress


@contextmanager
def bars(console: Console | None = None) -> Iterator[Progress]:
    """A `Progress` that draws on the error stream, so that standard output stays clean for results."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Live(*columns, TimeElapsedColumn(), console=console) as live:
        yield _drawn(live)


def _drawn(live: Live) -> Progress:
    @contextmanager
    def progress(label: str, total: int | None = None) -> Iterator[Advance]:
        task = live.add_task(label, total=total)
        done = 0

        def advance(n: int) -> None:
            nonlocal done
            done += n
            live.advance(task, n)

        yield advance
        whole = done if total is None else total  # an unknown total is known now
        live.update(task, total=whole, completed=whole)

    return progress


def _lines(console: Console) -> Progress:
    """A terminal's bars would fill a log file; there a step is told once, when it is done."""

    @contextmanager
    def progress(label: str, total: int | None = None) -> Iterator[Advance]:
        del total
        began = time.perf_counter()
        yield lambda _: None
        console.print(f"  {label}: {time.perf_counter() - began:.1f} s", highlight=False, markup=False)

    return progress
