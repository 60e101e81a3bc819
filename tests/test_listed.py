"""What a catalogue lists under its videos and series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextreel.listed import Episodes, Rights, entries

NAN = float("nan")


def rights(*told: tuple[int, str | None, float, float], videos: int = 3) -> Rights:
    rows, regions, since, until = zip(*told, strict=True)
    return Rights.of(np.array(rows), regions, np.array(since), np.array(until), videos)


@given(st.lists(st.lists(st.integers(), max_size=4), min_size=1, max_size=6), st.data())
def test_entries_are_those_of_the_lists_asked_for_in_their_order(lists: list[list[int]], data: st.DataObject) -> None:
    starts = np.cumsum([0, *map(len, lists)])
    flat = [one for of in lists for one in of]
    which = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8))
    owner, entry = entries(starts, np.array(which, np.int64))
    found = [(int(a), flat[b]) for a, b in zip(owner, entry, strict=True)]
    assert found == [(place, one) for place, of in enumerate(which) for one in lists[of]]


@pytest.mark.parametrize(
    ("country", "at", "allowed"),
    [
        ("DE", 5.0, [True, True, False]),
        ("de", 5.0, [True, True, False]),  # whatever letters a client writes
        ("FR", 5.0, [True, False, False]),
        ("FR", 10.0, [True, False, True]),  # the first second
        ("FR", 19.0, [True, False, True]),
        ("FR", 20.0, [True, False, False]),  # the first one that is too late
        ("US", 5.0, [True, False, False]),
        (None, 15.0, [True, False, False]),  # nobody knows where the person is
    ],
)
def test_a_limited_video_is_shown_in_its_regions_and_times_alone(
    country: str | None, at: float, allowed: list[bool]
) -> None:
    limited = rights((2, "fr", 10.0, 20.0), (1, "DE", NAN, NAN), (1, "CH", NAN, NAN))
    assert limited.allow(np.arange(3), country, at).tolist() == allowed
    assert limited.allow(np.array([2, 0]), country, at).tolist() == [allowed[2], allowed[0]]
    assert limited.region_names == ("CH", "DE", "FR")


def test_an_entry_without_a_region_holds_everywhere_and_any_entry_is_enough() -> None:
    limited = rights((0, None, NAN, 20.0), (0, "FR", NAN, NAN))
    assert limited.allow(np.array([0]), None, 19.0).tolist() == [True]
    assert limited.allow(np.array([0]), None, 20.0).tolist() == [False]
    assert limited.allow(np.array([0]), "FR", 20.0).tolist() == [True]


def test_episodes_stand_by_series_and_number_and_videos_without_either_do_not() -> None:
    series, episode = np.array([1, 0, -1, 1, 1, 0], np.int32), np.array([7, 2, 3, 1, -1, 2], np.int32)
    found = Episodes.of(series, episode, 3)
    assert found.rows.tolist() == [1, 5, 3, 0]
    assert found.starts.tolist() == [0, 2, 4, 4]  # nobody numbered the third one
