"""Rows from what people were shown: which answer belongs to which impression, and what was known then."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from nextreel.assembly import Config, ExposureParams
from nextreel.ranking.rows import Rows
from nextreel.training.exposures import exposures, played_further, request_at
from nextreel.training.fit import fit_ranker
from nextreel.types import DAY, Catalogue, Events, Kind, NextreelError

NAN = float("nan")
HOUR = 3_600.0


def told(rows: Sequence[tuple[float, int, int, Kind, float]], surface: Sequence[int] = ()) -> Events:
    """Events of (hour, user, video, kind, seconds watched)."""
    at, user, video, kind, seconds = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    return Events(
        np.array(["ada", "bob"]),
        user.astype(np.int32),
        video.astype(np.int32),
        at * HOUR,
        kind.astype(np.int8),
        np.full(n, NAN, np.float32),
        seconds.astype(np.float32),
        surface=np.array(surface or [0] * n, np.int32),
        surfaces=("home", "search"),
    )


@pytest.fixture
def four(catalogue_of: Callable[..., Catalogue]) -> Catalogue:
    """Videos of 10, 10 and 7,200 seconds, and one of unknown length."""
    return catalogue_of([[0]] * 4, duration=np.array([10, 10, 7_200, NAN], np.float32))


def test_an_answer_belongs_to_the_last_impression_of_its_video_before_it(four: Catalogue) -> None:
    events = told([
        (0, 0, 0, Kind.IMPRESSION, NAN),
        (0, 0, 1, Kind.IMPRESSION, NAN),
        (0, 1, 0, Kind.IMPRESSION, NAN),
        (1, 0, 0, Kind.IMPRESSION, NAN),
        (1, 0, 0, Kind.CLICK, NAN),
        (2, 1, 0, Kind.LIKE, NAN),
        (3, 0, 1, Kind.HIDE, NAN),
        (40, 1, 0, Kind.CLICK, NAN),  # too late
        (41, 0, 2, Kind.CLICK, NAN),  # never shown
    ])  # fmt: skip
    found = exposures(events, four, ExposureParams())
    assert found.position.tolist() == [0, 1, 2, 3]
    assert found.labels["click"].tolist() == [0, 0, 0, 1]
    assert found.labels["like"].tolist() == [0, 0, 1, 0]
    assert found.labels["dislike"].tolist() == [0, 1, 0, 0]
    assert set(found.labels) == {"click", "like", "share", "dislike"}  # nobody told how long they watched


def test_a_long_view_is_eighteen_seconds_or_all_of_a_shorter_video(four: Catalogue) -> None:
    shown = [(0.0, 0, video, Kind.IMPRESSION, NAN) for video in range(4)]
    for seconds, long in ((9.0, [0, 0, 0, 0]), (10.0, [1, 1, 0, 0]), (18.0, [1, 1, 1, 1])):
        events = told([*shown, *((0.1, 0, video, Kind.WATCH, seconds) for video in range(4))])
        assert exposures(events, four, ExposureParams()).labels["long_view"].tolist() == long


def test_a_clip_and_a_film_are_on_one_scale(four: Catalogue) -> None:
    rng = np.random.default_rng(0)
    duration = np.repeat(np.array([10, 7_200, NAN], np.float32), 1_000)
    share = rng.random(3_000).astype(np.float32)
    watch = played_further(share * np.nan_to_num(duration, nan=300), duration, 5)
    for length in range(3):
        part = slice(1_000 * length, 1_000 * (length + 1))
        np.testing.assert_allclose(np.sort(watch[part]), (np.arange(1_000) + 0.5) / 1_000, atol=1e-6)
        assert np.corrcoef(watch[part], share[part])[0, 1] > 0.99
    nobody = played_further(np.zeros(10, np.float32), np.full(10, 5, np.float32), 30)
    assert nobody.tolist() == [0.5] * 10


def test_a_visit_ends_with_a_silence_and_on_another_surface(four: Catalogue) -> None:
    rows = [
        (0.0, 0, 0, Kind.IMPRESSION, NAN),
        (0.1, 1, 0, Kind.IMPRESSION, NAN),
        (0.2, 0, 1, Kind.IMPRESSION, NAN),
        (0.3, 0, 2, Kind.IMPRESSION, NAN),
        (0.4, 0, 3, Kind.IMPRESSION, NAN),
        (5.0, 0, 0, Kind.IMPRESSION, NAN),
    ]
    found = exposures(told(rows, [0, 0, 0, 1, 0, 0]), four, ExposureParams())
    assert found.visit.tolist() == [0, 1, 0, 2, 0, 3]
    request = request_at(told(rows, [0, 0, 0, 1, 0, 0]), 3)
    assert (request.user_id, request.at, request.surface, request.device) == ("ada", 0.3 * HOUR, "search", None)


def test_data_without_impressions_have_no_exposures(four: Catalogue) -> None:
    found = exposures(told([(0, 0, 0, Kind.WATCH, 5.0)]), four, ExposureParams())
    assert len(found) == 0


def test_the_order_of_other_people_changes_no_label(four: Catalogue) -> None:
    rng = np.random.default_rng(1)
    kinds = [Kind.IMPRESSION, Kind.IMPRESSION, Kind.CLICK, Kind.WATCH, Kind.LIKE, Kind.HIDE]
    rows = [
        (float(hour), int(rng.integers(2)), int(rng.integers(4)), kinds[rng.integers(6)], float(rng.integers(1, 40)))
        for hour in range(400)
    ]
    whole = exposures(told(rows), four, ExposureParams(within_hours=DAY / HOUR * 9))
    for user in range(2):
        own = [n for n, row in enumerate(rows) if row[1] == user]
        alone = exposures(told([rows[n] for n in own]), four, ExposureParams(within_hours=DAY / HOUR * 9))
        mine = np.isin(whole.position, own)
        assert np.array(own)[alone.position].tolist() == whole.position[mine].tolist()
        for name in ("click", "like", "dislike", "long_view"):
            assert alone.labels[name].tolist() == whole.labels[name][mine].tolist()


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_an_objective_whose_answers_are_all_the_same_is_left_out_unless_it_is_asked_for(answer: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(600, 2)).astype(np.float32)
    number, ones = np.repeat(np.arange(60), 10), np.ones(600, np.float32)
    label = (values[:, 0] > 0.5).astype(np.float32)
    names, users = ("score_als", "plays"), number.astype(np.int32)
    rows = {
        name: Rows(names, values, labels, number, ones, number.astype(np.float64), users)
        for name, labels in {"relevance": label, "click": np.full(600, answer, np.float32), "like": label}.items()
    }
    quick = {"catboost": {"iterations": 3, "depth": 2, "threads": 1}}
    config = Config.model_validate({"ranker": quick})
    assert fit_ranker(rows, config).objectives == ("relevance", "like")
    asked = Config.model_validate({"ranker": quick | {"value": "relevance + click"}})
    with pytest.raises(NextreelError, match="No objective 'click' to value by"):
        fit_ranker(rows, asked)
