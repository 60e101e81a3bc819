"""An outside check on MovieLens-1M: train on the ratings that are known, be judged on those that stayed away.

`--protocol frozen`: the first 90 % of the ratings are known, and `nextreel batch --users all -k 100 --at end` answers.
`--protocol leave-last-out`: all ratings but each person's last one are known, and `nextreel batch --users all -k 10
--source two_tower --at last` answers, the two towers alone.

Ratings are sorted by time, ties in file order. The known ones are written into a folder that holds nothing else;
`nextreel train` and `nextreel batch` see that folder alone. The lists are judged here by a few lines that share no code
with nextreel: each rating is a watched video, people count who have ratings on both sides.

    python benchmarks/withheld.py --data DIR        (about ten minutes; --people 0.1 tries it on every tenth person)
    python benchmarks/withheld.py --data DIR --protocol leave-last-out --preset research        (about two hours)
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess  # nextreel itself, with fixed arguments
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nextreel.evaluation.lineage import commit, hardware, versions

Known = Callable[[NDArray[np.int64]], NDArray[np.bool_]]  # users of ratings (n,), oldest first -> which are known
RESULTS = Path(__file__).resolve().parent / "results"
NEXTREEL = str(Path(sys.executable).with_name("nextreel"))
K = {"frozen": 100, "leave-last-out": 10}
BATCH = {"frozen": ("--at", "end"), "leave-last-out": ("--at", "last", "--source", "two_tower")}


def split(data: Path, folder: Path, people: float, known: Known) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(user, video) of the known ratings, which are written into the folder, and of those withheld."""
    lines = np.array((data / "ratings.dat").read_text(encoding="latin-1").splitlines(), object)
    cells = np.array([line.split("::") for line in lines], np.int64)  # user, video, rating, time
    if people < 1:
        mine = cells[:, 0] % round(1 / people) == 0
        lines, cells = lines[mine], cells[mine]
    order = np.argsort(cells[:, 3], kind="stable")
    lines, cells = lines[order], cells[order]
    old = known(cells[:, 0])
    folder.mkdir(parents=True)
    (folder / "ratings.dat").write_text("\n".join(lines[old]) + "\n", encoding="latin-1")
    for name in ("movies.dat", "users.dat"):
        shutil.copyfile(data / name, folder / name)
    return cells[old, :2], cells[~old, :2]


def first(share: float) -> Known:
    """The oldest part of the ratings is known."""
    return lambda users: np.arange(len(users)) < int(len(users) * share)


