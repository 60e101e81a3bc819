"""How long one recommendation takes in process, on one thread, for people whose vectors are not cached yet.

Each of `--users` different people of the home's release is asked once, after a few requests that warm the libraries.
Milliseconds of the whole call and of every stage of its trace go to `--json`, and those of the ranker alone, for 200
rows of features: of somebody who is here just now, and of somebody who comes back after a month.

    python benchmarks/latency.py --home var
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nextreel.evaluation.lineage import commit, hardware, peak_memory, versions
from nextreel.opening import open_system
from nextreel.ranking.switched import AWAY
from nextreel.system import System
from nextreel.types import DAY, Matrix, NextreelError, Request, UserId

RESULTS = Path(__file__).resolve().parent / "results"
WARM_UP = 20  # requests of other people, not counted
ROWS = 200  # that the ranker is timed with
AGES = {"just_now": 0.0, "after_a_month": 30 * DAY}  # seconds since somebody's last event, whose rows they are


def summary(milliseconds: list[float]) -> dict[str, float]:
    """Percentiles, mean and maximum, in milliseconds."""
    p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99]).tolist()
    return {"p50": p50, "p95": p95, "p99": p99, "mean": float(np.mean(milliseconds)), "max": max(milliseconds)}


def measure(system: System, people: list[UserId], k: int) -> dict[str, Any]:
    """The summary of one request for each of the people, and of each stage."""
    total: list[float] = []
    stages: dict[str, list[float]] = {}
    levels: Counter[str] = Counter()
    for user_id in people:
        request = Request(user_id, system.data_end, k)
        started = perf_counter()
        slate = system.recommend(request)
        total.append((perf_counter() - started) * 1000)
        levels[slate.level] += 1
        for stage, spent in slate.trace.milliseconds.items():
            stages.setdefault(stage, []).append(spent)
    return {
        "milliseconds": summary(total),
        "stages": {stage: summary(spent) for stage, spent in stages.items()},
        "levels": dict(levels),
    }


def scoring(system: System, people: list[UserId], seed: int) -> dict[str, dict[str, float]]:
    """The summary of scoring rows of features with the ranker alone, for each of the two kinds of people.

    Raises `NextreelError` for a release without a ranker, or one that has fewer videos to propose.
    """
    ranker, recommender = system.recommender.ranker, system.recommender
    if ranker is None:
        raise NextreelError(f"Expected a release with a ranker, got {system.release} without one.")
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in AGES}
    for user_id in people:
        moment = recommender.gather(Request(user_id, system.data_end, ROWS))
        if len(moment) < ROWS:
            raise NextreelError(f"Expected at least {ROWS} candidates, got {len(moment)} for {user_id!r}.")
        matrix = recommender.matrix(moment.take(np.sort(rng.permutation(len(moment))[:ROWS])))
        for name, age in AGES.items():
            values = matrix.values.copy()
            if AWAY in matrix.names:
                values[:, matrix.names.index(AWAY)] = np.log1p(age / DAY)
            started = perf_counter()
            ranker.score(Matrix(matrix.names, values))
            found[name].append((perf_counter() - started) * 1000)
    return {name: summary(spent) for name, spent in found.items()}


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--users", type=int, default=1_000, help="different people to ask for (default %(default)s)")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--json", type=Path, default=RESULTS / "latency.json")
    given = parser.parse_args()
    started = perf_counter()
    system = open_system(given.home)
    everybody = system.store.users()
    order = np.random.default_rng(given.seed).permutation(len(everybody))[: given.users + WARM_UP]
    people = [everybody[number] for number in order]
    spare = min(WARM_UP, len(people) // 2)
    warm_up, people = people[:spare], people[spare:]
    with threadpool_limits(1):
        measure(system, warm_up, given.k)
        cold, again = measure(system, people, given.k), measure(system, people, given.k)
        scoring(system, warm_up, given.seed)
        scored = scoring(system, people, given.seed)
    result = {
        "benchmark": "latency",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": os.getloadavg(),  # a busy machine measures the others, too
        "release": system.release,
        "videos": len(system.catalogue),
        "events_per_person": float(np.mean([len(system.store.user(user_id).history) for user_id in people])),
        "people": len(people),
        "k": given.k,
        "seed": given.seed,
        "threads": 1,
        "first_request_of_each_person": cold,
        "same_people_again": again,
        "ranker_rows": ROWS,
        "ranker_milliseconds": scored,
        "seconds": perf_counter() - started,
        "peak_memory_bytes": peak_memory(),
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
    }
    system.close()
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    kinds = [(f"{ROWS} rows, {name.replace('_', ' ')}", spent) for name, spent in scored.items()]
    lines = [("whole", cold["milliseconds"]), *cold["stages"].items(), *kinds]
    print(f"{'milliseconds':<24} {'p50':>8} {'p95':>8} {'p99':>8}   ({len(people):,} people, k = {given.k})")
    for name, row in lines:
        print(f"{name:<24} {row['p50']:8.2f} {row['p95']:8.2f} {row['p99']:8.2f}")
    print(f"Wrote {given.json}")


if __name__ == "__main__":
    main()
