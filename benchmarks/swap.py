"""What requests notice when another release takes over: two workers are asked without pause while releases change.

A copy of the home gets a second release with the same files. It is promoted and rolled back in turn over HTTP, while
four connections ask for lists of random people. Written are how many requests failed, how long they took, and after how
long the last worker answered by the other release.

    python benchmarks/swap.py --home var
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess  # nextreel itself, with fixed arguments
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from nextreel.evaluation.lineage import commit, hardware, versions
from nextreel.opening import open_system
from nextreel.registry import MANIFEST, Registry
from nextreel.store import state_folder

RESULTS = Path(__file__).resolve().parent / "results"
NEXTREEL = str(Path(sys.executable).with_name("nextreel"))
CONNECTIONS = 4
SETTLE = 4.0  # seconds between two changes of the release
PATIENCE = 60.0


def second_release(home: Path) -> tuple[str, str]:
    """The release in production and one with the same files and state, published a second later."""
    registry = Registry(home)
    first = registry.production()
    if first is None:
        raise SystemExit(f"Expected a release in production in {home}, got none. Hint: nextreel train.")
    folder = home / "again"
    shutil.copytree(registry.path(first), folder, ignore=shutil.ignore_patterns(MANIFEST))
    created_at = registry.show(first)["created_at"] + 1
    second = registry.publish(folder, metrics={}, lineage={}, created_at=created_at)
    shutil.copytree(state_folder(home, first), state_folder(home, second))
    return first, second


@dataclass
class Load:
    """Connections that ask until told to stop, and what they were answered: time, status, release and seconds."""

    port: int
    people: list[str]
    stop: threading.Event = field(default_factory=threading.Event)
    answers: list[tuple[float, int, str | None, float]] = field(default_factory=list)

    def ask(self, seed: int) -> None:
        """Asks on one connection; status 0 is an answer that did not come."""
        rng, connection = np.random.default_rng(seed), self._connection()
        while not self.stop.is_set():
            started = perf_counter()
            try:
                connection.request("GET", f"/recommendations/{self.people[rng.integers(len(self.people))]}")
                answer = connection.getresponse()
                release = json.loads(answer.read()).get("model_version")
                self.answers.append((time.time(), answer.status, release, perf_counter() - started))
            except (OSError, http.client.HTTPException):
                self.answers.append((time.time(), 0, None, perf_counter() - started))
                connection = self._connection()
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)


def post(port: int, path: str) -> None:
    """Changes the release; ends the benchmark where the worker that answers does not serve it then."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", path)
    answer = connection.getresponse()
    found: dict[str, Any] = json.loads(answer.read())
    connection.close()
    if answer.status != 200 or found["production"] != found["serving"]:
        raise SystemExit(f"Expected the other release to serve, got status {answer.status}: {found}")


def swaps(port: int, first: str, second: str, load: Load, changes: int) -> list[float]:
    """Seconds from each change of the release to the last answer by the one before."""
    until_followed = []
    for number in range(changes):
        action, serving = ("promote", second) if number % 2 == 0 else ("rollback", first)
        at = time.time()
        post(port, f"/models/{second}/{action}")
        time.sleep(SETTLE)
        old = [when for when, _, by, _ in load.answers if at < when < at + SETTLE and by not in (serving, None)]
        until_followed.append(max(old, default=at) - at)
    return until_followed


def served(home: Path, port: int, people: list[str], changes: int) -> tuple[Load, list[float]]:
    """The load and how quickly each change was followed, on a server of two workers."""
    first, second = second_release(home)
    command = [NEXTREEL, "serve", f"--home={home}", f"--port={port}", "--workers=2", "--clock=end"]
    environment = {name: value for name, value in os.environ.items() if name != "API_KEYS"}
    server = subprocess.Popen(  # noqa: S603  our own
        command,
        env=environment | {"ADMIN_ON_LOOPBACK": "true", "LOG_LEVEL": "ERROR"},
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    load = Load(port, people)
    threads = [threading.Thread(target=load.ask, args=(seed,)) for seed in range(CONNECTIONS)]
    try:
        began = perf_counter()
        while not _answers(port):
            if perf_counter() - began > PATIENCE or server.poll() is not None:
                raise SystemExit("The server did not answer.")
            time.sleep(0.05)
        time.sleep(SETTLE)  # until the other worker answers too
        for thread in threads:
            thread.start()
        time.sleep(SETTLE)
        return load, swaps(port, first, second, load, changes)
    finally:
        load.stop.set()
        for thread in threads:
            if thread.is_alive():
                thread.join()
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--changes", type=int, default=6, help="of the release in production (default %(default)s)")
    parser.add_argument("--json", type=Path, default=RESULTS / "swap.json")
    given = parser.parse_args()
    began = perf_counter()
    system = open_system(given.home)
    people = [urllib.parse.quote(str(user_id), safe="") for user_id in system.store.users()]
    videos = len(system.catalogue)
    system.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with TemporaryDirectory() as folder:
        home = Path(shutil.copytree(given.home, Path(folder) / "home"))
        load, followed = served(home, port, people, given.changes)
    p50, p99, longest = np.percentile([seconds * 1000 for *_, seconds in load.answers], [50, 99, 100]).tolist()
    failed = sum(status != 200 for _, status, _, _ in load.answers)
    result = {
        "benchmark": "swap",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": os.getloadavg(),  # a busy machine measures the others, too
        "videos": videos,
        "workers": 2,
        "connections": CONNECTIONS,
        "changes": given.changes,
        "requests": len(load.answers),
        "failed": failed,
        "milliseconds": {"p50": p50, "p99": p99, "max": longest},
        "seconds_until_all_workers_followed": followed,
        "seconds": perf_counter() - began,
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    lines = [
        f"{given.changes} changes of the release under {len(load.answers):,} requests of {CONNECTIONS} connections to "
        f"two workers ({videos:,} videos): {failed} failed.",
        f"Requests took {p50:.1f} ms at the median and {p99:.0f} ms at the 99th percentile, all in all; the longest "
        f"{longest:.0f} ms.",
        f"Both workers had followed after {min(followed):.1f} to {max(followed):.1f} seconds.",
    ]
    given.json.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    print(f"Wrote {given.json}")


if __name__ == "__main__":
    main()
