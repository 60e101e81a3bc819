"""DeepFM on rows whose right order, or whose probability, was planted."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from nextreel.metrics import auc, gauc
from nextreel.ranking import deepfm
from nextreel.ranking.deepfm import DeepFmParams, Network
from nextreel.ranking.deepfm_network import edges_of, fitted, graph, ndcg
from nextreel.ranking.model import Model
from nextreel.ranking.rows import Loss, Rows
from nextreel.types import FloatArray, NextreelError

NAMES = ("score_als", "noise", "plays")
SMALL = DeepFmParams(hidden=(16,), epochs=12, batch=128, learning_rate=0.01, threads=1)


def planted(seed: int, moments: int = 80, size: int = 20) -> Rows:
    """Moments whose relevant rows are the three of highest score_als - plays; noise says nothing."""
    values = np.random.default_rng(seed).normal(size=(moments, size, 3)).astype(np.float32)
    worth = values[:, :, 0] - values[:, :, 2]
    labels = (worth >= np.sort(worth, axis=1)[:, -3:-2]).astype(np.float32)
    return rows_of(values.reshape(-1, 3), labels.ravel(), np.repeat(np.arange(moments), size))


def rows_of(values: FloatArray, labels: FloatArray, number: Any) -> Rows:
    return Rows(
        names=NAMES,
        values=values,
        labels=labels,
        groups=number,
        weights=np.ones(len(labels), np.float32),
        at=number.astype(np.float64),
        users=number.astype(np.int32),
    )


def crossed(seed: int, n: int = 2000) -> Rows:
    """Rows that are positive where the first two columns have one sign."""
    values = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    return rows_of(values, (values[:, 0] * values[:, 1] > 0).astype(np.float32), np.arange(n) // 10)


def likely(values: FloatArray) -> FloatArray:
    """The probabilities that `fractions` plants."""
    return np.asarray(1 / (1 + np.exp(1.5 - 2 * values[:, 0])), np.float32)


def fractions(seed: int, n: int = 2000) -> Rows:
    """Rows whose label is a probability itself."""
    values = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    return rows_of(values, likely(values), np.arange(n) // 10)


@pytest.fixture(scope="module")
def model() -> Model:
    return deepfm.fit(planted(0), planted(1, 30), "ranking", SMALL)


def test_the_planted_order_is_learned(model: Model) -> None:
    unseen = planted(2)
    scores = model.scorer.score(unseen.values)
    assert scores.shape == (len(unseen),)
    assert scores.dtype == np.float32
    assert gauc(unseen.labels, scores, unseen.groups) > 0.9
    swapped = unseen.values[:, [2, 1, 0]]  # the opposite of the planted order is ranked the other way about
    assert gauc(unseen.labels, model.scorer.score(swapped), unseen.groups) < 0.3


def test_grades_are_learned_in_their_order() -> None:
    graded = [replace(rows, labels=rows.labels * (1 + 2 * (rows.values[:, 1] > 0))) for rows in map(planted, (0, 1, 2))]
    scores = deepfm.fit(graded[0], graded[1], "ranking", SMALL).scorer.score(graded[2].values)
    positive = graded[2].labels > 0
    assert auc(graded[2].labels[positive] > 1, scores[positive]) > 0.8  # a 3 above a 1
    assert gauc(graded[2].labels, scores, graded[2].groups) > 0.85


def test_a_moment_that_weighs_nothing_teaches_nothing() -> None:
    right, wrong = planted(0), planted(3)
    opposite = wrong.values[:, [2, 1, 0]]
    wrong = replace(wrong, values=opposite, weights=wrong.weights * 0, groups=wrong.groups + 80)
    pairs = {name: np.concatenate([getattr(right, name), getattr(wrong, name)]) for name in ("at", "users")}
    both = Rows(
        NAMES,
        np.vstack([right.values, wrong.values]),
        np.concatenate([right.labels, wrong.labels]),
        np.concatenate([right.groups, wrong.groups]),
        np.concatenate([right.weights, wrong.weights]),
        **pairs,
    )
    unseen = planted(2)
    scores = deepfm.fit(both, planted(1, 30), "ranking", SMALL).scorer.score(unseen.values)
    assert gauc(unseen.labels, scores, unseen.groups) > 0.9


def test_what_says_nothing_matters_least(model: Model) -> None:
    assert list(model.importance)[-1] == "noise"
    assert model.importance["noise"] < 3
    assert sum(model.importance.values()) == pytest.approx(100)
    assert list(model.importance.values()) == sorted(model.importance.values(), reverse=True)


def test_the_metrics_tell_what_validation_found(model: Model) -> None:
    assert set(model.metrics) == {"ndcg_at_10_of_candidates", "epochs"}
    assert 0.8 < model.metrics["ndcg_at_10_of_candidates"] <= 1.0
    assert 1 <= model.metrics["epochs"] <= SMALL.epochs


@pytest.mark.parametrize("loss", ["ranking", "probability"])
def test_the_served_scores_are_those_of_the_best_epoch(loss: Loss) -> None:
    params = SMALL.model_copy(update={"patience": 12, "learning_rate": 0.03})  # goes on long after the best
    valid = planted(1, 30)
    valid = replace(valid, weights=(1 + valid.groups % 3).astype(np.float32))
    model = deepfm.fit(planted(0, 40), valid, loss, params)
    scores = model.scorer.score(valid.values).astype(np.float64)
    assert model.metrics["epochs"] < 12
    if loss == "ranking":
        found = np.average(ndcg(valid.labels, scores.astype(np.float32), valid.sizes()), weights=valid.weights[::20])
        assert model.metrics["ndcg_at_10_of_candidates"] == pytest.approx(found, abs=1e-6)
    else:
        losses = np.logaddexp(0, scores) - valid.labels * scores
        assert model.metrics["log_loss"] == pytest.approx(np.average(losses, weights=valid.weights), abs=1e-5)


def test_moments_without_a_positive_are_left_out(model: Model) -> None:
    train, valid = planted(0), planted(1, 30)
    values = np.vstack([valid.values[:20], valid.values])
    judged = rows_of(values, np.append(np.zeros(20, np.float32), valid.labels), np.arange(len(values)) // 20)
    assert deepfm.fit(train, judged, "ranking", SMALL).metrics == model.metrics
    rarely = replace(train, labels=np.where(train.groups % 2 == 0, train.labels, 0))
    scores = deepfm.fit(rarely, judged, "ranking", SMALL).scorer.score(valid.values)
    assert gauc(valid.labels, scores, valid.groups) > 0.9


def test_an_interaction_that_no_linear_model_can_learn_is_learned() -> None:
    train, unseen = crossed(0), crossed(2)
    inputs = np.column_stack([train.values, np.ones(len(train))])
    linear = np.linalg.lstsq(inputs, train.labels, rcond=None)[0]
    assert auc(unseen.labels, unseen.values @ linear[:3]) < 0.6
    for hidden in ((16,), ()):  # the second-order term learns it alone
        params = SMALL.model_copy(update={"hidden": hidden})
        model = deepfm.fit(train, crossed(1, 1000), "probability", params)
        assert auc(unseen.labels, model.scorer.score(unseen.values)) > 0.95
        assert model.metrics["log_loss"] < 0.4


def test_fractions_are_learned_as_probabilities() -> None:
    model = deepfm.fit(fractions(0), fractions(1, 1000), "probability", SMALL)
    unseen = fractions(2)
    found = 1 / (1 + np.exp(-model.scorer.score(unseen.values)))
    assert np.abs(found - unseen.labels).mean() < 0.03
    entropy = -(unseen.labels * np.log(unseen.labels) + (1 - unseen.labels) * np.log1p(-unseen.labels)).mean()
    assert model.metrics["log_loss"] == pytest.approx(entropy, abs=0.03)  # no model can do better
    assert next(iter(model.importance)) == NAMES[0]


def test_a_row_of_no_weight_teaches_no_probability() -> None:
    train = fractions(0)
    wrong = np.arange(len(train)) % 2 == 0
    labels = np.where(wrong, 1 - train.labels, train.labels)
    weighted = replace(train, labels=labels, weights=np.where(wrong, 0, 1).astype(np.float32))
    found = deepfm.fit(weighted, fractions(1, 1000), "probability", SMALL).scorer.score(train.values)
    assert np.abs(1 / (1 + np.exp(-found)) - train.labels).mean() < 0.05


def test_that_a_value_is_missing_can_say_something() -> None:
    parts = []
    for seed in range(3):
        rows = crossed(seed)
        missing = np.random.default_rng(seed).random(len(rows)) < 0.3
        rows.values[missing, 2] = np.nan
        parts.append(replace(rows, labels=missing.astype(np.float32)))
    params = SMALL.model_copy(update={"hidden": ()})
    scores = deepfm.fit(parts[0], parts[1], "probability", params).scorer.score(parts[2].values)
    assert auc(parts[2].labels, scores) > 0.99


def test_a_missing_value_is_scored_and_every_row_gets_one(model: Model) -> None:
    for rows in (0, 1, 3):
        scores = model.scorer.score(np.full((rows, 3), np.nan, np.float32))
        assert scores.shape == (rows,)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()


def test_a_constant_column_does_no_harm_nor_an_infinite_value_that_is_served() -> None:
    train, valid, unseen = planted(0, 40), planted(1, 20), planted(2)
    for rows in (train, valid):
        rows.values[:, 1] = 7
    scorer = deepfm.fit(train, valid, "ranking", SMALL).scorer
    assert gauc(unseen.labels, scorer.score(unseen.values), unseen.groups) > 0.85
    unseen.values[::50, 0], unseen.values[1::50, 2] = np.inf, -np.inf
    assert np.isfinite(scorer.score(unseen.values)).all()


def test_the_same_seed_gives_the_same_scores(model: Model) -> None:
    state, values = torch.random.get_rng_state(), planted(2).values
    again = deepfm.fit(planted(0), planted(1, 30), "ranking", SMALL)
    np.testing.assert_array_equal(again.scorer.score(values), model.scorer.score(values))
    assert again.importance == model.importance
    other = deepfm.fit(planted(0), planted(1, 30), "ranking", SMALL.model_copy(update={"seed": 7}))
    assert not np.array_equal(other.scorer.score(values), model.scorer.score(values))
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's numbers were drawn


def test_a_loaded_network_scores_as_the_saved_one(model: Model, tmp_path: Path) -> None:
    model.scorer.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "columns.npy"}
    values = planted(2).values
    np.testing.assert_array_equal(deepfm.load(tmp_path).score(values), model.scorer.score(values))


def test_onnx_scores_as_torch_does() -> None:
    holes = planted(0)
    holes.values[::7, 0] = np.nan  # NaN was seen in this column, never in the others
    found = fitted(holes, planted(1, 30), "ranking", SMALL)
    values = planted(2).values
    values[::5, 0], values[::9, 1], values[1, 2], values[2, 2] = np.nan, np.nan, np.inf, -np.inf
    values[3] = found.model.edges[:, 4].numpy()  # values that lie on an edge
    with torch.inference_mode():
        reference = found.model(torch.from_numpy(values)).numpy()
    scores = Network((0, 1, 2), graph(found.model)).score(values)
    np.testing.assert_allclose(scores, reference, rtol=1e-5, atol=1e-5)


def test_a_row_scores_alike_alone_and_among_others(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    values = planted(2).values
    whole = model.scorer.score(values)
    for row in (0, 17, len(values) - 1):
        np.testing.assert_allclose(model.scorer.score(values[row : row + 1]), whole[row : row + 1], rtol=0, atol=1e-6)
    monkeypatch.setattr(deepfm, "CHUNK", 100)  # rows are scored some at a time
    np.testing.assert_allclose(model.scorer.score(values), whole, rtol=0, atol=1e-6)


def test_rows_of_other_columns_are_scored_from_their_places(model: Model) -> None:
    values = planted(2).values
    assert model.scorer.reads == {0, 1, 2}
    moved = model.scorer.over([2, 0, 1])
    np.testing.assert_array_equal(moved.score(values[:, [2, 0, 1]]), model.scorer.score(values))


def test_it_says_that_it_has_no_shap_values(model: Model) -> None:
    with pytest.raises(NextreelError, match=r"no SHAP values.*Hint: choose one of catboost, xgboost, lightgbm"):
        model.scorer.contributions(planted(2).values)


def test_a_column_of_few_values_is_cut_between_each() -> None:
    rare = np.array([[0.0], [1], [1], [1], [1], [1], [1], [1]], np.float32)  # quantiles alone would see one bin
    np.testing.assert_array_equal(edges_of(rare, 3), [[0, np.inf]])
    np.testing.assert_array_equal(edges_of(np.full((4, 1), np.nan, np.float32), 3), [[np.inf, np.inf]])
    even = np.arange(100, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(edges_of(even, 4), [[24, 49, 74]])


@pytest.mark.parametrize("part", ["training", "validation"])
def test_rows_without_a_positive_are_refused(part: str) -> None:
    good = planted(0, 5)
    bad, nothing = replace(good, labels=np.zeros_like(good.labels)), good.take(np.zeros(len(good), np.bool_))
    for wrong in (bad, nothing):
        parts = (wrong, good) if part == "training" else (good, wrong)
        with pytest.raises(NextreelError, match=f"Expected {part} moments with at least one positive"):
            deepfm.fit(*parts, "ranking", SMALL)


@pytest.mark.parametrize("loss", ["ranking", "probability"])
def test_a_fit_that_does_not_converge_is_refused(loss: Loss) -> None:
    with pytest.raises(NextreelError, match=r"Expected finite scores.*Hint: a smaller learning_rate"):
        deepfm.fit(crossed(0), crossed(1), loss, SMALL.model_copy(update={"learning_rate": 1e30}))


def test_a_missing_pytorch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nextreel.ranking.deepfm_network", None)
    with pytest.raises(NextreelError, match=r"Hint: pip install 'nextreel\[train\]'"):
        deepfm.fit(planted(0, 5), planted(1, 5), "ranking", SMALL)


def test_scoring_a_saved_network_loads_no_pytorch(model: Model, tmp_path: Path) -> None:
    model.scorer.save(tmp_path)
    program = (
        "import sys, pathlib, numpy, nextreel.ranking.deepfm as deepfm\n"
        "assert not {'torch', 'onnx', 'onnxruntime'} & set(sys.modules)\n"
        f"deepfm.load(pathlib.Path({str(tmp_path)!r})).score(numpy.zeros((2, 3), numpy.float32))\n"
        "assert not {'torch', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603


@pytest.mark.parametrize("wrong", [{"dim": 0}, {"hidden": (0,)}, {"buckets": 1}, {"dropout": 1}, {"trees": 5}])
def test_a_parameter_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DeepFmParams.model_validate(wrong)
