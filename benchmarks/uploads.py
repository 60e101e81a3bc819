"""What one more video costs a catalogue that has grown while it is served: to write it, to follow it, the next lists.

A copy of a home gets `--rows` videos by uploads of 500, so that all of their vectors lie beside the index of its
release: the worst case. Then one video after another is uploaded, and a second system follows.

    python benchmarks/uploads.py --home var
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from nextreel.evaluation.lineage import commit, hardware, peak_memory, versions
from nextreel.opening import open_system
from nextreel.system import System
from nextreel.types import Request
from nextreel.uploads import Upload

RESULTS = Path(__file__).resolve().parent / "results"
AT_ONCE = 500


def video(number: int, system: System) -> Upload:
    """A video of its number, of the categories that there are."""
    names = system.catalogue.category_names
    return Upload(
        video_id=f"added-{number}" if system.catalogue.video_ids.dtype.kind != "i" else 10_000_000 + number,
        title=f"Video {number} about {names[number % len(names)]}",
        category=names[number % len(names)],
        child_categories=(names[7 * number % len(names)],),
        channel_id=f"channel-{number % 2_000}",
        duration=60.0 + number % 600,
        tags=(f"tag-{number % 100}",),
    )


def milliseconds(started: float) -> float:
    """Since then."""
    return (perf_counter() - started) * 1000


def one_more(system: System, follower: System, upload: Upload) -> dict[str, float]:
    """What the upload costs its own process, another one, and the lists after it."""
    started = perf_counter()
    system.upload([upload])
    found = {"upload": milliseconds(started)}
    started = perf_counter()
    follower.store.follow()
    found["follow"] = milliseconds(started)
    for name in ("first_list", "next_list"):
        request = Request(system.store.users()[0], system.now(), 10)
        started = perf_counter()
        slate = system.recommend(request)
        found[name] = milliseconds(started)
        if slate.level != "full" or slate.trace.failures:
            raise SystemExit(
                f"Expected a full list over the grown catalogue, got {slate.level}: {slate.trace.failures}."
            )
    return found


def table(result: dict[str, Any]) -> str:
    """The result as the documentation quotes it."""
    took, hardware = result["milliseconds"], result["hardware"]
    lines = (
        ("`System.upload`: written, and followed by its own process", "upload"),
        ("another process follows", "follow"),
        ("the first list after it", "first_list"),
        ("the next list", "next_list"),
    )
    return (
        f"{result['rows']:,} videos, {result['measured_at'][:10]}, {hardware['cores']} core(s) of "
        f"{hardware['processor']}, at a load of {result['load_average'][0]:.1f}.\n\n"
        "| one video more | median | 95 of 100 below |\n|---|---:|---:|\n"
        + "".join(f"| {what} | {took[name]['median']:.0f} ms | {took[name]['p95']:.0f} ms |\n" for what, name in lines)
        + f"\nA process that starts has read what was added after {result['seconds_to_open_anew']:.1f} seconds.\n"
    )


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="home with a release in production")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--uploads", type=int, default=30)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of uploads.json and its table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(shutil.copytree(given.home, Path(name) / "home"))
        system = open_system(home, clock="end")
        released = len(system.catalogue)
        started = perf_counter()
        for start in range(0, given.rows, AT_ONCE):
            system.upload([video(number, system) for number in range(start, min(start + AT_ONCE, given.rows))])
        grown = perf_counter() - started
        started = perf_counter()
        follower = open_system(home, clock="end")
        opened = perf_counter() - started
        numbers = range(given.rows, given.rows + given.uploads)
        found = [one_more(system, follower, video(number, system)) for number in numbers]
        result: dict[str, Any] = {
            "benchmark": "uploads",
            "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "load_average": os.getloadavg(),  # a busy machine measures the others, too
            "released_rows": released,
            "rows": len(system.catalogue),
            "categories": len(system.catalogue.category_names),
            "seconds_to_upload_all": grown,
            "seconds_to_open_anew": opened,
            "milliseconds": {
                name: {
                    "median": float(np.median([one[name] for one in found])),
                    "p95": float(np.percentile([one[name] for one in found], 95)),
                    "max": max(one[name] for one in found),
                }
                for name in found[0]
            },
            "peak_memory_bytes": peak_memory(),
            "commit": commit(),
            "hardware": hardware(),
            "versions": versions(),
        }
        system.close()
        follower.close()
    given.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2)
    (given.out / "uploads.json").write_text(text + "\n", encoding="utf-8")
    (given.out / "uploads.md").write_text(table(result), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
