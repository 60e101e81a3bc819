"""How much of the exact answer an approximate search finds, and the cheapest search that finds enough of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter

import numpy as np

from nextreel.types import FloatArray, RowArray

# Length of what is added to a video's vector, in lengths of that vector: people of trained towers lie further from all
# videos than videos from each other, and with less noise too small a width would do.
NOISE = 1.5

Search = Callable[[FloatArray, int], tuple[RowArray, FloatArray]]  # query (d,), k


def people(vectors: FloatArray, n: int, seed: int) -> FloatArray:
    """Vectors (n, d) like those of people: drawn videos, each moved 1.5 times its length into a random direction."""
    rng = np.random.default_rng(seed)
    drawn = np.asarray(vectors[np.sort(rng.choice(len(vectors), min(n, len(vectors)), replace=False))])
    aside = rng.normal(size=drawn.shape)
    aside *= NOISE * np.linalg.norm(drawn, axis=1, keepdims=True) / np.linalg.norm(aside, axis=1, keepdims=True)
    return np.asarray(drawn + aside, np.float32)


def measured(search: Search, queries: FloatArray, exact: FloatArray) -> tuple[float, float]:
    """Recall and milliseconds per query of a search; `exact` (q, k) are the k largest scores of each.

    Whatever scores as well as the k-th best was found rightly: videos with equal vectors are as good as each other.
    """
    k = exact.shape[1]
    least = exact[:, -1] - 1e-6 * np.maximum(1, np.abs(exact[:, -1]))  # float32 sums differ by their order
    search(queries[0], k)  # the first one pays for what all share
    start = perf_counter()
    found = [search(query, k)[1] for query in queries]
    milliseconds = 1000 * (perf_counter() - start) / len(queries)
    hits = sum(int(np.count_nonzero(scores >= edge)) for scores, edge in zip(found, least, strict=True))
    return hits / exact.size, milliseconds


def widths(first: int, last: int) -> Iterator[int]:
    """Widths from the first to the last, each half as much again as the one before.

    >>> list(widths(8, 30))
    [8, 12, 18, 27, 30]
    """
    width = first
    while width < last:
        yield width
        width = max(width + 1, width * 3 // 2)
    yield last
