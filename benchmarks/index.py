"""How the vector index does with a large catalogue: recall against exact search, time, bytes, and rows added meanwhile.

The vectors are drawn around those of a trained release (`--vectors`): each is one of these, moved as far and in such
directions as its neighbours lie from it, brought to unit length. Queries are drawn likewise, with another seed, and
moved 1.5 times their length into a random direction; the index is built without knowing them. It
chooses its kind itself, once for each of `--limits` of memory.

    python benchmarks/index.py --vectors var/releases/ID/two_tower/index/vectors.npy
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nextreel.evaluation.lineage import commit, hardware, peak_memory, versions
from nextreel.retrieval import index as indexes
from nextreel.retrieval._faiss import exact
from nextreel.retrieval._recall import measured, people
from nextreel.retrieval.index import Index, IndexParams
from nextreel.retrieval.live_index import LiveIndex
from nextreel.types import FloatArray

RESULTS = Path(__file__).resolve().parent / "results"
NEIGHBOURS = 10  # of each trained vector, whose distances say how far a drawn one lies from it
AT = 100  # rows of an answer


def drawn(trained: FloatArray, n: int, seed: int) -> FloatArray:
    """n unit vectors distributed as the trained ones are: one of these each, moved as its neighbours lie from it."""
    near = np.argsort(-(trained @ trained.T), axis=1)[:, 1 : NEIGHBOURS + 1]
    apart = (trained[near] - trained[:, None]).reshape(-1, trained.shape[1])
    values, directions = np.linalg.eigh(np.cov(apart.T))
    rng = np.random.default_rng(seed)
    moved = rng.normal(size=(n, len(values))).astype(np.float32) * np.sqrt(np.maximum(values, 0)).astype(np.float32)
    vectors = trained[rng.integers(0, len(trained), n)] + moved @ directions.T.astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def added(index: Index, vectors: FloatArray) -> dict[str, float]:
    """The longest time from adding a vector until a search found it, and the time of a search beside all of them."""
    live, longest = LiveIndex(index), 0.0
    for vector in vectors:
        started = perf_counter()
        (row,) = live.add(vector[None])
        if row not in live.search(vector, 1)[0]:
            raise SystemExit(f"Expected the added row {row} to be found at once; it was not.")
        longest = max(longest, perf_counter() - started)
    started = perf_counter()
    for vector in vectors[:200]:
        live.search(vector, AT)
    return {
        "added": len(vectors),
        "longest_seconds_until_found": longest,
        "milliseconds_a_query_beside": (perf_counter() - started) * 1000 / min(200, len(vectors)),
    }


def measure(vectors: FloatArray, queries: FloatArray, truth: FloatArray, limit: int, new: FloatArray) -> dict[str, Any]:
    """What the index that a limit of memory leads to finds and costs, read from its folder as a server reads it."""
    started = perf_counter()
    built = indexes.build(vectors, IndexParams(memory_limit_mb=limit))
    seconds = perf_counter() - started
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built.save(folder)
        sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
        served = indexes.load(folder)
        recall, milliseconds = measured(served.search, queries, truth)
        return {
            "memory_limit_mb": limit,
            "kind": served.kind,
            "width": served.width,
            f"recall@{AT}": recall,
            "recall_measured_when_built": None if served.measured is None else served.measured.recall,
            "milliseconds_a_query": milliseconds,
            "build_seconds": seconds,
            "index_bytes": sizes.get(indexes.FAISS_FILE, 0),
            "vectors_bytes": sizes[indexes.VECTORS_FILE],
            "inserts": added(served, new),
        }


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True, help="vectors.npy of a trained release")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--adds", type=int, default=1_000)
    parser.add_argument("--limits", type=int, nargs="+", default=[500, 150], help="MB (default %(default)s)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of index.json and index.md")
    given = parser.parse_args()
    trained = np.load(given.vectors, allow_pickle=False)
    vectors = drawn(trained, given.rows, given.seed)
    queries = people(drawn(trained, given.queries, given.seed + 1), given.queries, given.seed + 2)
    new = drawn(trained, given.adds, given.seed + 3)
    truth = exact(vectors, queries, AT)
    with threadpool_limits(1, user_api="blas"):
        flat = measured(Index(vectors, IndexParams(kind="flat"), "flat").search, queries[:50], truth[:50])
    found = [measure(vectors, queries, truth, limit, new) for limit in given.limits]
    result = {
        "benchmark": "index",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": os.getloadavg(),  # a busy machine measures the others, too
        "rows": len(vectors),
        "dimensions": vectors.shape[1],
        "trained_vectors": len(trained),
        "queries": len(queries),
        "seed": given.seed,
        "exact_milliseconds_a_query": flat[1],
        "indexes": found,
        "peak_memory_bytes": peak_memory(),
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "index.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (given.out / "index.md").write_text(table(result), encoding="utf-8")
    print(table(result))


def table(result: dict[str, Any]) -> str:
    """The results for people to read."""
    lines = [
        f"{result['rows']:,} vectors of {result['dimensions']} dimensions, drawn around {result['trained_vectors']:,} "
        f"of a trained release; {result['queries']} queries on one thread. Exact search takes "
        f"{result['exact_milliseconds_a_query']:.1f} ms a query.",
        "",
        f"| memory limit | kind | width | recall@{AT} | ms a query | built in | index | an added row is found after |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one['memory_limit_mb']} MB | {one['kind']} | {one['width']} | {one[f'recall@{AT}']:.4f} | "
        f"{one['milliseconds_a_query']:.2f} | {one['build_seconds']:.0f} s | {one['index_bytes'] / 1e6:.0f} MB | "
        f"{1000 * one['inserts']['longest_seconds_until_found']:.1f} ms at most |"
        for one in result["indexes"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
