"""How data scale: making, loading, replaying and processing them, each as a whole process measured from outside.

python benchmarks/data_scale.py --data FOLDER_OF_ML_1M                       minutes; what CI could run
python benchmarks/data_scale.py --data DIR --interactions 1000000 10000000   linear or not: about a quarter of an hour
python benchmarks/data_scale.py --only synth --synth 100000000               by hand: some twenty minutes, 10 GB of disk

Results are kept stage by stage in benchmarks/results/data_scale.json: a stage that is not run keeps its last figure.
Memory is the largest sum over all processes of a command of their proportional set size (shared pages counted once).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nextreel.evaluation.lineage import commit, hardware, versions

RESULTS = Path(__file__).resolve().parent / "results"
COMMAND = Path(sys.executable).with_name("nextreel")
STAGES = ("synth", "load", "replay", "movielens", "process")
_LOOK = 0.25  # seconds between looks at the memory

# Both run in a fresh interpreter: imports are not counted, the reading of a cold file is.
LOAD = """
import sys, time
from pathlib import Path
from nextreel.data import load
import nextreel.data.sources, polars
started = time.perf_counter()
n = len(load(Path(sys.argv[1])).events)
print(n / (time.perf_counter() - started))
"""
REPLAY = """
import sys, time
from pathlib import Path
from nextreel.data import load
from nextreel.relevance import Relevance
from nextreel.store import MemoryStore
dataset = load(Path(sys.argv[1]))
store, n, batch = MemoryStore(dataset.catalogue, Relevance()), len(dataset.events), int(sys.argv[2])
started = time.perf_counter()
for begin in range(0, n, batch):
    store.apply_many(dataset.events.take(slice(begin, begin + batch)))
print(n / (time.perf_counter() - started))
"""


def descendants(root: int) -> list[int]:
    """The process and all that it started, as far as they still run."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):  # it ended meanwhile
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, waiting = [], [root]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one, [])
    return found


def memory(root: int) -> int:
    """Bytes that the process and its descendants hold together, shared pages once."""
    total = 0
    for process in descendants(root):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8")
        except OSError:  # it ended meanwhile
            continue
        total += next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)
    return total


@contextmanager
def watched(process: subprocess.Popen[str]) -> Iterator[list[int]]:
    """A list that holds the largest memory seen so far."""
    peak, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            peak[0] = max(peak[0], memory(process.pid))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def call(*arguments: str, threads: int | None = None) -> tuple[dict[str, float], str]:
    """Wall-clock and CPU seconds and peak memory of a command, and what it printed. Raises where it fails."""
    environment = os.environ | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    before, started = os.times(), time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603
    with process, watched(process) as peak:
        printed = process.communicate()[0]
    after = os.times()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with exit code {process.returncode}")
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": time.perf_counter() - started, "cpu_seconds": spent, "peak_memory_bytes": peak[0]}, printed


