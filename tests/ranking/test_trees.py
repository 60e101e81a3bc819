"""Trees written by hand: which leaf a row falls into, and which models are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextreel.ranking.trees import TreeError, Trees, from_catboost

NAN = float("nan")


def exported(**changes: Any) -> dict[str, Any]:
    """CatBoost's JSON of two trees: x0 > 1 and x1 > 0 on two levels, then x0 > 1 alone."""
    first = [{"float_feature_index": 0, "border": 1.0}, {"float_feature_index": 1, "border": 0.0}]
    model = {
        "features_info": {"float_features": [{"nan_value_treatment": "AsFalse"}, {"nan_value_treatment": "AsIs"}]},
        "scale_and_bias": [2.0, [10.0]],
        "oblivious_trees": [
            {"splits": first, "leaf_values": [1.0, 2.0, 3.0, 4.0], "leaf_weights": [1, 1, 1, 1]},
            {"splits": first[:1], "leaf_values": [0.0, 100.0], "leaf_weights": [2, 2]},
        ],
    }
    return model | changes


@pytest.mark.parametrize(
    ("row", "score"),
    [((0, -1), 12), ((2, -1), 214), ((0, 1), 16), ((2, 1), 218), ((1, 0), 12), ((NAN, 1), 16), ((2, NAN), 214)],
)
def test_a_row_falls_into_the_leaf_its_answers_spell(row: tuple[float, float], score: float) -> None:
    assert from_catboost(exported()).score(np.array([row], np.float32)).tolist() == [score]


def test_a_question_of_two_trees_is_asked_once() -> None:
    trees = from_catboost(exported())
    assert len(trees) == 2
    assert len(trees.border) == 2


def test_a_model_without_trees_answers_its_bias() -> None:
    assert from_catboost(exported(oblivious_trees=[])).score(np.zeros((3, 2), np.float32)).tolist() == [10, 10, 10]


def test_a_tree_without_a_question_answers_its_leaf() -> None:
    trees = from_catboost(exported(oblivious_trees=[{"splits": None, "leaf_values": [5.0], "leaf_weights": [4]}]))
    assert trees.score(np.zeros((1, 2), np.float32)).tolist() == [20.0]


@pytest.mark.parametrize(
    "changes",
    [
        {"features_info": {"float_features": [{"nan_value_treatment": "AsTrue"}]}},
        {"features_info": {"float_features": [], "categorical_features": [{}]}},
        {"scale_and_bias": [1.0, [0.0, 0.0]]},
    ],
)
def test_a_model_that_these_trees_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TreeError, match="Expected a CatBoost model"):
        from_catboost(exported(**changes))


def test_a_model_of_other_trees_is_refused() -> None:
    model = exported()
    model["trees"] = model.pop("oblivious_trees")
    with pytest.raises(TreeError, match="SymmetricTree"):
        from_catboost(model)


def test_loaded_trees_score_as_the_saved_ones(tmp_path: Path) -> None:
    trees = from_catboost(exported())
    trees.save(tmp_path / "trees.npz")
    rows = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    np.testing.assert_array_equal(Trees.load(tmp_path / "trees.npz").score(rows), trees.score(rows))


def test_a_file_that_holds_no_trees_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trees.npz").write_bytes(b"nothing")
    with pytest.raises(TreeError, match="train and publish"):
        Trees.load(tmp_path / "trees.npz")
