"""What the feature log costs each request, and whether what it kept can be computed again.

Each of `--users` different people of the home's release is asked by a system that logs every request and by one that
logs none, each over its own copy of the home; every tenth likes what was shown. Percentiles of both, the size of the
log and the outcome of `nextreel features verify` go to `--json`.

    python benchmarks/parity.py --home var
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nextreel import parity
from nextreel.evaluation.lineage import commit, hardware, versions
from nextreel.opening import open_system
from nextreel.system import System
from nextreel.types import Event, Kind, Request, UserId

RESULTS = Path(__file__).resolve().parent / "results"
WARM_UP = 20  # requests of other people, not counted
LIKED = 10  # of so many answers one is liked


def ask(system: System, user_id: UserId, number: int, k: int) -> float:
    """Milliseconds of one request; every tenth answer is followed by an event, which is not measured."""
    request = Request(user_id, system.now(), k, f"request-{number}")
    started = perf_counter()
    slate = system.recommend(request)
    spent = (perf_counter() - started) * 1000
    if number % LIKED == 0 and slate.video_ids:
        system.feedback([Event(user_id, system.now(), Kind.LIKE, slate.video_ids[0])])
    return spent


def main() -> None:
    """Measures, verifies, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--users", type=int, default=1_000, help="different people to ask for (default %(default)s)")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--json", type=Path, default=RESULTS / "parity.json")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="nextreel-parity-") as temporary, threadpool_limits(1):
        homes = [Path(shutil.copytree(given.home, Path(temporary) / name)) for name in ("without", "with")]
        features = Path(temporary) / "features"
        systems = [open_system(homes[0], clock="end"), open_system(homes[1], clock="end", feature_log=features)]
        everybody = systems[0].store.users()
        order = np.random.default_rng(given.seed).permutation(len(everybody))[: given.users + WARM_UP]
        spent: list[list[float]] = [[], []]
        for number, place in enumerate(order.tolist()):
            turn = (0, 1) if number % 2 else (1, 0)  # whoever comes second finds warm caches of the processor
            for which in turn:
                spent[which].append(ask(systems[which], everybody[place], number, given.k))
        for system in systems:
            system.close()
        size = sum(path.stat().st_size for path in features.iterdir())
        started = perf_counter()
        found = parity.verify(homes[1], systems[1].release, features)
        seconds = perf_counter() - started
    percentiles = [
        dict(zip(("p50", "p95", "p99"), np.percentile(one[WARM_UP:], (50, 95, 99)).tolist(), strict=True))
        for one in spent
    ]
    result = {
        "benchmark": "parity",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": os.getloadavg(),  # a busy machine measures the others, too
        "release": found.release,
        "k": given.k,
        "seed": given.seed,
        "threads": 1,
        "milliseconds_without_log": percentiles[0],
        "milliseconds_with_log": percentiles[1],
        "bytes_per_request": size / len(order),
        "requests_replayed_per_second": found.requests / seconds,
        "parity": found.to_json(),
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, row in zip(("without", "with log"), percentiles, strict=True):
        print(f"{name:<10}" + "".join(f"  {which} {value:.3f} ms" for which, value in row.items()))
    print(f"{size / len(order):,.0f} bytes a request; {found.requests / seconds:,.0f} requests a second replayed")
    print(f"mismatch rate {found.rate:.6f}, bit-exact {found.exact:.4%}, dropped {found.dropped}, moved {found.moved}")
    print(f"Wrote {given.json}")


if __name__ == "__main__":
    main()
