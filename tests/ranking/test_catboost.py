"""The ranker on moments whose right order was planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from nextreel.features import fingerprint
from nextreel.metrics import gauc
from nextreel.ranking import catboost
from nextreel.ranking.catboost import CatBoostParams, CatBoostRanker, Rows
from nextreel.types import Matrix, NextreelError

NAMES = ("score_als", "noise", "plays")
SMALL = CatBoostParams(iterations=30, depth=3, learning_rate=0.3, early_stopping=30, threads=1)


def planted(seed: int, moments: int = 80, size: int = 20) -> Rows:
    """Moments whose relevant rows are the three of highest score_als - plays; noise says nothing."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(moments, size, 3)).astype(np.float32)
    worth = values[:, :, 0] - values[:, :, 2]
    labels = (worth >= np.sort(worth, axis=1)[:, -3:-2]).astype(np.float32)
    number = np.repeat(np.arange(moments), size)
    return Rows(
        names=NAMES,
        values=values.reshape(-1, 3),
        labels=labels.ravel(),
        groups=number,
        weights=np.ones(moments * size, np.float32),
        at=number.astype(np.float64),
        users=number.astype(np.int32),
    )


@pytest.fixture(scope="module")
def ranker() -> CatBoostRanker:
    return catboost.fit(planted(0), planted(1, 30), SMALL)


def test_the_planted_order_is_learned(ranker: CatBoostRanker) -> None:
    unseen = planted(2)
    scores = ranker.score(Matrix(NAMES, unseen.values))
    assert scores.shape == (len(unseen), 1)
    assert scores.dtype == np.float32
    assert gauc(unseen.labels, scores[:, 0], unseen.groups) > 0.95
    swapped = unseen.values[:, [2, 1, 0]]  # the opposite of the planted order is ranked the other way about
    assert gauc(unseen.labels, ranker.score(Matrix(NAMES, swapped))[:, 0], unseen.groups) < 0.3


def test_what_says_nothing_matters_least(ranker: CatBoostRanker) -> None:
    importance = ranker.importance
    assert list(importance)[-1] == "noise"
    assert sum(importance.values()) == pytest.approx(100)
    assert list(importance.values()) == sorted(importance.values(), reverse=True)


def test_the_metrics_tell_what_validation_found(ranker: CatBoostRanker) -> None:
    assert 0.8 < ranker.metrics["ndcg_at_10_of_candidates"] <= 1.0
    assert 1 <= ranker.metrics["trees"] <= SMALL.iterations


@pytest.mark.parametrize("loss", ["YetiRank", "YetiRankPairwise", "QuerySoftMax", "QueryRMSE"])
def test_every_loss_learns(loss: str) -> None:
    params = CatBoostParams.model_validate(SMALL.model_dump() | {"loss": loss, "iterations": 15})
    unseen = planted(2, 40)
    scores = catboost.fit(planted(0, 40), planted(1, 20), params).score(Matrix(NAMES, unseen.values))
    assert gauc(unseen.labels, scores[:, 0], unseen.groups) > 0.85


def test_the_same_seed_gives_the_same_scores(ranker: CatBoostRanker) -> None:
    matrix = Matrix(NAMES, planted(2).values)
    again = catboost.fit(planted(0), planted(1, 30), SMALL)
    np.testing.assert_array_equal(again.score(matrix), ranker.score(matrix))
    other = catboost.fit(planted(0), planted(1, 30), SMALL.model_copy(update={"seed": 7}))
    assert not np.array_equal(other.score(matrix), ranker.score(matrix))


def test_a_loaded_ranker_scores_as_the_saved_one(ranker: CatBoostRanker, tmp_path: Path) -> None:
    ranker.save(tmp_path / "ranker")
    loaded = CatBoostRanker.load(tmp_path / "ranker")
    matrix = Matrix(NAMES, planted(2).values)
    np.testing.assert_array_equal(loaded.score(matrix), ranker.score(matrix))
    assert loaded.names == ranker.names
    assert loaded.importance == pytest.approx(ranker.importance)


