"""Moments whose right order was planted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from nextreel.ranking.rows import Rows

NAMES = ("score_als", "noise", "plays")


@pytest.fixture(scope="session")
def planted() -> Callable[..., Rows]:
    """Makes moments whose relevant rows are the three of highest score_als - plays; noise says nothing."""
    from nextreel.ranking.rows import Rows  # noqa: PLC0415

    def planted(seed: int, moments: int = 80, size: int = 20) -> Rows:
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

    return planted
