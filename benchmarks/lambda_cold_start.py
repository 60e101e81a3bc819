"""How long a fresh AWS Lambda process takes from its start to its first answer, and to the one after it.

Each of `--runs` processes is `awslambdaric`, the runtime client of Lambda's own images, and speaks with a small Runtime
API on this machine. It is sent one event of an HTTP API (payload 2.0) and one of a REST API (payload 1.0). The home is
only read; state and log are new files elsewhere. A function has the processor time that its memory buys, which is less
than here: `--cpus` gives the processes that many processors.

    python benchmarks/lambda_cold_start.py --home var
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess  # its constants; lambda_runtime starts the processes
import tempfile
import time
import urllib.parse
from pathlib import Path
from time import perf_counter
from typing import Any

from lambda_runtime import KEY, PATIENCE, RuntimeApi, function, http_api, rest_api
from nextreel.evaluation.lineage import commit, hardware, versions
from nextreel.opening import open_system

RESULTS = Path(__file__).resolve().parent / "results"


def measure(home: Path, user: str, cpus: int) -> dict[str, float]:
    """Seconds from the start of a process to its first answer, and milliseconds of the second request."""
    with tempfile.TemporaryDirectory() as folder, RuntimeApi() as api:
        environment = {
            "NEXTREEL_HOME": str(home),
            "STATE_URL": f"sqlite://{folder}/shared.db",
            "LOG_URL": f"sqlite://{folder}/log.db",
            "API_KEYS": KEY,
        }
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        chosen = sorted(os.sched_getaffinity(0))[:cpus]
        started = perf_counter()
        process = function(api, environment, preexec_fn=lambda: os.sched_setaffinity(0, chosen), **quiet)
        try:
            first = api.invoke(http_api("GET", f"/recommendations/{user}"))
            seconds = perf_counter() - started
            worked = _processor_seconds(process.pid)
            again = perf_counter()
            second = api.invoke(rest_api("GET", f"/recommendations/{urllib.parse.quote(user, safe='')}", {"n": ["10"]}))
            milliseconds = (perf_counter() - again) * 1000
            memory = _peak_memory(process.pid)
        finally:
            process.terminate()
            process.wait(PATIENCE)
    for answer in (first, second):
        told = json.loads(answer["body"])
        if answer["statusCode"] != 200 or told["level"] != "full" or len(told["recommendations"]) != 10:
            raise SystemExit(f"Expected ten ranked videos, got {answer}.")
    return {
        "first_answer_seconds": seconds,
        "first_answer_processor_seconds": worked,
        "second_answer_milliseconds": milliseconds,
        "peak_memory_megabytes": memory,
    }


def _processor_seconds(pid: int) -> float:
    """How long the process has had a processor; others on a busy machine do not add to it."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _peak_memory(pid: int) -> float:
    """The most memory that the process had, in megabytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6


def table(result: dict[str, Any]) -> str:
    """The result for people, in Markdown."""

    def row(what: str, name: str, unit: str, digits: int) -> str:
        runs = result[name]["runs"]
        most = f"{min(runs):.{digits}f} to {max(runs):.{digits}f}"
        return f"| {what} | {result[name]['median']:.{digits}f} {unit} | {most} |\n"

    hardware, runs = result["hardware"], result["first_answer_seconds"]["runs"]
    return (
        f"{len(runs)} processes on {result['cpus']} of {hardware['cores']} processors "
        f"({hardware['processor']}), {result['videos']:,} videos, {result['measured_at'][:10]}, "
        f"at a load of {result['load_average'][0]:.1f}.\n\n"
        "| | median | least to most |\n|---|---|---|\n"
        + row("start of the process to its first answer (payload 2.0)", "first_answer_seconds", "s", 2)
        + row("of these, the processor was used for", "first_answer_processor_seconds", "s", 2)
        + row("the answer after it (payload 1.0)", "second_answer_milliseconds", "ms", 1)
        + row("memory at most", "peak_memory_megabytes", "MB", 0)
    )


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--json", type=Path, default=RESULTS / "lambda.json")
    given = parser.parse_args()
    began = perf_counter()
    system = open_system(given.home, state_url="memory://", log_url="memory://")
    user, release, videos = str(system.store.users()[0]), system.release, len(system.catalogue)
    system.close()
    runs = [measure(given.home.resolve(), user, given.cpus) for _ in range(given.runs)]
    found = {name: [one[name] for one in runs] for name in runs[0]}
    result = {
        "benchmark": "lambda_cold_start",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": os.getloadavg(),  # a busy machine measures the others, too
        "release": release,
        "videos": videos,
        "cpus": given.cpus,
        **{name: {"median": statistics.median(values), "runs": values} for name, values in found.items()},
        "seconds": perf_counter() - began,
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, values in found.items():
        print(
            f"{name}: median {statistics.median(values):.2f} of {len(values)} ({min(values):.2f} to {max(values):.2f})"
        )
    given.json.with_suffix(".md").write_text(table(result), encoding="utf-8")
    print(f"Wrote {given.json} and its table")


if __name__ == "__main__":
    main()
