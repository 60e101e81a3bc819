"""How long `nextreel train` takes on a data set, and how much memory: one whole process, timed from outside.

python benchmarks/training.py --data DIR --home HOME
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from nextreel.evaluation.lineage import commit, hardware, versions
from withheld import RESULTS, call, peak_memory_of_children


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("NEXTREEL_DATA", "data")) / "ml-1m")
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--json", type=Path, default=RESULTS / "training.json")
    given = parser.parse_args()
    seconds = call("train", "--data", str(given.data), "--home", str(given.home))
    memory = peak_memory_of_children()
    result = {
        "benchmark": "training",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": os.getloadavg(),
        "seconds": seconds,
        "peak_memory_bytes": memory,
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"{seconds:.0f} s, peak {memory / 1e9:.2f} GB; wrote {given.json}")


if __name__ == "__main__":
    main()
