"""Changes of a catalogue: how they are kept, and what a catalogue is after them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.backends import open_key_value
from nextreel.data.dataset import Tables, assemble
from nextreel.listed import Episodes, Rights
from nextreel.types import UNKNOWN, Catalogue, Conflict, NextreelError
from nextreel.uploads import (
    Change,
    Changes,
    Released,
    Upload,
    WrongUpload,
    decode,
    encode,
    entering,
    extended,
    key_of,
    taken,
)

FULL = Upload(
    video_id=900,
    channel_id="cooks",
    title="Bread",
    description="How to bake it",
    category="food",
    child_categories=("baking", "food at home"),
    language="pt",
    duration=61.5,
    tags=("rye", "oven"),
    published_at=1_000.0,
    maturity_rating=12,
    series="bakes",
    episode=3,
    regions=("DE", "FR"),
    available_until=5_000.0,
)


@pytest.fixture
def four(catalogue_of: Callable[..., Catalogue]) -> Catalogue:
    """Videos 100 to 103."""
    return catalogue_of([[0], [0, 1], [2], []])


def after(catalogue: Catalogue, *changes: Change, at: float = -np.inf) -> Catalogue:
    return extended(catalogue, changes, Released.of(catalogue, at)).catalogue


def assert_same(one: Catalogue | Rights | Episodes, other: object) -> None:
    for field in fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right, field.name)
            assert left.dtype == right.dtype, field.name
        elif isinstance(left, Rights | Episodes):
            assert_same(left, right)
        else:
            assert left == right, field.name


def test_a_change_is_read_as_it_was_written() -> None:
    change = Change(5.0, (FULL, Upload(video_id="7")), (7, "x"))
    assert decode(encode(change)) == change


def test_a_change_of_another_version_is_refused() -> None:
    with pytest.raises(NextreelError, match=r"version byte 01, got 7f.*Hint"):
        decode(b"\x7f" + encode(Change(1.0))[1:])


def test_changes_are_read_in_their_order_however_many_there_are() -> None:
    changes = Changes(open_key_value("memory://"))
    for number in range(1, 51):
        changes.append(Change(float(number)), number)
    assert [one.at for one in changes.after(0)] == list(range(1, 51))
    assert [one.at for one in changes.after(48)] == [49, 50]
    assert [one.at for one in changes.after(3, until=6)] == [4, 5, 6]
    assert changes.after(50) == changes.after(6, until=6) == []


def test_a_number_is_given_to_one_change_alone() -> None:
    shared = open_key_value("memory://")
    changes = Changes(shared)
    changes.append(Change(1.0), 1)
    with pytest.raises(Conflict, match=key_of(1)):
        changes.append(Change(2.0), 1)
    assert [one.at for one in changes.after(0)] == [1.0]


def test_a_new_video_gets_the_next_row_and_new_names_the_next_codes(four: Catalogue) -> None:
    found = extended(four, [Change(0.0, (FULL,))], Released.of(four, -np.inf))
    grown, row = found.catalogue, 4
    assert (found.told.tolist(), found.touched.tolist()) == ([4], [4])
    assert grown.video_ids.tolist() == [100, 101, 102, 103, 900]
    assert grown.row_of[900] == row
    assert grown.category_names == (*four.category_names, "food", "baking", "food at home")
    assert grown.category[row] == len(four.category_names)
    assert np.flatnonzero(grown.categories[row]).tolist() == [3, 4, 5]
    assert grown.channel_ids[grown.channel[row]] == "cooks"
    assert grown.language_names[grown.language[row]] == "pt"
    assert (grown.duration[row], grown.published_at[row], grown.maturity[row]) == (61.5, 1_000.0, 12)
    assert grown.titles[row] == "Bread"
    assert list(grown.tags[row]) == ["rye", "oven"]
    assert grown.available[row]
    assert (grown.series_ids[grown.series[row]], grown.episode[row]) == ("bakes", 3)
    assert grown.changes == 1


def test_rights_are_those_of_the_newest_record(four: Catalogue) -> None:
    every = np.arange(5, dtype=np.int32)
    limited = after(four, Change(0.0, (FULL, Upload(video_id=101, available_from=100.0))))
    assert limited.rights is not None
    assert limited.rights.allow(every, "fr", 200.0).tolist() == [True, True, True, True, True]
    assert limited.rights.allow(every, "fr", 50.0).tolist() == [True, False, True, True, True]
    assert limited.rights.allow(every, "PT", 200.0).tolist() == [True, True, True, True, False]
    assert limited.rights.allow(every, "DE", 6_000.0).tolist() == [True, True, True, True, False]
    one_more = after(limited, Change(0.0, (Upload(video_id=901), Upload(video_id=101))))
    assert one_more.rights is not None
    assert one_more.rights.allow(np.arange(6), "PT", 50.0).tolist() == [True, True, True, True, False, True]
    assert after(one_more, Change(0.0, (Upload(video_id=900),))).rights is None
    part = taken(limited, np.array([4, 0, 1], np.int32))
    assert part.rights is not None
    assert part.rights.allow(np.arange(3), "PT", 50.0).tolist() == [False, True, False]


def test_episodes_of_a_series_are_in_their_order_whenever_they_come(four: Catalogue) -> None:
    second, first = (Upload(video_id=900 + n, series=7, episode=n) for n in (2, 1))
    grown = after(four, Change(0.0, (second,)), Change(1.0, (first,)))
    assert grown.series_ids == (7,)
    assert grown.episodes.rows.tolist() == [5, 4]


def test_rows_that_nothing_was_said_of_stay_as_they_are(four: Catalogue) -> None:
    grown = after(four, Change(0.0, (FULL,)))
    for field in fields(Catalogue):
        before = getattr(four, field.name)
        if isinstance(before, np.ndarray) and field.init and field.name != "categories":
            np.testing.assert_array_equal(getattr(grown, field.name)[:4], before, field.name)
    np.testing.assert_array_equal(grown.categories[:4, :3], four.categories)
    assert not grown.categories[:4, 3:].any()
    assert list(grown.titles[:4]) == list(four.titles)


def test_what_an_upload_leaves_out_is_not_known(four: Catalogue) -> None:
    grown = after(four, Change(0.0, (Upload(video_id=900),)))
    assert (grown.category[4], grown.channel[4], grown.language[4]) == (UNKNOWN,) * 3
    assert not grown.categories[4].any()
    assert np.isnan([grown.duration[4], grown.published_at[4]]).all()
    assert (grown.titles[4], grown.texts[4], list(grown.tags[4]), grown.maturity[4]) == ("900", "900", [], 0)


def test_a_video_that_is_told_anew_keeps_its_row_and_loses_what_it_had(four: Catalogue) -> None:
    told = Upload(video_id=101, title="Again", category="music", is_available=False)
    grown = after(four, Change(0.0, (told,)))
    assert len(grown) == 4
    assert np.flatnonzero(grown.categories[1]).tolist() == [grown.category[1]] == [2]
    assert (grown.titles[1], bool(grown.available[1])) == ("Again", False)
    assert four.titles[1] != "Again"  # whoever reads the old catalogue goes on with it
    assert four.available[1]


def test_a_withdrawn_video_is_there_and_not_available(four: Catalogue) -> None:
    found = extended(four, [Change(0.0, withdrawn=(102, "nobody"))], Released.of(four, -np.inf))
    assert found.catalogue.available.tolist() == [True, True, False, True]
    assert (found.told.tolist(), found.touched.tolist()) == ([], [2])


def test_a_release_knows_its_videos_better_than_a_change_before_it(four: Catalogue) -> None:
    old = Change(5.0, (Upload(video_id=100, title="old"), Upload(video_id=900, title="not in the release")))
    grown = after(four, old, at=10.0)
    assert grown.titles[0] == four.titles[0]
    assert grown.titles[4] == "not in the release"
    assert grown.changes == 1


def test_a_withdrawal_before_a_release_holds_until_the_video_is_uploaded_again(four: Catalogue) -> None:
    gone, back = Change(5.0, withdrawn=(100,)), Change(6.0, (Upload(video_id=100, title="old"),))
    assert not after(four, gone, at=10.0).available[0]
    both = after(four, gone, back, at=10.0)
    assert both.available[0]
    assert both.titles[0] == four.titles[0]


def test_an_upload_is_what_a_data_set_makes_of_the_same_record() -> None:
    record: dict[str, Any] = {
        "video_id": [900], "channel_id": ["cooks"], "title": ["Bread"], "description": ["How to bake it"],
        "category": ["food"], "child_categories": [["baking", "food at home"]], "language": ["pt"],
        "duration": [61.5], "tags": [["rye", "oven"]], "published_at": [1_000.0], "is_available": [True],
        "maturity_rating": [12], "series": ["bakes"], "episode": [3], "regions": [["DE", "FR"]],
        "available_from": [None], "available_until": [5_000.0],
    }  # fmt: skip
    other = {name: [None] for name in record} | {"video_id": [100], "tags": [[]], "child_categories": [[]]}
    types = pl.DataFrame(record).schema | {"available_from": pl.Float64()}
    events = pl.DataFrame({"user_id": [1], "video_id": [100], "timestamp": [1.0], "kind": [2]})
    whole = assemble(
        Tables(events, videos=pl.DataFrame({n: other[n] + record[n] for n in record}, types)), ()
    ).catalogue
    before = assemble(Tables(events, videos=pl.DataFrame(other, types)), ()).catalogue
    grown = after(before, Change(0.0, (FULL,)))
    assert grown.texts[1] == whole.texts[1]
    assert grown.rights is not None
    assert_same(grown.rights, whole.rights)
    assert grown.series_ids == whole.series_ids
    assert {grown.category_names[one] for one in np.flatnonzero(grown.categories[1])} == set(whole.category_names)
    for name in ("video_ids", "duration", "published_at", "maturity", "available", "episode"):
        np.testing.assert_array_equal(getattr(grown, name), getattr(whole, name), name)


def test_a_part_of_a_catalogue_has_the_rows_in_their_order(four: Catalogue) -> None:
    part = taken(four, np.array([3, 1], np.int32))
    assert part.video_ids.tolist() == [103, 101]
    assert list(part.titles) == [four.titles[3], four.titles[1]]
    assert part.row_of == {103: 0, 101: 1}
    np.testing.assert_array_equal(part.categories, four.categories[[3, 1]])


def test_ids_become_of_the_type_that_the_catalogue_has(four: Catalogue) -> None:
    numbers, texts = entering([Upload(video_id="7", channel_id="8")], four), replace(four, channel_ids=(1, 2))
    assert [(one.video_id, one.channel_id) for one in numbers] == [(7, "8")]
    assert [one.channel_id for one in entering([Upload(video_id=7, channel_id="8")], texts)] == [8]
    texts = replace(four, video_ids=np.array(["a", "b", "c", "d"], object))
    assert [one.video_id for one in entering([Upload(video_id=7), Upload(video_id="x")], texts)] == ["7", "x"]


@pytest.mark.parametrize("video_id", ["x", "007", str(2**63)])
def test_an_id_that_cannot_be_of_that_type_is_refused(four: Catalogue, video_id: str) -> None:
    with pytest.raises(WrongUpload, match=rf"Expected a whole number of 64 bits.*got '{video_id}'"):
        entering([Upload(video_id=video_id)], four)


def test_an_id_that_repeats_is_refused(four: Catalogue) -> None:
    with pytest.raises(WrongUpload, match=r"each video once, got 900 twice.*Hint"):
        entering([FULL, Upload(video_id="900")], four)


IDS = st.sampled_from([100, 103, 900, 901, 902])
NAMES = st.sampled_from(["news", "food", "cats"])
UPLOADS = st.builds(
    Upload,
    video_id=IDS,
    channel_id=st.none() | NAMES,
    category=st.none() | NAMES,
    child_categories=st.lists(NAMES, max_size=2).map(tuple),
    language=st.none() | NAMES,
    tags=st.lists(NAMES, max_size=2).map(tuple),
    is_available=st.booleans(),
    series=st.none() | NAMES,
    episode=st.none() | st.integers(0, 3),
    regions=st.sampled_from([(), (), ("DE",), ("FR", "DE")]),
    available_from=st.none() | st.just(5.0),
)
CHANGES = st.lists(
    st.builds(
        Change,
        at=st.sampled_from([0.0, 20.0]),
        uploads=st.lists(UPLOADS, max_size=2, unique_by=lambda one: one.video_id).map(tuple),
        withdrawn=st.lists(IDS, max_size=1).map(tuple),
    ),
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(changes=CHANGES, cut=st.integers(0, 8))
def test_changes_one_by_one_and_all_at_once_give_the_same_catalogue(
    catalogue_of: Callable[..., Catalogue], changes: list[Change], cut: int
) -> None:
    rights = Rights.of(np.array([0, 1, 1]), ["PT", "DE", None], np.zeros(3), np.full(3, np.nan), 4)
    four = catalogue_of([[0], [0, 1], [2], []], rights=rights)
    released = Released.of(four, 10.0)
    one_by_one = four
    for change in changes:
        one_by_one = extended(one_by_one, [change], released).catalogue
    first = extended(four, changes[:cut], released).catalogue
    in_two = extended(first, changes[cut:], released).catalogue
    at_once = extended(four, changes, released).catalogue
    if changes:
        assert_same(one_by_one, at_once)
        if 0 < cut < len(changes):
            assert_same(in_two, at_once)
