"""Greedy MAP of a determinantal point process, held against the log-determinants of every next place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextreel.ordering import DppParams, dpp
from nextreel.types import UNKNOWN, Catalogue, FloatArray, Moment

NEWS, SPORT, MUSIC = 0, 1, 2


def values(*numbers: float) -> FloatArray:
    return np.array(numbers, np.float32)


def kernel(moment: Moment, value: FloatArray, params: DppParams) -> NDArray[np.float64]:
    """L = diag(q) S diag(q), pair by pair."""
    spread = value.astype(np.float64).std()
    quality = np.exp(params.strength * (value - value.mean(dtype=np.float64)) / (spread or 1.0))
    catalogue, n = moment.catalogue, len(value)
    likeness = np.eye(n)
    for i, one in enumerate(moment.rows.tolist()):
        for j, other in enumerate(moment.rows.tolist()):
            if i == j:
                continue
            a, b = catalogue.categories[one].astype(np.float64), catalogue.categories[other].astype(np.float64)
            cosine = a @ b / np.sqrt((a @ a) * (b @ b)) if a.any() and b.any() else 0.0
            same = catalogue.channel[one] == catalogue.channel[other] != UNKNOWN
            likeness[i, j] = params.likeness * ((1 - params.channel) * cosine + params.channel * same)
    product: NDArray[np.float64] = quality[:, None] * likeness * quality
    return product


def log_det(matrix: NDArray[np.float64], chosen: list[int]) -> float:
    """log det of the chosen rows and columns, -inf where it is singular."""
    sign, size = np.linalg.slogdet(matrix[np.ix_(chosen, chosen)])
    return float(size) if sign > 0 else -np.inf


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_each_place_goes_to_whom_raises_the_determinant_most(
    data: st.DataObject, catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    n = data.draw(st.integers(1, 7))
    codes = data.draw(st.lists(st.lists(st.integers(0, 2), max_size=3, unique=True), min_size=n, max_size=n))
    channel = np.array(data.draw(st.lists(st.integers(-1, 1), min_size=n, max_size=n)), np.int32)
    value = np.array(data.draw(st.lists(st.integers(-20, 20), min_size=n, max_size=n)), np.float32)
    params = DppParams(
        strength=data.draw(st.floats(0, 2)), likeness=data.draw(st.floats(0, 0.95)), channel=data.draw(st.floats(0, 1))
    )
    moment = moment_of(catalogue_of(codes, channel=channel))
    positions = dpp(params)(moment, value, n).positions.tolist()
    matrix = kernel(moment, value, params)
    for place, chosen in enumerate(positions):
        before = positions[:place]
        found = {other: log_det(matrix, [*before, other]) for other in range(n) if other not in before}
        assert found[chosen] >= max(found.values()) - 1e-5  # ties may fall either way by rounding


def test_of_two_of_the_same_kind_the_better_one_comes_before_another_kind(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    moment = moment_of(catalogue_of([[NEWS], [NEWS], [NEWS], [SPORT], [SPORT], [MUSIC]]))
    order = dpp(DppParams(strength=0.1))(moment, values(6, 5, 4, 3, 2, 1), 6)
    assert order.positions.tolist() == [0, 3, 5, 1, 4, 2]
    assert order.propensities.tolist() == [1.0] * 6


def test_with_much_strength_the_order_is_that_of_the_values_and_with_none_it_is_that_of_the_kinds(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    moment = moment_of(catalogue_of([[NEWS]] * 5 + [[SPORT]] * 5))
    value = np.arange(10, 0, -1, dtype=np.float32)
    for strength in (50.0, 1e6):  # exp of the latter is no float
        assert dpp(DppParams(strength=strength))(moment, value, 10).positions.tolist() == list(range(10))
    assert dpp(DppParams(strength=0.0))(moment, value, 2).positions.tolist() == [0, 5]
    distance = [
        np.abs(dpp(DppParams(strength=strength))(moment, value, 10).positions - np.arange(10)).sum()
        for strength in (0.0, 0.5, 2.0, 50.0)
    ]
    assert distance == sorted(distance, reverse=True)
    assert distance[0] > 0


@pytest.mark.parametrize("strength", [0.0, 1.0, 1e6])
def test_once_the_kernel_is_used_up_the_best_by_value_follow(
    strength: float, catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    moment = moment_of(catalogue_of([[NEWS], [NEWS], [SPORT], [NEWS], [SPORT], [NEWS, SPORT]]))
    order = dpp(DppParams(strength=strength, likeness=1.0))(moment, values(6, 5, 4, 3, 2, 1), 6)
    # S has rank 2: after one of each, also what is both news and sport adds nothing
    assert order.positions.tolist() == [0, 2, 1, 3, 4, 5]


def test_videos_of_one_channel_are_alike_where_asked_for_and_unknown_channels_never(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    channel = np.array([0, 0, 1, UNKNOWN, UNKNOWN], np.int32)
    moment = moment_of(catalogue_of([[]] * 5, channel=channel))
    value = values(5, 4, 3, 2, 1)
    assert dpp(DppParams(strength=0.01))(moment, value, 5).positions.tolist() == [0, 1, 2, 3, 4]
    assert dpp(DppParams(strength=0.01, channel=1.0))(moment, value, 5).positions.tolist() == [0, 2, 3, 4, 1]


def test_the_process_looks_no_deeper_than_it_may(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    moment = moment_of(catalogue_of([[NEWS], [NEWS], [SPORT], [SPORT]]))
    value = values(4, 3, 2, 1)
    assert dpp(DppParams(strength=0.0, depth=1))(moment, value, 2).positions.tolist() == [0, 1]
    assert dpp(DppParams(strength=0.0, depth=2))(moment, value, 2).positions.tolist() == [0, 2]
