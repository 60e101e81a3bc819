"""Calibration: probabilities that keep their word, and orders that stay as they were."""

from __future__ import annotations

import numpy as np
import pytest

from nextreel.ranking import calibration
from nextreel.ranking.calibration import Calibration


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.4, -1.0), (3.0, 2.0)])
def test_what_was_bent_is_made_straight(slope: float, offset: float) -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=40_000).astype(np.float32)
    labels = (rng.random(len(raw)) < 1 / (1 + np.exp(-(slope * raw + offset)))).astype(np.float32)
    found = calibration.fit(raw, labels)
    assert found.slope == pytest.approx(slope, rel=0.06)
    assert found.offset == pytest.approx(offset, abs=0.06)
    for low, high in ((-2, -0.5), (-0.5, 0.5), (0.5, 2)):
        part = (raw > low) & (raw < high)
        assert found(raw[part]).mean() == pytest.approx(labels[part].mean(), abs=0.02)


def test_an_order_never_changes_even_where_scores_say_nothing_or_the_wrong_thing() -> None:
    raw = np.linspace(-3, 3, 50, dtype=np.float32)
    for labels in (np.zeros(50), np.ones(50), (raw < 0) * 1.0, np.full(50, 0.3)):
        found = calibration.fit(raw, labels.astype(np.float32))
        assert found.slope > 0
        probabilities = found(raw)
        assert (np.diff(probabilities) >= 0).all()
        assert 0 < probabilities.min() <= probabilities.max() < 1


def test_a_score_beyond_all_bounds_is_still_a_probability() -> None:
    found = Calibration(2.0, 0.0)(np.array([-1e9, 1e9], np.float32))
    assert 0 < found[0] < 1e-6 < 1 - 1e-6 < found[1] <= 1
