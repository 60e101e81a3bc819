"""Pages of a list: every video once, whoever gives the next page, whenever it is asked for again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel import paging
from nextreel.backends import ClosableKeyValue, open_key_value
from nextreel.opening import open_system
from nextreel.ordering import Resume
from nextreel.paging import Page, Pages, UnknownCursor
from nextreel.resuming import ResumeParams
from nextreel.system import System
from nextreel.types import BoolArray, Catalogue, Event, Kind, Request, RowArray, Slate, Trace, VideoId

SOMEONE = "person-7"


class World:
    """Videos 100, 101, …, each list by number downward from the best; some of them are not to be shown any more."""

    def __init__(self, catalogue: Catalogue, shared: ClosableKeyValue) -> None:
        self.catalogue = catalogue
        self.hidden: set[int] = set()  # rows
        self.lists = 0  # that were made
        self.shared = shared

    def pages(self) -> Pages:
        """Those of a process of its own."""
        return Pages(self.shared, self.recommend, self.keeps, lambda: self.catalogue)

    def keeps(self, request: Request, rows: RowArray) -> BoolArray:
        excluded = self.catalogue.rows(request.exclude)
        return ~np.isin(rows, list(self.hidden)) & ~np.isin(rows, excluded)

    def recommend(self, request: Request) -> Slate:
        self.lists += 1
        rows = np.arange(len(self.catalogue), dtype=np.int32)
        rows = rows[self.keeps(request, rows)][: request.k]
        n = len(rows)
        ids = self.catalogue.video_ids[rows].tolist()
        none, ones = np.empty((n, 0), np.float32), np.ones(n, np.float32)
        same = np.zeros(n, np.bool_)
        return Slate(
            request,
            rows,
            ids,
            -rows.astype(np.float32),
            none,
            ["one"] * n,
            ["why"] * n,
            ones,
            same,
            Trace(),
            "r",
            "full",
        )


@pytest.fixture
def world(catalogue_of: Any) -> World:
    return World(catalogue_of([(0,)] * 250), open_key_value("memory://"))


def following(pages: Pages, page: Page, k: int, user_id: str | None = "ann") -> Page:
    assert page.cursor is not None
    return pages.next(page.cursor, user_id, k, 2.0, "later")


def all_pages(world: World, request: Request, sizes: Iterator[int]) -> list[Page]:
    found = [world.pages().first(replace(request, k=next(sizes)))]
    while found[-1].cursor is not None:
        found.append(following(world.pages(), found[-1], next(sizes)))
    return found


def ids(pages: Sequence[Page]) -> list[VideoId]:
    return [one for page in pages for one in page.slate.video_ids]


@settings(max_examples=60, deadline=None)
@given(
    videos=st.integers(0, 260),
    sizes=st.lists(st.integers(1, 120), min_size=1, max_size=5),
    excluded=st.lists(st.integers(95, 400), max_size=20),
)
def test_pages_of_any_sizes_hold_every_video_once_in_the_order_of_the_list(
    catalogue_of: Any, videos: int, sizes: list[int], excluded: list[int]
) -> None:
    catalogue = catalogue_of([(0,)] * videos)
    turns = (sizes[turn % len(sizes)] for turn in range(10_000))
    pages = all_pages(
        World(catalogue, open_key_value("memory://")), Request("ann", 1.0, exclude=tuple(excluded)), turns
    )
    assert ids(pages) == [one for one in range(100, 100 + videos) if one not in excluded]
    for number, page in enumerate(pages[:-1]):
        assert len(page.slate.video_ids) == sizes[number % len(sizes)]
    assert len(pages) == 1 or pages[-1].slate.video_ids  # no page is there to say that it is empty


def test_a_block_serves_many_pages(world: World) -> None:
    page = world.pages().first(Request("ann", 1.0, k=10))
    for _ in range(8):
        page = following(world.pages(), page, 10)
    assert world.lists == 1
    assert page.slate.video_ids == list(range(180, 190))
    following(world.pages(), page, 10)  # the last of the hundred: is there more?
    assert world.lists == 2


def test_the_same_cursor_gives_the_same_page_and_the_same_next_one(world: World) -> None:
    first = world.pages().first(Request("ann", 1.0, k=30))
    second = following(world.pages(), first, 90)  # from two blocks
    again = following(world.pages(), first, 5)
    assert ids([again]) == ids([second]) == list(range(130, 220))
    assert again.cursor == second.cursor
    np.testing.assert_array_equal(again.slate.value, second.slate.value)
    assert again.slate.level == "full"
    assert ids([following(world.pages(), again, 7)]) == list(range(220, 227))


def test_the_last_page_is_the_same_however_often_it_is_asked_for(world: World) -> None:
    first = world.pages().first(Request("ann", 1.0, k=245))
    last = following(world.pages(), first, 10)
    assert last.cursor is None
    again = following(world.pages(), first, 2)
    assert (ids([again]), again.cursor) == (list(range(345, 350)), None)


def test_a_slate_that_others_may_have_too_is_left_as_it_is(world: World) -> None:
    shared = world.recommend(Request("ann", 1.0, k=100))
    page = Pages(world.shared, lambda _: shared, world.keeps, lambda: world.catalogue).first(Request("ann", 1.0, k=3))
    assert "page" in page.slate.trace.milliseconds
    assert "page" not in shared.trace.milliseconds


def test_two_who_ask_for_one_page_at_once_get_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = world.pages().first(Request("ann", 1.0, k=60))
    find = world.shared.get_many
    others: list[Page] = []
    busy: list[bool] = []

    def meanwhile(keys: Sequence[str]) -> list[tuple[bytes, int] | None]:
        found = find(keys)
        if not busy:
            busy.append(True)
            others.append(following(world.pages(), first, 20))  # somebody else is faster
        return found

    monkeypatch.setattr(world.shared, "get_many", meanwhile)
    mine = following(world.pages(), first, 50)
    assert ids([mine]) == ids([others[0]]) == list(range(160, 180))
    assert mine.cursor == others[0].cursor


def test_what_may_no_longer_be_shown_is_left_out_and_the_page_is_filled(world: World) -> None:
    first = world.pages().first(Request("ann", 1.0, k=10))
    world.hidden = {12, 13, 205}
    second = following(world.pages(), first, 10)
    assert ids([second]) == [110, 111, *range(114, 122)]
    world.hidden.add(15)
    assert ids([following(world.pages(), first, 10)]) == [110, 111, 114, *range(116, 122)]
    rest = [second]
    while rest[-1].cursor is not None:
        rest.append(following(world.pages(), rest[-1], 50))
    assert ids(rest[1:]) == [one for one in range(122, 350) if one != 305]


def test_a_cursor_is_of_one_person(world: World) -> None:
    page = world.pages().first(Request("ann", 1.0))
    for other in ("ben", None):
        with pytest.raises(UnknownCursor, match=r"of this person.*Hint"):
            following(world.pages(), page, 10, other)


@pytest.mark.parametrize("cursor", ["", "x", "no.such", ".1", "a.-1", "a.1", "a.²", "a." + "9" * 30, "ä.1"])
def test_a_cursor_that_nobody_gave_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(UnknownCursor):
        world.pages().next(cursor, "ann", 10, 2.0, "later")


def test_a_cursor_expires(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "SECONDS", 0.0)
    page = world.pages().first(Request("ann", 1.0))
    with pytest.raises(UnknownCursor, match="within"):
        following(world.pages(), page, 10)


def test_a_list_ends_where_very_many_were_given(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MOST", 150)
    pages = all_pages(world, Request("ann", 1.0), iter([40] * 100))
    assert ids(pages) == list(range(100, 100 + len(ids(pages))))
    assert 150 <= len(ids(pages)) <= 200


def test_pages_of_two_processes_and_a_restart_hold_every_eligible_video_once(home: Path) -> None:
    def opened() -> System:
        return open_system(home, clock="end")

    systems = [opened(), opened()]
    request = Request(SOMEONE, systems[0].now(), k=9, request_id="first")
    everything = np.arange(len(systems[0].catalogue), dtype=np.int32)
    eligible = systems[0].catalogue.video_ids[systems[0].recommender.keeps(request, everything)].tolist()
    assert len(eligible) > 60
    pages = [systems[0].page(request)]
    while pages[-1].cursor is not None:
        system = systems[len(pages) % 2]
        pages.append(system.next_page(pages[-1].cursor, SOMEONE, 9, system.now(), f"page {len(pages)}"))
        if len(pages) == 4:
            for one in systems:
                one.close()
            systems = [opened(), opened()]
    assert sorted(map(str, ids(pages))) == sorted(map(str, eligible))
    assert [len(page.slate.video_ids) for page in pages[:-1]] == [9] * (len(pages) - 1)
    for one in systems:
        one.close()


def test_what_is_watched_between_two_pages_is_not_on_the_next(home: Path) -> None:
    system = open_system(home, clock="end")
    first = system.page(Request(SOMEONE, system.now(), k=5))
    assert first.cursor is not None
    watched = system.page(Request(SOMEONE, system.now(), k=10)).slate.video_ids[5:8]
    system.feedback([Event(SOMEONE, system.now(), Kind.LIKE, one) for one in watched])
    second = system.next_page(first.cursor, SOMEONE, 5, system.now(), "second")
    assert len(second.slate.video_ids) == 5
    assert not set(second.slate.video_ids) & {*watched, *first.slate.video_ids}
    system.close()


def test_what_is_gone_on_with_is_there_once_on_pages_of_one(home: Path) -> None:
    system = open_system(home, clock="end")
    system.recommender = replace(system.recommender, resume=Resume(ResumeParams()))
    begun = system.page(Request("new", system.now(), k=12)).slate.video_ids[10:]
    for video_id in begun:
        half = float(system.catalogue.duration[system.catalogue.row_of[video_id]]) / 2
        system.feedback([Event("new", system.now(), Kind.WATCH, video_id, watch_seconds=half)])
    page = system.page(Request("new", system.now(), k=1))
    pages = [page]
    for _ in range(5):
        assert page.cursor is not None
        page = system.next_page(page.cursor, "new", 1, system.now(), "next")
        pages.append(page)
    assert ids(pages)[:2] == begun[::-1]
    assert [page.slate.sources for page in pages[:2]] == [["continue_watching"]] * 2
    assert len(set(ids(pages))) == 6
    assert pages[0].cursor is not None
    assert ids([system.next_page(pages[0].cursor, "new", 1, system.now(), "again")]) == begun[:1]
    system.close()


def test_a_later_page_goes_on_with_the_same_when_it_is_asked_for_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "BLOCK", 3)
    system = open_system(home, clock="end")
    system.recommender = replace(system.recommender, resume=Resume(ResumeParams(places=2)))
    begun = system.recommend(Request("new", system.now(), k=4)).video_ids
    for video_id in begun:
        half = float(system.catalogue.duration[system.catalogue.row_of[video_id]]) / 2
        system.feedback([Event("new", system.now(), Kind.WATCH, video_id, watch_seconds=half)])
    first = system.page(Request("new", system.now(), k=3))
    assert first.cursor is not None
    second = system.next_page(first.cursor, "new", 3, system.now(), "second")
    assert set(begun) <= {*first.slate.video_ids[:2], *second.slate.video_ids[:2]}
    again = system.next_page(first.cursor, "new", 3, system.now(), "again")
    assert again.slate.video_ids == second.slate.video_ids
    system.close()
