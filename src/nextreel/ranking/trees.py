"""Gradient-boosted oblivious trees as arrays: fitted rankers are served from these, with NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from nextreel.ranking.shapley import contributions
from nextreel.types import FloatArray, NextreelError

ARRAYS = ("column", "border", "split", "leaves", "cover")
BYTE = 8  # answers whose number a byte can hold


class TreeError(NextreelError):
    """Trees of a kind that cannot be scored here, or a saved file of them that cannot be read."""


@dataclass(frozen=True)
class Trees:
    """T trees of one depth D whose levels each ask one question, `value > border`, of every row.

    The P distinct questions of all trees are asked once; a tree's leaf is the number that its answers spell in binary.
    NaN answers no. Source of the form: Prokhorenkova et al., CatBoost: unbiased boosting with categorical features,
    NeurIPS (2018).

    >>> column, border = np.array([0]), np.array([0.5], np.float32)
    >>> trees = Trees(column, border, np.array([[0]]), np.array([[-1.0, 1.0]], np.float32), scale=1.0, bias=0.0)
    >>> trees.score(np.array([[0.2], [0.7], [np.nan]], np.float32)).tolist()
    [-1.0, 1.0, -1.0]
    """

    column: NDArray[np.intp]  # (P,) which feature is asked about
    border: FloatArray  # (P,)
    split: NDArray[np.intp]  # (D, T) question that each level of each tree asks; the first level is the lowest bit
    leaves: FloatArray  # (T, 2^D)
    scale: float
    bias: float
    cover: FloatArray = field(default_factory=lambda: np.empty((0, 0), np.float32))  # (T, 2^D) training weight of each

    def __len__(self) -> int:
        return len(self.leaves)

    def score(self, values: FloatArray) -> FloatArray:
        """(n,) scores of the feature rows (n, features); a row's score does not depend on the rows around it."""
        if len(self) == 0:
            return np.full(len(values), self.bias, np.float32)
        split, leaves, first = self._tables
        columns = np.ascontiguousarray(values.T)
        answers = (columns[self.column] > self.border[:, None]).view(np.uint8)  # (P, n)
        leaf = answers[split[-1]]  # (T, n)
        if len(split) > BYTE:
            answers, leaf = answers.astype(np.uint16), leaf.astype(np.uint16)
        for level in range(len(split) - 2, -1, -1):
            leaf += leaf  # twice as fast as a shift
            leaf |= answers[split[level]]
        total = leaves[leaf + first].sum(axis=0, dtype=np.float64)
        return np.asarray(total * self.scale + self.bias, np.float32)

    def contributions(self, values: FloatArray) -> FloatArray:
        """(n, features + 1) SHAP values of the rows (n, features), and last the mean score; they sum to the score.

        All of a tree's questions are asked of every row, so what each question's feature adds depends on the leaf
        alone and stands in a table. Raises TreeError where the trees do not know how many rows each leaf had.
        """
        found = np.zeros((len(values), values.shape[1] + 1))
        found[:, -1] = self.bias
        if len(self):
            parts, mean = self._parts
            answers = values.T[self.column] > self.border[:, None]  # (P, n)
            leaf = sum(answers[level] * (1 << number) for number, level in enumerate(self.split))  # (T, n)
            found[:, -1] += self.scale * mean
            for tree, columns in enumerate(self.column[self.split.T]):
                for level, column in enumerate(columns):
                    found[:, column] += self.scale * parts[tree, leaf[tree], level]
        return found.astype(np.float32)

    @cached_property
    def _parts(self) -> tuple[NDArray[np.float64], float]:
        """What each level (T, 2^D, D) adds to the leaf, and the sum of all trees' means."""
        if self.cover.shape != self.leaves.shape:
            raise TreeError(
                "Expected trees that know their leaves' weights. Hint: train and publish the release again."
            )
        return contributions(self.leaves, self.cover, self.column[self.split.T])

    def over(self, columns: Sequence[int]) -> Trees:
        """The same trees over rows of these columns alone, which hold every one that is asked about."""
        place = {column: new for new, column in enumerate(columns)}
        return replace(self, column=np.array([place[column] for column in self.column.tolist()], np.intp))

    @cached_property
    def _tables(self) -> tuple[NDArray[np.intp], FloatArray, NDArray[np.intp]]:
        """Questions (D, T) and leaves, end to end, of what is looked up, and the place (T, 1) of each one's first leaf.

        Where a byte has room for the answers of two trees, these are one table of their sums: half as many to look up.
        """
        split, leaves = self.split, self.leaves
        if 2 * len(split) <= BYTE:
            if len(leaves) % 2:  # a tree whose leaves are all 0 makes up the last pair
                split = np.concatenate([split, split[:, :1]], axis=1)
                leaves = np.concatenate([leaves, np.zeros_like(leaves[:1])])
            low, high = leaves[0::2].astype(np.float64), leaves[1::2]
            leaves = (low[:, None, :] + high[:, :, None]).reshape(len(low), -1).astype(np.float32)
            split = np.concatenate([split[:, 0::2], split[:, 1::2]])
        first: NDArray[np.intp] = np.arange(len(leaves), dtype=np.intp)[:, None] * leaves.shape[1]
        return split, leaves.ravel(), first

    def save(self, path: Path) -> None:
        """Writes the arrays into one npz file."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        np.savez(path, allow_pickle=False, **arrays, scale=np.array(self.scale), bias=np.array(self.bias))

    @classmethod
    def load(cls, path: Path) -> Trees:
        """The trees that `save` wrote. Raises TreeError for a file that is missing or wrong."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in ARRAYS}
                return cls(**arrays, scale=float(stored["scale"]), bias=float(stored["bias"]))
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise TreeError(
                f"Expected saved trees at {path}; got: {error}. Hint: train and publish the release again."
            ) from error


