"""Protocol 1 on MovieLens-1M: the split and the baselines against figures measured with public libraries."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from nextreel.evaluation import Row, Split, compare, split
from nextreel.types import Events, Kind

NAMES = ("recall@10", "ndcg@10", "hit_rate@10", "recall@100", "mrr", "map@100", "coverage@10")
MEASURED = {
    "popular": (0.0385, 0.2515, 0.6644, 0.2239, 0.4214, 0.0906, 0.040),
    "popular_7d": (0.0549, 0.2804, 0.7492, 0.2288, 0.4924, 0.0937, 0.029),
    "item_item": (0.0395, 0.2515, 0.6347, 0.2052, 0.4051, 0.0921, 0.074),
    "ease": (0.0524, 0.2737, 0.7008, 0.2659, 0.4645, 0.1021, 0.192),
    "als": (0.0508, 0.2651, 0.6847, 0.2561, 0.4442, 0.0966, 0.187),
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("NEXTREEL_DATA" not in os.environ, reason="NEXTREEL_DATA names no folder that holds ml-1m/"),
]


@pytest.fixture(scope="module")
def known() -> Split:
    path = Path(os.environ["NEXTREEL_DATA"]) / "ml-1m" / "ratings.dat"
    ratings = np.loadtxt(path, np.int64, delimiter=":", usecols=(0, 2, 4, 6))
    ratings = ratings[np.argsort(ratings[:, 3], kind="stable")]
    user_ids, user = np.unique(ratings[:, 0], return_inverse=True)
    video_ids, video = np.unique(ratings[:, 1], return_inverse=True)
    n = len(ratings)
    events = Events(
        user_ids,
        user.astype(np.int32),
        video.astype(np.int32),
        ratings[:, 3].astype(np.float64),
        np.full(n, Kind.WATCH, np.int8),
        ratings[:, 2].astype(np.float32),
        np.full(n, np.nan, np.float32),
    )
    return split(events, lambda some: np.ones(len(some), np.float32), len(video_ids))


@pytest.fixture(scope="module")
def rows(known: Split) -> dict[str, Row]:
    found, _ = compare(known, {}, np.ones((len(known.videos), 1), np.float32))
    return {row.model: row for row in found}


def test_the_split_has_the_published_sizes(known: Split) -> None:
    assert (known.train, len(known.history) - known.train) == (800_167, 100_021)
    assert len(known.users) == 1_180
    assert known.truth.counts.mean() == pytest.approx(81.2, abs=0.05)


@pytest.mark.parametrize("model", list(MEASURED))
def test_each_baseline_is_within_two_per_cent_of_what_was_measured_outside(rows: dict[str, Row], model: str) -> None:
    for name, measured in zip(NAMES, MEASURED[model], strict=True):
        rounding = 0.0005 if name == "coverage@10" else 0.00005
        assert rows[model].metrics[name] == pytest.approx(measured, abs=0.02 * measured + rounding), name


def test_random_is_within_its_own_spread(rows: dict[str, Row]) -> None:
    # twenty seeds: recall@10 0.0031 +- 0.0005, NDCG@10 0.0239 +- 0.0014
    assert rows["random"].metrics["recall@10"] == pytest.approx(0.0031, abs=0.0015)
    assert rows["random"].metrics["ndcg@10"] == pytest.approx(0.0239, abs=0.0042)
