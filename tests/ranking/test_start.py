"""A ranker that learns what the fused order of the sources lacks."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from nextreel.metrics import gauc
from nextreel.ranking import families
from nextreel.ranking.families import Family, RankerParams
from nextreel.ranking.ranker import RELEVANCE, FittedRanker
from nextreel.ranking.rows import Rows
from nextreel.ranking.start import Started, standard
from nextreel.types import Matrix, NextreelError

NAMES = ("score_als", "score_ease", "rank_als", "rank_ease", "plays")
SMALL = {
    "catboost": {"iterations": 1, "depth": 2, "learning_rate": 0.1, "threads": 1},
    "lightgbm": {"iterations": 1, "learning_rate": 0.1, "leaves": 4, "least": 5, "threads": 1},
    "xgboost": {"iterations": 1, "learning_rate": 0.1, "depth": 2, "least": 1.0, "threads": 1},
    "deepfm": {"epochs": 1, "batch": 400, "dropout": 0.0, "threads": 1},
}


def planted(seed: int, moments: int = 60, size: int = 20) -> Rows:
    """Moments whose relevant rows the two sources together rank high, and `plays` a little."""
    rng = np.random.default_rng(seed)
    ranks = np.argsort(rng.random((2, moments, size)), axis=2).astype(np.float32)
    plays = rng.normal(size=(moments, size)).astype(np.float32)
    worth = (1 / (60 + ranks)).sum(axis=0) * 800 + 0.5 * plays
    labels = (worth >= np.sort(worth, axis=1)[:, -4:-3]).astype(np.float32)
    values = np.stack([-ranks[0], -ranks[1], np.log1p(ranks[0]), np.log1p(ranks[1]), plays], axis=2)
    values[::7, :, 3] = np.nan  # a source that was silent
    number = np.repeat(np.arange(moments), size)
    ones = np.ones(moments * size, np.float32)
    return Rows(
        NAMES,
        values.reshape(-1, 5),
        labels.ravel(),
        number,
        ones,
        number.astype(np.float64),
        number.astype(np.int32),
    )


def fitted(family: str, start: float) -> FittedRanker:
    params = RankerParams.model_validate(SMALL | {"family": family, "start": start})
    return families.fit({RELEVANCE: planted(0)}, {RELEVANCE: planted(1)}, params)


@pytest.mark.parametrize("family", get_args(Family))
def test_a_short_fit_that_begins_at_the_fused_order_is_ahead_of_one_that_begins_at_nothing(family: str) -> None:
    unseen = planted(2)
    found = {}
    for start in (0.0, 2.0):
        scores = fitted(family, start).score(Matrix(NAMES, unseen.values))[:, 0]
        found[start] = gauc(unseen.labels, scores, unseen.groups)
    assert found[2.0] > found[0.0] + 0.01
    assert found[2.0] > 0.9


@pytest.mark.parametrize("family", get_args(Family))
def test_it_is_saved_made_lean_and_explained_as_a_whole(family: str, tmp_path: Path) -> None:
    ranker, matrix = fitted(family, 1.0), Matrix(NAMES, planted(2).values)
    scorer = ranker.heads[0].model.scorer
    assert isinstance(scorer, Started)
    assert scorer.reads >= {2, 3}
    ranker.save(tmp_path)
    expected = ranker.score(matrix)
    np.testing.assert_array_equal(families.load(tmp_path).score(matrix), expected)
    lean = ranker.lean()
    kept = [NAMES.index(name) for name in lean.names]
    np.testing.assert_array_equal(lean.score(Matrix(lean.names, matrix.values[:, kept])), expected)
    np.testing.assert_allclose(ranker.score(Matrix(NAMES, matrix.values[5:6])), expected[5:6], rtol=1e-5)
    assert ranker.score(Matrix(NAMES, matrix.values[:0])).shape == (0, 1)
    if family == "deepfm":
        with pytest.raises(NextreelError, match="Hint"):
            scorer.contributions(matrix.values[:3])
    else:
        parts = scorer.contributions(matrix.values)
        np.testing.assert_allclose(parts.sum(axis=1), expected[:, 0], rtol=1e-4, atol=1e-4)


def test_one_standard_deviation_of_the_fused_order_is_worth_the_strength() -> None:
    rows = planted(0)
    begins = standard(rows, 0.5, {})
    assert begins is not None
    start = begins.of(rows).start
    assert start is not None
    assert start.reshape(60, 20).std(axis=1).mean() == pytest.approx(0.5, rel=1e-4)
    one = rows.over(("score_als", "rank_als", "plays"))
    assert standard(one, 0.5, {}) is None  # a single source has no order to join
    assert standard(rows, 0.0, {}) is None


def test_a_source_counts_in_the_start_as_much_as_its_weight_says() -> None:
    rows = planted(0)
    sources = [name.removeprefix("rank_") for name in NAMES if name.startswith("rank_")]
    heavy = standard(rows, 1.0, {sources[0]: 3.0})
    assert heavy is not None
    assert heavy.weights[0] == pytest.approx(3 * heavy.weights[1])
    silent = standard(rows, 1.0, {sources[0]: 0.0})
    alone = standard(rows, 1.0, {sources[0]: 0.0, sources[1]: 5.0})
    assert silent is not None
    assert alone is not None
    assert silent.weights[0] == 0
    assert silent.weights == pytest.approx(alone.weights)  # what is standard does not hang on the unit
    assert standard(rows, 1.0, dict.fromkeys(sources, 0.0)) is None