def all_but_last(users: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Every rating is known but the newest of each person."""
    _, newest = np.unique(users[::-1], return_index=True)
    known = np.ones(len(users), bool)
    known[len(users) - 1 - newest] = False
    return known


def call(*arguments: str) -> float:
    """Seconds that the command took; its output is shown."""
    started = perf_counter()
    subprocess.run([NEXTREEL, *arguments], check=True)  # noqa: S603
    return perf_counter() - started


def peak_memory_of_children() -> int:
    """Bytes that the largest child so far held at most."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def judge(lists: dict[int, list[int]], old: NDArray[np.int64], new: NDArray[np.int64], k: int) -> dict[str, float]:
    """Means over the people with ratings on both sides: NDCG@10, Recall@10, HR@10 and, for longer lists, Recall@k."""
    known = set(old[:, 0].tolist())
    truth: dict[int, set[int]] = {}
    for user, video in new.tolist():
        if user in known:
            truth.setdefault(user, set()).add(video)
    gains = 1 / np.log2(np.arange(2, 12))
    rows = []
    for user, wanted in truth.items():
        hits = np.array([video in wanted for video in lists[user]], float)
        ideal = gains[: min(10, len(wanted))].sum()
        rows.append(
            (
                (hits[:10] * gains[: len(hits)]).sum() / ideal,
                hits[:10].sum() / len(wanted),
                float(hits[:10].any()),
                hits.sum() / len(wanted),
            )
        )
    names = ("ndcg@10", "recall@10", "hit_rate@10", f"recall@{k}")[: 4 if k > 10 else 3]
    means = np.mean(rows, axis=0)[: len(names)]
    errors = np.std(rows, axis=0, ddof=1)[: len(names)] / np.sqrt(len(rows))
    found = dict(zip(names, means.tolist(), strict=True))
    found |= {f"{name}_standard_error": error for name, error in zip(names, errors.tolist(), strict=True)}
    return found | {
        "people": float(len(rows)),
        "truths_per_person": len(new) and sum(map(len, truth.values())) / len(rows),
    }


def check(
    path: Path, old: NDArray[np.int64], everybody: set[int], k: int
) -> tuple[dict[int, list[int]], dict[str, int]]:
    """The lists of the file, and how many people's lists break each promise."""
    table = pq.read_table(path).to_pydict()
    lists: dict[int, list[int]] = {}
    wrong_rank: set[int] = set()
    for user, rank, video in zip(table["user_id"], table["rank"], table["video_id"], strict=True):
        mine = lists.setdefault(user, [])
        mine.append(video)
        if rank != len(mine):
            wrong_rank.add(user)
    watched: dict[int, set[int]] = {}
    for user, video in old.tolist():
        watched.setdefault(user, set()).add(video)
    broken = {
        "without_a_list": len(everybody - lists.keys()),
        f"not_exactly_{k}": sum(len(mine) != k for mine in lists.values()),
        "with_a_repeat": sum(len(set(mine)) != len(mine) for mine in lists.values()),
        "with_a_watched_video": sum(bool(watched.get(user, set()) & set(mine)) for user, mine in lists.items()),
        f"ranks_not_1_to_{k}": len(wrong_rank),
    }
    return lists, broken


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The result of one training and one batch in a temporary folder."""
    k, known = K[given.protocol], first(given.share) if given.protocol == "frozen" else all_but_last
    with TemporaryDirectory(prefix="nextreel-withheld-") as temporary:
        home, recs = Path(temporary) / "home", Path(temporary) / "recs.parquet"
        old, new = split(given.data, Path(temporary) / "data", given.people, known)
        settings = ["--preset", given.preset, *([] if given.config is None else ["--config", str(given.config)])]
        training = call("train", "--data", str(Path(temporary) / "data"), "--home", str(home), *settings)
        memory = peak_memory_of_children()
        asked = ("--users", "all", "-k", str(k), *BATCH[given.protocol])
        batch = call("batch", *asked, "--out", str(recs), "--home", str(home))
        lists, broken = check(recs, old, set(old[:, 0].tolist()), k)
    return {
        "protocol": given.protocol,
        "ratings": {"known": len(old), "withheld": len(new)},
        "people_share": given.people,
        "preset": given.preset,
        "config": None if given.config is None else given.config.name,
        "lists": len(lists),
        "lists_that_break_a_promise": broken,
        "metrics": judge(lists, old, new, k),
        "seconds": {"train": training, "batch": batch},
        "train_peak_memory_bytes": memory,
    }


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("NEXTREEL_DATA", "data")) / "ml-1m"
    parser.add_argument("--data", type=Path, default=default, help="folder of ratings.dat (default %(default)s)")
    parser.add_argument("--protocol", choices=sorted(K), default="frozen")
    parser.add_argument("--share", type=float, default=0.9, help="part of the ratings that is known, if frozen")
    parser.add_argument("--people", type=float, default=1.0, help="part of the people; below 1 for a quick trial")
    parser.add_argument("--preset", default="default", help="preset for `nextreel train`")
    parser.add_argument("--config", type=Path, default=None, help="configuration for `nextreel train`")
    parser.add_argument("--json", type=Path, default=None, help="results file (default: by protocol and preset)")
    given = parser.parse_args()
    if given.json is None:
        names = [
            "withheld",
            "" if given.protocol == "frozen" else "last",
            "" if given.preset == "default" else given.preset,
        ]
        given.json = RESULTS / f"{'_'.join(filter(None, names))}.json"
    return given


def main() -> int:
    """Measures, prints and writes; 1 when a list breaks a promise."""
    given = arguments()
    load = os.getloadavg()
    result = {
        "benchmark": "withheld",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": load,  # a busy machine measures the others, too
        "data": {"name": given.data.name, "sha256": sha256((given.data / "ratings.dat").read_bytes()).hexdigest()},
        **run(given),
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: result[name] for name in ("metrics", "seconds", "lists_that_break_a_promise")}, indent=2))
    print(f"Wrote {given.json}")
    return int(any(result["lists_that_break_a_promise"].values()))


if __name__ == "__main__":
    sys.exit(main())
