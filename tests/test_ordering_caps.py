"""Caps on videos of one channel and of one main category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextreel.ordering import CapParams, by_value, capped
from nextreel.types import UNKNOWN, Catalogue, Moment

NEWS, SPORT, MUSIC = 0, 1, 2


def falling(n: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.arange(n, 0, -1, dtype=np.float32)


def many(kind: int, among: list[int]) -> int:
    """How many are of the kind, none of which is UNKNOWN's."""
    return 0 if kind == UNKNOWN else among.count(kind)


def of_channels(
    channels: list[int], catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> Moment:
    return moment_of(catalogue_of([[NEWS]] * len(channels), channel=np.array(channels, np.int32)))


def test_what_is_beyond_the_cap_comes_after_all_others(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    moment = of_channels([0, 0, 0, 1, 0, 1, 1], catalogue_of, moment_of)
    order = capped(CapParams(per_channel=2))(moment, falling(7), 7)
    assert order.positions.tolist() == [0, 1, 3, 5, 2, 4, 6]
    assert order.propensities.tolist() == [1.0] * 7


def test_videos_of_an_unknown_channel_are_never_capped(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    moment = of_channels([UNKNOWN, UNKNOWN, 0, 0, UNKNOWN], catalogue_of, moment_of)
    for window in (None, 2, 5):
        order = capped(CapParams(per_channel=1, window=window))(moment, falling(5), 5)
        assert order.positions.tolist() == [0, 1, 2, 4, 3]


def test_the_main_category_has_a_cap_of_its_own(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    channel = np.array([0, 1, 0, 1, 1], np.int32)
    moment = moment_of(catalogue_of([[NEWS], [NEWS], [SPORT, NEWS], [MUSIC], []], channel=channel))
    assert capped(CapParams(per_category=1))(moment, falling(5), 5).positions.tolist() == [0, 2, 3, 4, 1]
    both = CapParams(per_category=1, per_channel=1)
    assert capped(both)(moment, falling(5), 5).positions.tolist() == [0, 3, 1, 2, 4]


def test_in_a_short_window_a_channel_comes_back(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    moment = of_channels([0, 0, 0, 1, 1, 1], catalogue_of, moment_of)
    order = capped(CapParams(per_channel=1, window=2))(moment, falling(6), 6)
    assert order.positions.tolist() == [0, 3, 1, 4, 2, 5]


def test_without_a_cap_the_order_is_that_of_the_values() -> None:
    assert capped(CapParams()) is by_value


@given(
    videos=st.lists(st.tuples(st.integers(-1, 4), st.floats(-10, 10, width=32)), max_size=20),
    k=st.integers(1, 20),
    cap=st.integers(1, 3),
)
def test_a_channel_is_kept_to_its_cap_wherever_there_are_others_enough(
    videos: list[tuple[int, float]],
    k: int,
    cap: int,
    catalogue_of: Callable[..., Catalogue],
    moment_of: Callable[..., Moment],
) -> None:
    channels = [channel for channel, _ in videos]
    value = np.array([one for _, one in videos], np.float32)
    moment = of_channels(channels, catalogue_of, moment_of)
    shown = [channels[at] for at in capped(CapParams(per_channel=cap))(moment, value, k).positions]
    assert len(shown) == min(k, len(videos))
    enough = sum(many if channel == UNKNOWN else min(many, cap) for channel, many in Counter(channels).items())
    kept = shown[: min(k, enough)]  # the caps hold for as many places as any list could keep them
    assert all(many(channel, kept) <= cap for channel in kept)


@given(
    videos=st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 2), st.floats(-9, 9, width=32)), max_size=15),
    k=st.integers(1, 15),
    caps=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    window=st.integers(1, 15) | st.none(),
)
def test_each_place_has_the_best_that_fits_and_the_best_of_all_where_none_does(
    videos: list[tuple[int, int, float]],
    k: int,
    caps: tuple[int, int],
    window: int | None,
    catalogue_of: Callable[..., Catalogue],
    moment_of: Callable[..., Moment],
) -> None:
    codes = [[] if category == UNKNOWN else [category] for _, category, _ in videos]
    catalogue = catalogue_of(codes, channel=np.array([channel for channel, _, _ in videos], np.int32))
    value = np.array([one for _, _, one in videos], np.float32)
    params = CapParams(per_channel=caps[0], per_category=caps[1], window=window)
    shown = capped(params)(moment_of(catalogue), value, k).positions.tolist()
    left = np.argsort(-value, kind="stable").tolist()
    for place, chosen in enumerate(shown):
        near = shown[max(0, place - (window or k) + 1) : place]
        fit = [
            at
            for at in left
            if all(many(videos[at][kind], [videos[one][kind] for one in near]) < caps[kind] for kind in (0, 1))
        ]
        assert chosen == (fit or left)[0]
        left.remove(chosen)
