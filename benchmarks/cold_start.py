"""How long a fresh process takes from its start to its first answer, on the command line and over HTTP.

`nextreel recommend` is timed to its end; `nextreel serve` to the first 200 of `GET /recommendations/USER`, asked for
every few milliseconds. Each is the median of `--runs` processes, with the files in the system's cache.

    python benchmarks/cold_start.py --home var
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess  # nextreel itself, with fixed arguments
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from time import perf_counter

from nextreel.evaluation.lineage import commit, hardware, versions
from nextreel.opening import open_system

RESULTS = Path(__file__).resolve().parent / "results"
NEXTREEL = str(Path(sys.executable).with_name("nextreel"))
POLL = 0.005  # seconds between two questions
PATIENCE = 60.0  # seconds after which a server counts as broken


def recommend(home: Path, user: str) -> float:
    """Seconds from the start of `nextreel recommend` to its end."""
    started = perf_counter()
    command = [NEXTREEL, "recommend", user, "-k", "10", "--json", "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    seconds = perf_counter() - started
    found = json.loads(done.stdout)
    if (found["level"], len(found["recommendations"])) != ("full", 10):
        raise SystemExit(f"Expected ten ranked videos, got {len(found['recommendations'])} at level {found['level']}.")
    return seconds


def serve(home: Path, user: str) -> float:
    """Seconds from the start of `nextreel serve` to its first answer with status 200."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/recommendations/{urllib.parse.quote(user, safe='')}"
    command = [NEXTREEL, "serve", "--home", str(home), "--port", str(port), "--clock", "end"]
    environment = {name: value for name, value in os.environ.items() if name != "API_KEYS"}
    started = perf_counter()
    server = subprocess.Popen(  # noqa: S603
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while perf_counter() - started < PATIENCE:
            if server.poll() is not None:
                raise SystemExit(f"The server ended with status {server.returncode} before it answered.")
            try:
                with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                    answer.read()
                    return perf_counter() - started
            except (urllib.error.URLError, ConnectionError):
                time.sleep(POLL)
        raise SystemExit(f"The server did not answer within {PATIENCE:g} seconds.")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, default=RESULTS / "cold_start.json")
    given = parser.parse_args()
    began = perf_counter()
    system = open_system(given.home)
    user, release, videos = str(system.store.users()[0]), system.release, len(system.catalogue)
    system.close()
    seconds = {
        "nextreel recommend": [recommend(given.home, user) for _ in range(given.runs)],
        "nextreel serve": [serve(given.home, user) for _ in range(given.runs)],
    }
    result = {
        "benchmark": "cold_start",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": os.getloadavg(),  # a busy machine measures the others, too
        "release": release,
        "videos": videos,
        "seconds_to_first_answer": {
            name: {"median": statistics.median(runs), "runs": runs} for name, runs in seconds.items()
        },
        "seconds": perf_counter() - began,
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, runs in seconds.items():
        print(f"{name}: median {statistics.median(runs):.2f} s of {len(runs)} ({min(runs):.2f} to {max(runs):.2f})")
    print(f"Wrote {given.json}")


if __name__ == "__main__":
    main()
