from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nextreel.encoding import numeric
from nextreel.encoding.files import EncodingError


def test_scores_of_the_training_part_have_mean_zero_and_deviation_one() -> None:
    values = np.random.default_rng(1).lognormal(3, 2, 1000)
    scores = numeric.fit_normalizer("views", values).encode(values)
    assert scores.mean() == pytest.approx(0, abs=1e-5)
    assert scores.std() == pytest.approx(1, abs=1e-5)


def test_missing_numbers_become_the_mean_and_do_not_move_it() -> None:
    with_gap = numeric.fit_normalizer("views", np.array([1.0, np.nan, 9.0]))
    assert with_gap == numeric.fit_normalizer("views", np.array([1.0, 9.0]))
    assert with_gap.encode(np.array([np.nan, -5.0]))[0] == 0


@pytest.mark.parametrize("values", [[], [np.nan], [3.0, 3.0]])
def test_a_column_without_differences_gives_finite_scores(values: list[float]) -> None:
    assert np.isfinite(numeric.fit_normalizer("x", np.array(values)).encode(np.array([0.0, 3.0, 1e9]))).all()


def test_an_edge_belongs_to_the_bucket_above_it() -> None:
    codes = numeric.Buckets("duration", numeric.DURATION_EDGES).encode(np.array([59.9, 60, 3600, np.nan]))
    assert codes.tolist() == [1, 2, 6, 0]


def test_edges_that_do_not_grow_are_refused() -> None:
    with pytest.raises(EncodingError, match="grow"):
        numeric.Buckets("x", (2.0, 1.0))


def test_midnight_lies_beside_the_minute_before_it() -> None:
    before, midnight, noon = numeric.hour_circle(np.array([86_399.0, 86_400.0, 43_200.0]))
    assert np.linalg.norm(before - midnight) < 0.001
    assert np.linalg.norm(noon - midnight) == pytest.approx(2)


def test_a_weekday_is_the_same_all_day_and_each_week() -> None:
    monday = 4 * 86_400.0  # 1970-01-05
    week = numeric.weekday_circle(np.array([monday, monday + 86_399, monday + 7 * 86_400, monday + 86_400]))
    assert week[0].tolist() == week[1].tolist() == week[2].tolist() == [0, 1]
    assert week[3].tolist() != week[0].tolist()


def test_saved_encoders_come_back(tmp_path: Path) -> None:
    normalizer = numeric.fit_normalizer("views", np.array([1.0, 5.0]))
    buckets = numeric.Buckets("age", numeric.AGE_EDGES)
    normalizer.save(tmp_path)
    buckets.save(tmp_path)
    assert numeric.load_normalizer(tmp_path, "views") == normalizer
    assert numeric.load_buckets(tmp_path, "age") == buckets


def test_buckets_of_counts_grow_by_one_ratio_and_keep_the_unseen_apart() -> None:
    buckets = numeric.fit_buckets("popularity", np.array([0, 5, 1_000_000]), n=6)
    codes = buckets.encode(np.array([0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10**9]))
    assert codes.tolist() == [1, 2, 3, 4, 5, 6, 7, 7, 7]


@pytest.mark.parametrize("counts", [[], [0, 0], [1], [np.nan]])
def test_counts_that_hardly_differ_have_few_buckets(counts: list[float]) -> None:
    assert numeric.fit_buckets("popularity", np.array(counts, np.float64)).edges == (1.0,)


def test_no_bucket_is_refused() -> None:
    with pytest.raises(EncodingError, match="at least 1 bucket"):
        numeric.fit_buckets("popularity", np.array([1]), n=0)


def test_one_hot_has_a_one_at_the_code_and_a_column_for_missing_numbers() -> None:
    hot = numeric.Buckets("age", (18.0,)).one_hot(np.array([np.nan, 17.0, 18.0]))
    assert hot.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