def synth(folder: Path, interactions: int) -> dict[str, float]:
    """Makes a world in which 100 interactions fall to each person, and 500 to each video, at most 200,000."""
    users, videos = max(1_000, interactions // 100), min(200_000, max(500, interactions // 500))
    sizes = {"--users": users, "--videos": videos, "--interactions": interactions}
    found, _ = call(
        str(COMMAND), "data", "synth", "--out", str(folder), *(str(x) for pair in sizes.items() for x in pair)
    )
    bytes_ = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {"interactions": interactions, "users": users, "videos": videos, "bytes": bytes_, **found}


def load(folder: Path) -> dict[str, float]:
    """Interactions read, checked and joined in a second; the best of three, as others use the machine too."""
    rates = [float(call(sys.executable, "-c", LOAD, str(folder))[1]) for _ in range(3)]
    return {"interactions_per_second": max(rates), "median": sorted(rates)[1]}


def replay(folder: Path) -> dict[str, float]:
    """Events applied in a second on one core, in batches of 1,000 and of 10,000."""
    rates = {n: float(call(sys.executable, "-c", REPLAY, str(folder), str(n), threads=1)[1]) for n in (1_000, 10_000)}
    return {f"events_per_second_in_batches_of_{n}": rate for n, rate in rates.items()}


def process(folder: Path, out: Path) -> dict[str, Any]:
    """`nextreel process` of a folder into another one."""
    found, _ = call(str(COMMAND), "process", "--data-dir", str(folder), "--out", str(out))
    return found | {"rows": json.loads((out / "manifest.json").read_text(encoding="utf-8"))["rows"]}


def measure(given: argparse.Namespace, work: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each stage's name and figures, as soon as they are known."""
    stages = given.only or STAGES
    for n in sorted({*given.interactions, *given.synth}):
        world = work / f"world-{n}"
        made = synth(world, n)
        if "synth" in stages:
            yield f"synth {n}", made
        if "load" in stages and n <= 10_000_000:
            yield f"load {n}", load(world)
        if "process" in stages and n in given.interactions:
            yield f"process {n}", process(world, work / f"processed-{n}")
    if "replay" in stages:
        yield "replay movielens", replay(given.data)
    if "movielens" in stages:
        yield "load movielens", load(given.data)
        yield "process movielens", process(given.data, work / "processed-movielens")
        yield "process movielens, titles known", process(given.data, work / "processed-again")


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("NEXTREEL_DATA", "data")) / "ml-1m")
    parser.add_argument("--interactions", type=int, nargs="*", default=[1_000_000], help="sizes to process")
    parser.add_argument("--synth", type=int, nargs="*", default=[], help="sizes to make and not to process")
    parser.add_argument("--only", nargs="*", choices=STAGES, help="these stages alone")
    parser.add_argument("--work", type=Path, default=None, help="folder for what is made; a temporary one")
    parser.add_argument("--json", type=Path, default=RESULTS / "data_scale.json")
    given = parser.parse_args()
    known = json.loads(given.json.read_text(encoding="utf-8")) if given.json.is_file() else {"stages": {}}
    with tempfile.TemporaryDirectory(dir=given.work) as work:
        for name, figures in measure(given, Path(work)):
            about = {"measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": commit()}
            known["stages"][name] = figures | about | {"load_average": os.getloadavg()[0]}
            known |= {"benchmark": "data_scale", "hardware": hardware(), "versions": versions()}
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
            print(name, json.dumps(figures), flush=True)
    table = markdown(known["stages"])
    given.json.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def markdown(stages: dict[str, Any]) -> str:
    """The figures as a table."""
    lines = ["| what | wall clock | CPU | peak memory | rate |", "|---|---:|---:|---:|---:|"]
    for name, one in sorted(stages.items(), key=lambda item: (item[0].split()[0], one_size(item[0]))):
        rate = one.get("interactions_per_second") or one.get("events_per_second_in_batches_of_1000")
        if rate is None and "interactions" in one:
            rate = one["interactions"] / one["seconds"]
        cells = (
            f"{one['seconds']:,.0f} s" if "seconds" in one else "",
            f"{one['cpu_seconds']:,.0f} s" if "cpu_seconds" in one else "",
            f"{one['peak_memory_bytes'] / 1e9:.2f} GB" if "peak_memory_bytes" in one else "",
            f"{rate:,.0f} /s" if rate else "",
        )
        lines.append(f"| {told(name)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def one_size(name: str) -> int:
    """The size in a stage's name, 0 without one."""
    return next((int(word) for word in name.split() if word.isdigit()), 0)


def told(name: str) -> str:
    """A stage's name in words."""
    stage, _, of = name.partition(" ")
    of = f"{int(of):,} interactions" if of.isdigit() else of.replace("movielens", "MovieLens-1M")
    verbs = {
        "synth": "`nextreel data synth`,",
        "load": "read, check and join",
        "replay": "replay of state alone, one core, batches of 1,000,",
        "process": "`nextreel process`,",
    }
    return f"{verbs[stage]} {of}"


if __name__ == "__main__":
    main()
