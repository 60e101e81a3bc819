"""Numbers that look drawn at random and hang on their input alone: the same on every machine, in any order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A number for each (n,), whose every bit depends on every bit of the given one.

    Source: finaliser of SplitMix64; Steele, Lea, Flood, Fast splittable pseudorandom number generators, OOPSLA (2014).
    """
    hashes = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
