"""Why the videos of a list are where they are."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from nextreel.ordering.chain import Arranged
from nextreel.types import UNKNOWN, Explaining, Explanation, FloatArray, Matrix, NextreelError, Ranker, Trace

log = logging.getLogger(__name__)


def explained(
    arranged: Arranged, value: FloatArray, ranker: Ranker | None, matrix: Matrix | None, trace: Trace
) -> Explanation:
    """Why the listed candidates are where they are; `matrix` is what the ranker read of all, None where it did not.

    A ranker that cannot tell what features add is noted in the trace and done without.
    """
    features: tuple[str, ...] = ()
    contributions: dict[str, FloatArray] = {}
    teller: object = ranker
    if matrix is not None and isinstance(teller, Explaining):
        try:
            listed = Matrix(matrix.names, matrix.values[arranged.positions])
            contributions, features = teller.contributions(listed), matrix.names
        except NextreelError as error:  # a model that has no such parts: the message says all
            log.warning("no contributions: %s", error)
            trace.failures["contributions"] = repr(error)
        except Exception as error:  # the list stands, whatever cannot be told of it
            log.exception("no contributions")
            trace.failures["contributions"] = repr(error)
    return Explanation(features, contributions, _places(arranged, value))


def _places(arranged: Arranged, value: FloatArray) -> dict[str, NDArray[np.intp]]:
    """For each step, the place (k,) that it left each video of the list at, 0 = first; -1 where it did not see it.

    What was promoted has, by value, the place that it would have had among the others.
    """
    size = len(value)
    found = {}
    for name, order in arranged.steps.items():
        place = np.full(size, UNKNOWN, np.intp)
        place[order] = np.arange(len(order))
        found[name] = place[arranged.positions]
    by_value_alone = -value[arranged.steps["value"]]  # ascending
    given = np.searchsorted(by_value_alone, -value[arranged.positions])
    found["value"] = np.where(found["value"] == UNKNOWN, given, found["value"])
    return found
