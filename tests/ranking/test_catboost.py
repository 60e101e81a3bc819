"""What is CatBoost's own: its losses, its parameters, and trees that score and explain as CatBoost itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from nextreel.metrics import gauc
from nextreel.ranking import catboost
from nextreel.ranking.catboost import CatBoostParams, OwnTrees
from nextreel.ranking.rows import Loss, Rows
from nextreel.ranking.trees import TreeError, Trees

SMALL = CatBoostParams(iterations=30, depth=3, learning_rate=0.3, early_stopping=30, threads=1)

Planted = Callable[..., Rows]


@pytest.mark.parametrize("loss", ["YetiRank", "YetiRankPairwise", "QuerySoftMax", "QueryRMSE"])
def test_every_loss_learns(loss: str, planted: Planted) -> None:
    params = CatBoostParams.model_validate(SMALL.model_dump() | {"loss": loss, "iterations": 15})
    unseen = planted(2, 40)
    scores = catboost.fit(planted(0, 40), planted(1, 20), "ranking", params).scorer.score(unseen.values)
    assert gauc(unseen.labels, scores, unseen.groups) > 0.85


def test_another_seed_gives_other_scores(planted: Planted) -> None:
    values = planted(2).values
    one, other = (
        catboost.fit(planted(0), planted(1, 30), "ranking", SMALL.model_copy(update={"seed": seed})).scorer.score(
            values
        )
        for seed in (42, 7)
    )
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("loss", ["ranking", "probability"])
@pytest.mark.parametrize(("depth", "iterations"), [(1, 5), (4, 60), (7, 8)])
def test_the_trees_score_and_explain_as_catboost_itself(
    depth: int, iterations: int, loss: Loss, planted: Planted, tmp_path: Path
) -> None:
    import catboost as library  # noqa: PLC0415

    holes = planted(0)
    holes.values[::7, 0] = np.nan  # NaN was seen in this column, never in the others
    params = SMALL.model_copy(update={"depth": depth, "iterations": iterations})
    own = catboost.fit(holes, planted(1, 30), loss, params).scorer
    assert isinstance(own, OwnTrees)
    own.save(tmp_path)
    reference = library.CatBoost().load_model(str(tmp_path / "ranker_model.cbm"))
    values = planted(2, 10).values
    values[::5, 0], values[::9, 1], values[1, 2], values[2, 2] = np.nan, np.nan, np.inf, -np.inf
    values[3] = own.trees.border[:1]  # a value that lies on the border
    np.testing.assert_allclose(own.score(values), reference.predict(values), rtol=1e-5, atol=1e-5)
    shap = reference.get_feature_importance(library.Pool(values), type="ShapValues")
    np.testing.assert_allclose(catboost.load(tmp_path).contributions(values), shap, rtol=1e-4, atol=1e-5)


def test_trees_that_do_not_know_how_many_rows_they_saw_explain_nothing(tmp_path: Path) -> None:
    trees = Trees(
        np.array([0]), np.array([0.5], np.float32), np.array([[0]]), np.array([[-1, 1]], np.float32), 1.0, 0.0
    )
    with pytest.raises(TreeError, match="leaves' weights"):
        trees.contributions(np.zeros((1, 1), np.float32))


@pytest.mark.parametrize("wrong", [{"loss": "RMSE"}, {"trees": 5}, {"iterations": "many"}])
def test_a_parameter_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CatBoostParams.model_validate(wrong)