def test_a_lean_ranker_scores_alike_without_what_no_tree_reads() -> None:
    rows = planted(0)
    same = np.zeros((len(rows), 2), np.float32)  # no tree can ask about them
    wide = replace(rows, names=("score_a", *NAMES, "age"), values=np.hstack([same[:, :1], rows.values, same[:, 1:]]))
    whole = catboost.fit(wide, wide, SMALL)
    lean = whole.lean()
    assert set(NAMES[::2]) < set(lean.names) <= {"score_a", *NAMES}
    assert lean.fingerprint == fingerprint(lean.names)
    assert lean.importance == whole.importance
    kept = [wide.names.index(name) for name in lean.names]
    found = lean.score(Matrix(lean.names, wide.values[:, kept]))
    np.testing.assert_array_equal(found, whole.score(Matrix(wide.names, wide.values)))


@pytest.mark.parametrize(("depth", "iterations"), [(1, 5), (4, 60), (10, 8)])
def test_the_trees_score_as_catboost_itself(depth: int, iterations: int, tmp_path: Path) -> None:
    import catboost as library  # noqa: PLC0415

    params = SMALL.model_copy(update={"depth": depth, "iterations": iterations})
    holes = planted(0)
    holes.values[::7, 0] = np.nan  # NaN was seen in this column, never in the others
    fitted = catboost.fit(holes, planted(1, 30), params)
    fitted.save(tmp_path)
    reference = library.CatBoost().load_model(str(tmp_path / "ranker_model.cbm"))
    values = planted(2).values
    values[::5, 0], values[::9, 1], values[1, 2], values[2, 2] = np.nan, np.nan, np.inf, -np.inf
    values[3] = fitted.trees.border[:1]  # a value that lies on the border
    np.testing.assert_allclose(fitted.trees.score(values), reference.predict(values), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["trees.npz", "ranker.json", "ranker_model.cbm"])
def test_a_ranker_without_one_of_its_files_is_refused(name: str, ranker: CatBoostRanker, tmp_path: Path) -> None:
    ranker.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(NextreelError, match="train and publish the release again"):
        CatBoostRanker.load(tmp_path)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("score_als", "noise"), r"missing \['plays'\], unknown \[\]"),
        ((*NAMES, "age"), r"missing \[\], unknown \['age'\]"),
        (("score_als", "noise", "views"), r"missing \['plays'\], unknown \['views'\]"),
        (("noise", "score_als", "plays"), "another order or meaning"),
    ],
)
def test_a_matrix_of_other_columns_is_refused(names: tuple[str, ...], says: str, ranker: CatBoostRanker) -> None:
    with pytest.raises(NextreelError, match=says) as error:
        ranker.score(Matrix(names, np.zeros((2, len(names)), np.float32)))
    assert "Expected the 3 feature columns" in str(error.value)
    assert "Hint:" in str(error.value)


def test_a_missing_value_is_scored_and_every_row_gets_one(ranker: CatBoostRanker) -> None:
    for rows in (0, 1, 3):
        scores = ranker.score(Matrix(NAMES, np.full((rows, 3), np.nan, np.float32)))
        assert scores.shape == (rows, 1)
        assert np.isfinite(scores).all()


def test_a_row_scores_alike_alone_and_among_others(ranker: CatBoostRanker) -> None:
    values = planted(2).values
    whole = ranker.score(Matrix(NAMES, values))
    np.testing.assert_array_equal(ranker.score(Matrix(NAMES, values[17:18])), whole[17:18])


@pytest.mark.parametrize("part", ["training", "validation"])
def test_moments_without_a_positive_are_refused(part: str) -> None:
    good = planted(0, 5)
    bad = Rows(good.names, good.values, np.zeros_like(good.labels), good.groups, good.weights, good.at, good.users)
    nothing = good.take(np.zeros(len(good), np.bool_))
    for wrong in (bad, nothing):
        parts = (wrong, good) if part == "training" else (good, wrong)
        with pytest.raises(NextreelError, match=f"Expected {part} moments with at least one positive"):
            catboost.fit(*parts, SMALL)


def test_chosen_rows_keep_their_columns() -> None:
    rows = planted(0, 3, 4)
    some = rows.take(rows.groups == 1)
    assert len(some) == 4
    np.testing.assert_array_equal(some.values, rows.values[4:8])
    np.testing.assert_array_equal(some.labels, rows.labels[4:8])
    assert set(some.users.tolist()) == set(some.groups.tolist()) == {1}


@pytest.mark.parametrize("wrong", [{"loss": "RMSE"}, {"trees": 5}, {"iterations": "many"}])
def test_a_parameter_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CatBoostParams.model_validate(wrong)
