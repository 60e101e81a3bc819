"""Two orders in one ranker: who was here just now is judged by one, who comes back by the other."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from nextreel.metrics import gauc
from nextreel.ranking import families
from nextreel.ranking.families import Family, RankerParams
from nextreel.ranking.ranker import RELEVANCE, FittedRanker
from nextreel.ranking.rows import Rows
from nextreel.ranking.switched import AWAY, Switched
from nextreel.types import FloatArray, Matrix, NextreelError

NAMES = ("score_next", "score_weeks", "plays", AWAY)
SMALL = {
    "start": 0.0,
    "catboost": {"iterations": 20, "depth": 3, "learning_rate": 0.3, "threads": 1},
    "lightgbm": {"iterations": 20, "learning_rate": 0.3, "leaves": 6, "least": 5, "threads": 1},
    "xgboost": {"iterations": 20, "learning_rate": 0.3, "depth": 3, "least": 1.0, "threads": 1},
    "deepfm": {"epochs": 12, "batch": 400, "dropout": 0.0, "learning_rate": 0.02, "threads": 1},
}
MOMENTS, SIZE = 120, 20


def world(seed: int) -> Rows:
    """Moments of people of whom every other was here an hour ago; what they play hangs on one score or the other."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(MOMENTS, SIZE, 4)).astype(np.float32)
    here = np.arange(MOMENTS) % 2 == 0
    values[:, :, 3] = np.where(here, math.log1p(1 / 24), math.log1p(20.0))[:, None]
    values[3, :, 3] = np.nan  # one who was never here
    worth = np.where(here[:, None], values[:, :, 0], values[:, :, 1])
    labels = (worth >= np.sort(worth, axis=1)[:, -4:-3]).astype(np.float32)
    number = np.repeat(np.arange(MOMENTS), SIZE)
    ones = np.ones(MOMENTS * SIZE, np.float32)
    flat, at = values.reshape(-1, 4), number.astype(np.float64)
    return Rows(NAMES, flat, labels.ravel(), number, ones, at, number.astype(np.int32))


def fitted(family: str, train: Rows | None = None, near_days: float = 1.0) -> FittedRanker:
    params = RankerParams.model_validate(SMALL | {"family": family})
    return families.fit({RELEVANCE: train or world(0)}, {RELEVANCE: world(1)}, params, near_days)


def scores(ranker: FittedRanker, values: FloatArray) -> FloatArray:
    return ranker.score(Matrix(NAMES, values))[:, 0]


@pytest.mark.parametrize("family", get_args(Family))
def test_either_kind_of_person_is_judged_by_what_was_learnt_of_their_kind(family: str) -> None:
    unseen, ranker = world(2), fitted(family)
    told = scores(ranker, unseen.values)
    near = unseen.values[:, 3] < math.log1p(1.0)
    for kind, column in ((near, 0), (~near, 1)):
        assert gauc(unseen.labels[kind], told[kind], unseen.groups[kind]) > 0.9
        other = unseen.values.copy()
        other[:, 1 - column] = 0.0  # what the other kind goes by hardly matters to this one
        assert gauc(unseen.labels[kind], scores(ranker, other)[kind], unseen.groups[kind]) > 0.9


def test_what_those_who_are_here_play_teaches_nothing_of_those_who_come_back() -> None:
    unseen, rows = world(2), world(0)
    near = rows.values[:, 3] < math.log1p(1.0)
    turned = replace(rows, labels=np.where(near, 1 - rows.labels, rows.labels).astype(np.float32))
    before, after = (scores(fitted("catboost", one), unseen.values) for one in (rows, turned))
    here = unseen.values[:, 3] < math.log1p(1.0)
    np.testing.assert_array_equal(before[~here], after[~here])
    assert not np.array_equal(before[here], after[here])


@pytest.mark.parametrize("family", get_args(Family))
def test_it_is_saved_made_lean_and_explained_as_a_whole(family: str, tmp_path: Path) -> None:
    ranker, values = fitted(family), world(2).values
    scorer = ranker.heads[0].model.scorer
    assert isinstance(scorer, Switched)
    assert 3 in scorer.reads
    expected = scores(ranker, values)
    ranker.save(tmp_path)
    np.testing.assert_array_equal(scores(families.load(tmp_path), values), expected)
    lean = ranker.lean()
    kept = [NAMES.index(name) for name in lean.names]
    np.testing.assert_array_equal(lean.score(Matrix(lean.names, values[:, kept]))[:, 0], expected)
    for some in (slice(0, SIZE), slice(SIZE, 2 * SIZE), slice(0, 0)):  # of one kind alone, and none
        np.testing.assert_allclose(scores(ranker, values[some]), expected[some], rtol=1e-5)
    if family == "deepfm":
        with pytest.raises(NextreelError, match="Hint"):
            scorer.contributions(values[:3])
    else:
        parts = scorer.contributions(values)
        np.testing.assert_allclose(parts.sum(axis=1), expected, rtol=1e-4, atol=1e-4)


def test_one_order_is_learnt_where_nothing_tells_them_apart_or_too_few_are_of_one_kind() -> None:
    rows = world(0)
    assert not isinstance(fitted("catboost", near_days=0.0).heads[0].model.scorer, Switched)
    late = replace(rows, values=np.where(np.arange(4) == 3, np.float32(3.0), rows.values))
    assert not isinstance(fitted("catboost", late).heads[0].model.scorer, Switched)
    names = NAMES[:3]
    params = RankerParams.model_validate(SMALL)
    timeless = families.fit({RELEVANCE: rows.over(names)}, {RELEVANCE: world(1).over(names)}, params, 1.0)
    assert not isinstance(timeless.heads[0].model.scorer, Switched)
