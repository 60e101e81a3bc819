"""The contract of every ranker, on moments whose right order was planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from nextreel.features import fingerprint
from nextreel.metrics import gauc, log_loss
from nextreel.ranking import families
from nextreel.ranking.families import Family, RankerParams
from nextreel.ranking.model import FitError
from nextreel.ranking.ranker import RELEVANCE, FittedRanker
from nextreel.ranking.rows import Rows
from nextreel.types import Matrix, NextreelError

NAMES = ("score_als", "noise", "plays")
SMALL = RankerParams.model_validate({
    "catboost": {"iterations": 30, "depth": 3, "learning_rate": 0.3, "early_stopping": 30, "threads": 1},
    "lightgbm": {"iterations": 30, "learning_rate": 0.2, "leaves": 8, "least": 5, "threads": 1},
    "xgboost": {"iterations": 30, "learning_rate": 0.2, "depth": 3, "least": 1.0, "threads": 1},
    "deepfm": {"epochs": 20, "batch": 200, "learning_rate": 1e-2, "dropout": 0.0, "threads": 1},
})  # fmt: skip
FAMILIES = get_args(Family)

Planted = Callable[..., Rows]


def params(family: str, seed: int = 42) -> RankerParams:
    return SMALL.model_copy(update={"family": family}).reseeded(seed)


def fitted(family: str, planted: Planted, seed: int = 42) -> FittedRanker:
    """An order, and how likely a row is among the first three, by two heads."""
    train = {RELEVANCE: planted(0), "click": planted(3)}
    valid = {RELEVANCE: planted(1, 30), "click": planted(4, 30)}
    return families.fit(train, valid, params(family, seed))


@pytest.fixture(scope="module", params=FAMILIES)
def ranker(request: pytest.FixtureRequest, planted: Planted) -> FittedRanker:
    return fitted(request.param, planted)


def test_the_planted_order_is_learned_by_every_head(ranker: FittedRanker, planted: Planted) -> None:
    unseen = planted(2)
    scores = ranker.score(Matrix(NAMES, unseen.values))
    assert ranker.objectives == (RELEVANCE, "click")
    assert scores.shape == (len(unseen), 2)
    assert scores.dtype == np.float32
    swapped = ranker.score(Matrix(NAMES, unseen.values[:, [2, 1, 0]]))
    for head in range(2):
        assert gauc(unseen.labels, scores[:, head], unseen.groups) > 0.93
        assert gauc(unseen.labels, swapped[:, head], unseen.groups) < 0.3  # the opposite order, the other way about


def test_what_is_not_relevance_is_a_probability_that_keeps_its_word(ranker: FittedRanker, planted: Planted) -> None:
    unseen = planted(2, 200)
    clicks = ranker.score(Matrix(NAMES, unseen.values))[:, 1]
    assert 0 < clicks.min() < clicks.max() < 1
    assert clicks.mean() == pytest.approx(unseen.labels.mean(), abs=0.02)
    rate = float(unseen.labels.mean())
    assert log_loss(unseen.labels, clicks) < 0.7 * log_loss(unseen.labels, np.full(len(unseen), rate))
    assert ranker.head(RELEVANCE).calibration is None


def test_what_says_nothing_matters_least(ranker: FittedRanker) -> None:
    for head in ranker.heads:
        importance = head.model.importance
        assert list(importance)[-1] == "noise"
        assert sum(importance.values()) == pytest.approx(100, abs=1e-3)
        assert list(importance.values()) == sorted(importance.values(), reverse=True)


def test_the_metrics_tell_what_validation_found(ranker: FittedRanker) -> None:
    assert 0.75 < ranker.metrics["ndcg_at_10_of_candidates"] <= 1.0
    assert 0 < ranker.metrics["click_log_loss"] < 0.42  # the entropy of 3 in 20 is 0.4227


def test_contributions_add_up_to_the_score(ranker: FittedRanker, planted: Planted) -> None:
    values = planted(2, 3).values
    for head in ranker.heads:
        scorer = head.model.scorer
        if ranker.family == "deepfm":
            with pytest.raises(NextreelError, match="Hint"):
                scorer.contributions(values)
            continue
        parts = scorer.contributions(values)
        assert parts.shape == (len(values), 4)
        np.testing.assert_allclose(parts.sum(axis=1), scorer.score(values), rtol=1e-4, atol=1e-4)
        strength = np.abs(parts[:, :3]).mean(axis=0)
        assert strength[1] < 0.5 * min(strength[0], strength[2])
        assert np.corrcoef(parts[:, 0], values[:, 0])[0, 1] > 0.7  # a better score speaks for a video


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_gives_the_same_scores(family: str, planted: Planted) -> None:
    matrix = Matrix(NAMES, planted(2).values)
    one, same = (fitted(family, planted).score(matrix) for _ in range(2))
    np.testing.assert_array_equal(one, same)


def test_a_loaded_ranker_scores_as_the_saved_one(ranker: FittedRanker, planted: Planted, tmp_path: Path) -> None:
    ranker.save(tmp_path / "ranker")
    loaded = families.load(tmp_path / "ranker")
    matrix = Matrix(NAMES, planted(2).values)
    np.testing.assert_array_equal(loaded.score(matrix), ranker.score(matrix))
    assert (loaded.family, loaded.names, loaded.fingerprint) == (ranker.family, ranker.names, ranker.fingerprint)
    assert loaded.metrics == pytest.approx(ranker.metrics)
    assert [head.calibration for head in loaded.heads] == [head.calibration for head in ranker.heads]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lean_ranker_scores_alike_without_what_it_does_not_read(family: str, planted: Planted) -> None:
    rows, held = planted(0), planted(1, 30)

    def wide(rows: Rows) -> Rows:
        same = np.zeros((len(rows), 2), np.float32)  # no tree can ask about them
        values = np.hstack([same[:, :1], rows.values, same[:, 1:]])
        return replace(rows, names=("score_a", *NAMES, "age"), values=values)

    whole = families.fit({RELEVANCE: wide(rows)}, {RELEVANCE: wide(held)}, params(family))
    lean = whole.lean()
    assert set(NAMES[::2]) < set(lean.names) <= set(whole.names)
    assert ("age" in lean.names) == (family == "deepfm")  # a network reads whatever it is given
    assert lean.fingerprint == fingerprint(lean.names)
    kept = [whole.names.index(name) for name in lean.names]
    values = wide(planted(2)).values
    found = lean.score(Matrix(lean.names, values[:, kept]))
    np.testing.assert_array_equal(found, whole.score(Matrix(whole.names, values)))
    if family != "deepfm":
        parts = lean.heads[0].model.scorer.contributions(values[:9, kept])
        np.testing.assert_allclose(
            parts[:, :-1], whole.heads[0].model.scorer.contributions(values[:9])[:, kept], atol=1e-5
        )


def test_a_missing_value_is_scored_and_every_row_gets_one(ranker: FittedRanker) -> None:
    for rows in (0, 1, 3):
        scores = ranker.score(Matrix(NAMES, np.full((rows, 3), np.nan, np.float32)))
        assert scores.shape == (rows, 2)
        assert np.isfinite(scores).all()


def test_a_row_scores_alike_alone_and_among_others(ranker: FittedRanker, planted: Planted) -> None:
    values = planted(2).values
    whole = ranker.score(Matrix(NAMES, values))
    np.testing.assert_allclose(ranker.score(Matrix(NAMES, values[17:18])), whole[17:18], atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("part", ["training", "validation"])
def test_rows_without_a_positive_are_refused(family: str, part: str, planted: Planted) -> None:
    good = planted(0, 5)
    bad = replace(good, labels=np.zeros_like(good.labels))
    nothing = good.take(np.zeros(len(good), np.bool_))
    for wrong in (bad, nothing):
        train, valid = (wrong, good) if part == "training" else (good, wrong)
        with pytest.raises(NextreelError, match=f"Expected {part} moments with at least one positive"):
            families.fit({RELEVANCE: train}, {RELEVANCE: valid}, params(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_that_teach_nothing_are_refused_alike(family: str, planted: Planted) -> None:
    good, held = planted(0, 5), planted(1, 5)
    liked = replace(good, labels=np.ones_like(good.labels))
    by_moment = replace(good, labels=(good.groups % 2).astype(np.float32))
    same = replace(good, values=np.tile(np.array([1, np.nan, 3], np.float32), (len(good), 1)))
    for objective, rows, said in (
        (RELEVANCE, liked, "Expected a training moment with both positives and negatives.*Hint: more videos"),
        (RELEVANCE, by_moment, "Expected a training moment with both positives and negatives"),
        ("click", liked, "Expected training rows with both positives and negatives"),
        (
            RELEVANCE,
            same,
            "Expected a feature that differs among the training rows, got 3 that are the same in all 100",
        ),
        ("click", same, "Expected a feature that differs among the training rows"),
    ):
        with pytest.raises(NextreelError, match=said) as error:
            families.fit({objective: rows}, {objective: held}, params(family))
        assert type(error.value) is NextreelError  # no library was asked
    families.fit({"click": by_moment}, {"click": held}, params(family))  # a probability needs no order


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("part", ["training", "validation"])
@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_infinite_values_are_refused_and_missing_ones_are_not(
    family: str, part: str, infinity: float, planted: Planted
) -> None:
    good, values = planted(0, 5), planted(0, 5).values.copy()
    values[7, 2] = infinity
    bad = replace(good, values=values)
    train, valid = (bad, good) if part == "training" else (good, bad)
    with pytest.raises(NextreelError, match=f"Expected {part} rows of numbers.*got infinity in plays"):
        families.fit({RELEVANCE: train}, {RELEVANCE: valid}, params(family))
    missing = replace(good, values=np.where(np.isinf(values), np.float32(np.nan), values))
    families.fit({RELEVANCE: missing}, {RELEVANCE: missing}, params(family))


@pytest.mark.parametrize(
    ("family", "changes", "said"),
    [
        ("catboost", {"rows": 1e-9}, "CatBoost can fit, got its error: Too few sampling units"),
        ("lightgbm", {"rows": 1e-9}, r"LightGBM can fit, got its error: Check failed: \(num_data\) > \(0\)\. Hint"),
        ("xgboost", {"l2": 1e300}, r"XGBoost can fit, got its error: Out of range value for reg_lambda"),
    ],
)
@pytest.mark.parametrize("objective", [RELEVANCE, "click"])
def test_an_error_of_a_library_is_told_in_one_line(
    family: str, changes: dict[str, float], said: str, objective: str, planted: Planted
) -> None:
    own = getattr(SMALL, family).model_copy(update=changes)
    with pytest.raises(FitError, match=said) as error:
        families.fit({objective: planted(0)}, {objective: planted(1)}, params(family).model_copy(update={family: own}))
    assert f"Hint: other values below [ranker.{family}]" in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is not None


@pytest.mark.parametrize("family", FAMILIES[:3])
@pytest.mark.parametrize(
    "wrong",
    [
        {"threads": 0},
        {"threads": -5},
        {"seed": -1},
        {"seed": 2**63},
        {"learning_rate": float("inf")},
        {"learning_rate": float("nan")},
        {"l2": float("inf")},
        {"rows": float("nan")},
    ],
)
def test_a_parameter_that_no_boosting_library_takes_is_refused(family: str, wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValidationError, match=rf"{family}\.{name}\n"):
        RankerParams.model_validate({family: wrong})
    RankerParams.model_validate({family: {"threads": -1, "seed": 0}})


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("score_als", "noise"), r"missing \['plays'\], unknown \[\]"),
        ((*NAMES, "age"), r"missing \[\], unknown \['age'\]"),
        (("score_als", "noise", "views"), r"missing \['plays'\], unknown \['views'\]"),
        (("noise", "score_als", "plays"), "another order or meaning"),
    ],
)
def test_a_matrix_of_other_columns_is_refused(names: tuple[str, ...], says: str, ranker: FittedRanker) -> None:
    with pytest.raises(NextreelError, match=says) as error:
        ranker.score(Matrix(names, np.zeros((2, len(names)), np.float32)))
    assert "Expected the 3 feature columns" in str(error.value)
    assert "Hint:" in str(error.value)


def test_objectives_over_other_columns_are_refused(planted: Planted) -> None:
    rows, other = planted(0, 5), planted(0, 5).over(NAMES[:2])
    with pytest.raises(NextreelError, match="same columns"):
        families.fit({RELEVANCE: rows, "click": other}, {RELEVANCE: rows, "click": rows}, SMALL)


def test_an_objective_that_nothing_predicts_is_named(ranker: FittedRanker) -> None:
    with pytest.raises(NextreelError, match="No objective 'love'"):
        ranker.head("love")


def test_a_ranker_without_one_of_its_files_is_refused(ranker: FittedRanker, tmp_path: Path) -> None:
    ranker.save(tmp_path / "whole")
    for path in [path for path in (tmp_path / "whole").rglob("*") if path.is_file()]:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(NextreelError, match="train and publish the release again"):
            families.load(tmp_path / "whole").score(Matrix(NAMES, np.zeros((1, 3), np.float32)))
        path.write_bytes(content)


def test_chosen_rows_keep_their_columns(planted: Planted) -> None:
    rows = planted(0, 3, 4)
    some = rows.take(rows.groups == 1)
    assert len(some) == 4
    np.testing.assert_array_equal(some.values, rows.values[4:8])
    np.testing.assert_array_equal(some.labels, rows.labels[4:8])
    assert set(some.users.tolist()) == set(some.groups.tolist()) == {1}
    assert rows.sizes().tolist() == [4, 4, 4]
