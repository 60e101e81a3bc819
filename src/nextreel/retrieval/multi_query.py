"""Several queries for each person, one for each interest: what is near to any of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nextreel.params import Params
from nextreel.retrieval.index import Index
from nextreel.retrieval.live_index import View
from nextreel.retrieval.similar import Nearest
from nextreel.types import FloatArray


class MultiQueryParams(Params):
    """Hyper-parameters of the queries."""

    queries: int = Field(default=6, ge=1)  # interests at most
    max_history: int = Field(default=100, ge=1)  # newest liked videos that are grouped
    half_life: float = Field(default=40.0, gt=0)  # liked videos after which one counts half in its interest


def multi_query(index: Index | View, params: MultiQueryParams | None = None) -> Nearest:
    """The retriever named "multi_query": what is nearest to one of a person's interests.

    The newest liked videos are grouped by their vectors; the query of a group is the mean of its unit vectors, each
    halved with every `half_life` videos liked since, brought to unit length. As in PinnerSage, but for its medoids:
    Pal et al., PinnerSage: multi-modal user embedding framework for recommendations at Pinterest, KDD (2020).
    """
    params = params or MultiQueryParams()
    return Nearest("multi_query", index, lambda vectors: interests(vectors, params))


def interests(vectors: FloatArray, params: MultiQueryParams) -> FloatArray:
    """Unit vectors (q, dim), at most `params.queries`, of groups of unit vectors (l, dim), which are oldest first.

    >>> liked = np.array([[1, 0], [0, 1], [0.8, 0.6], [0, 1]], np.float32)
    >>> interests(liked, MultiQueryParams(queries=2)).shape
    (2, 2)
    """
    vectors = vectors[-params.max_history :]
    groups = ward(vectors, params.queries)
    decay = np.exp2(-np.arange(len(vectors) - 1, -1, -1) / params.half_life).astype(np.float32)
    sums = np.zeros((groups.max() + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, groups, vectors * decay[:, None])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    some = lengths[:, 0] > 1e-6  # opposite vectors may leave no direction
    return np.asarray(sums[some] / lengths[some], np.float32)


def ward(vectors: FloatArray, groups: int) -> NDArray[np.intp]:
    """The group (l,) of each vector (l, dim), numbered from 0: at most `groups`, by Ward's method.

    Each vector begins as a group of its own; the two groups whose union adds least to the sum of squared distances
    from their means become one, |A||B| / (|A| + |B|) ||mean(A) - mean(B)||^2, until so many are left.
    Source: Ward, Hierarchical grouping to optimize an objective function, JASA 58 (1963).
    """
    n = len(vectors)
    wide = vectors.astype(np.float64)
    squares = (wide**2).sum(axis=1)
    costs = np.maximum(squares[:, None] + squares - 2 * wide @ wide.T, 0) / 2  # (n, n) of joining two groups
    np.fill_diagonal(costs, np.inf)
    sizes, group = np.ones(n), np.arange(n)
    for _ in range(n - groups):
        place = int(costs.argmin())
        kept, gone = place // n, place % n
        one, other, between = costs[kept], costs[gone], costs[kept, gone]
        # Lance and Williams (1967): the new costs from the old ones, without the means; infinity stays infinity
        joined = ((sizes[kept] + sizes) * one + (sizes[gone] + sizes) * other - sizes * between) / (
            sizes[kept] + sizes[gone] + sizes
        )
        joined[kept] = np.inf
        costs[kept], costs[:, kept] = joined, joined
        costs[gone], costs[:, gone] = np.inf, np.inf
        sizes[kept] += sizes[gone]
        group[group == gone] = kept
    return np.asarray(np.unique(group, return_inverse=True)[1], np.intp)
