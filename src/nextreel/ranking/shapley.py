"""SHAP values of oblivious trees, as tables: what each level's feature adds in each leaf."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from nextreel.types import FloatArray

Table = NDArray[np.float64]


def contributions(leaves: FloatArray, cover: FloatArray, columns: NDArray[np.intp]) -> tuple[Table, float]:
    """(T, 2^D, D) what each level adds in each leaf of T trees, and the sum of the trees' mean values.

    Leaves (T, 2^D) have values and covers, the weight of the training rows in them; level d of tree t, bit d of a
    leaf's number, asks about column `columns[t, d]`, and the highest level is the root. Levels of one column are one
    player, and its part stands at the first of them. What a tree says when only some features are known is the mean
    over its unknown questions, weighted by cover on the way down (Lundberg, Erion & Lee, Consistent individualized
    feature attribution for tree ensembles, 2018); a part is the Shapley value of that game.
    """
    n, size = leaves.shape
    depth = size.bit_length() - 1
    known = [_known(leaves.astype(np.float64), cover.astype(np.float64), depth, mask) for mask in range(size)]
    parts = np.zeros((n, size, depth))
    for tree in range(n):
        players: dict[int, int] = {}  # column -> mask of its levels
        first: dict[int, int] = {}
        for level, column in enumerate(columns[tree].tolist()):
            players[column] = players.get(column, 0) | 1 << level
            first.setdefault(column, level)
        masks = list(players.values())
        for column, own in players.items():
            others = [mask for mask in masks if mask != own]
            for many in range(len(others) + 1):
                weight = factorial(many) * factorial(len(others) - many) / factorial(len(masks))
                for some in combinations(others, many):
                    without = sum(some)
                    parts[tree, :, first[column]] += weight * (known[without | own][tree] - known[without][tree])
    return parts, float(known[0][:, 0].sum())


def _known(leaves: Table, cover: Table, depth: int, mask: int) -> Table:
    """(T, 2^D) what the trees say in each leaf when only the levels of the mask are known."""
    shape = (len(leaves), *([2] * depth))
    value, weight = (
        leaves.reshape(shape),
        cover.reshape(shape),
    )  # axis 1 is the root, the highest bit; the last is bit 0
    for level in range(depth):  # from the leaves up
        axis = depth - level
        total = weight.sum(axis=axis, keepdims=True)
        if not mask >> level & 1:
            mean = value.mean(axis=axis, keepdims=True)  # where no training row came by
            value = np.where(
                total > 0, (value * weight).sum(axis=axis, keepdims=True) / np.where(total > 0, total, 1), mean
            )
        weight = total
    return np.broadcast_to(value, shape).reshape(len(leaves), -1)
