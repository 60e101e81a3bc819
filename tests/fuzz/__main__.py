"""Has a million random lists judged by the referee, or fewer: `python -m tests.fuzz --slates 10000`."""

from __future__ import annotations

import argparse
from time import perf_counter

from rich.console import Console
from rich.table import Table
from tests.fuzz.play import PER_WORLD, play, play_world
from tests.fuzz.referee import Violation

from nextreel.cli.progress import bars


def main() -> None:
    """Plays, and prints what was checked; exits with 1 and what leads there at the first broken promise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slates", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--world", type=int, help="play this world of the seed alone")
    given = parser.parse_args()
    began = perf_counter()
    try:
        if given.world is None:
            with bars() as progress:
                counted = play(given.slates, given.seed, given.workers, progress)
        else:
            counted = play_world(given.seed, given.world, PER_WORLD)
    except Violation as found:
        raise SystemExit(f"A promise is broken. {found}") from found
    table = Table(title=f"Seed {given.seed}: no promise broken in {perf_counter() - began:.0f} s", title_justify="left")
    table.add_column("checked")
    table.add_column("times", justify="right")
    for name, many in sorted(counted.items()):
        table.add_row(name, f"{many:,}")
    Console().print(table)


if __name__ == "__main__":
    main()