def from_catboost(model: Mapping[str, Any]) -> Trees:
    """The trees of a CatBoost model, given as the JSON that CatBoost itself exports.

    Raises TreeError for categorical features, trees that are not oblivious, several outputs, or NaN that counts as
    large.
    """
    features = model["features_info"]
    treatments = {feature.get("nan_value_treatment", "AsIs") for feature in features.get("float_features", [])}
    scale, bias = model["scale_and_bias"]
    if "oblivious_trees" not in model or features.get("categorical_features") or "AsTrue" in treatments:
        raise TreeError(
            "Expected a CatBoost model of symmetric trees over numeric features with nan_mode Min; got another. "
            "Hint: grow_policy SymmetricTree, nan_mode Min, categories encoded as numbers."
        )
    if len(bias) != 1:
        raise TreeError(f"Expected a CatBoost model with one output; got {len(bias)}.")
    trees: Sequence[Mapping[str, Any]] = model["oblivious_trees"]
    depth = max(1, *(len(tree["splits"] or ()) for tree in trees)) if trees else 1
    questions: dict[tuple[int, float], int] = {}
    split = np.zeros((depth, len(trees)), np.intp)
    leaves, cover = np.empty((2, len(trees), 2**depth), np.float32)
    for number, tree in enumerate(trees):
        for level, one in enumerate(tree["splits"] or ()):
            question = (int(one["float_feature_index"]), float(one["border"]))
            split[level, number] = questions.setdefault(question, len(questions))
        # a shallower tree: whatever the levels it lacks would answer, the leaf is the same
        copies = 2**depth // len(tree["leaf_values"])
        leaves[number] = np.tile(tree["leaf_values"], copies)
        cover[number] = np.tile(tree["leaf_weights"], copies) / copies
    if trees and not questions:
        questions[0, 0.0] = 0
    column, border = np.array(list(questions), np.float64).reshape(-1, 2).T
    return Trees(column.astype(np.intp), border.astype(np.float32), split, leaves, float(scale), float(bias[0]), cover)
