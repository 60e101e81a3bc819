"""How the ranks of several sources join into one order."""

from __future__ import annotations

import numpy as np

from nextreel.types import FloatArray

_CONSTANT = np.float32(60.0)  # of the paper


def reciprocal(ranks: FloatArray) -> FloatArray:
    """1 / (60 + rank) of each rank, 0 where there is none (NaN): summed over sources they are reciprocal rank fusion.

    Source: Cormack, Clarke & Büttcher, Reciprocal rank fusion outperforms Condorcet, SIGIR (2009).

    >>> reciprocal(np.array([0.0, 40.0, np.nan], np.float32)).round(4).tolist()
    [0.016699999570846558, 0.009999999776482582, 0.0]
    """
    parts: FloatArray = np.float32(1.0) / (_CONSTANT + ranks)
    parts[np.isnan(parts)] = 0.0
    return parts
