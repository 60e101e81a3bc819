"""What a person is in the middle of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from nextreel.resuming import ResumeParams, begun, finished
from nextreel.types import DAY, Catalogue, Kind, UserState

NOW = 1_000 * DAY
PLAIN = ResumeParams()


@pytest.fixture(scope="module")
def films(catalogue_of: Callable[..., Catalogue]) -> Catalogue:
    """Three videos of 100 seconds, one of unknown length, one of none at all."""
    return catalogue_of([[0]] * 5, duration=np.array([100, 100, 100, np.nan, 0], np.float32))


@pytest.mark.parametrize(
    ("seconds", "is_begun", "is_finished"),
    [(4.9, False, False), (5.0, True, False), (90.0, True, False), (90.1, False, True), (250.0, False, True)],
)
def test_a_video_is_begun_from_a_twentieth_to_nine_tenths(
    seconds: float, is_begun: bool, is_finished: bool, films: Catalogue
) -> None:
    user = UserState(1, partly={2: (seconds, NOW - DAY)})
    assert begun(user, films, NOW, PLAIN)[0].tolist() == [2] * is_begun
    assert finished(user, films, NOW, PLAIN)[0].tolist() == [2] * is_finished


def test_what_was_left_long_ago_or_has_no_known_length_is_not_gone_on_with(films: Catalogue) -> None:
    user = UserState(
        1, partly={0: (50, NOW - 31 * DAY), 1: (50, NOW - 29 * DAY), 3: (50, NOW), 4: (50, NOW), 9: (50, NOW)}
    )
    rows, when = begun(user, films, NOW, PLAIN)
    assert (rows.tolist(), when.tolist()) == ([1], [NOW - 29 * DAY])
    assert begun(user, films, NOW, ResumeParams(days=40))[0].tolist() == [0, 1]


def test_a_completed_video_is_finished_whatever_was_watched(films: Catalogue) -> None:
    user = UserState(1)
    user.history.append(3, NOW - 40 * DAY, Kind.COMPLETE, 1.0)
    user.history.append(4, NOW - 2 * DAY, Kind.COMPLETE, 1.0)
    user.history.append(0, NOW - DAY, Kind.LIKE, 1.0)
    rows, when = finished(user, films, NOW, PLAIN)
    assert (rows.tolist(), when.tolist()) == ([4], [NOW - 2 * DAY])


def test_a_video_cannot_be_finished_before_it_is_begun() -> None:
    with pytest.raises(ValidationError, match="expected least below most"):
        ResumeParams(least=0.9, most=0.5)
