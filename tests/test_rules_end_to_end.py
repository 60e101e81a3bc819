"""Rules from tables on disk to a list: a small data folder, what people do, and what they see then."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextreel.assembly import Config, Models, build
from nextreel.backends import open_key_value
from nextreel.data import Dataset, load
from nextreel.paging import Pages
from nextreel.pipeline import Recommender
from nextreel.relevance import Relevance
from nextreel.store import MemoryStore
from nextreel.types import DAY, Event, Kind, Request, Slate, UserId, VideoId
from nextreel.why import why

NOW = 1_735_689_600.0 + 60  # 2025-01-01
NOTHING = Models(two_tower=None, als=None, ease=None, item_item=None, transitions=None, words={})
VIDEOS = """video_id,channel_id,series,episode,duration,published_at,regions,available_until
show-1,crime,show,1,1000,2024-01-01,,
show-2,crime,show,2,1000,2024-01-08,,
show-3,crime,show,3,1000,2024-01-15,,
film,art,,,5000,2020-01-01,,
local,art,,,600,2024-06-01,DE|AT,
soon,art,,,600,2025-02-01,,
gone,art,,,600,2020-01-01,,2024-12-01
song,music,,,200,2024-12-30,,
etude,music,,,200,2024-12-31,,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Dataset:
    (tmp_path / "videos.csv").write_text(VIDEOS)
    (tmp_path / "rights.csv").write_text(
        "video_id,region,available_from,available_until\nlocal,FR,2024-12-01,2025-03-01\n"
    )
    plays = "".join(f"u{n},{video},2024-12-2{n}\n" for n in range(9) for video in ("film", "song", "show-3", "gone"))
    (tmp_path / "interactions.csv").write_text("user_id,video_id,timestamp\n" + plays)
    return load(tmp_path)


class Home:
    """One recommender of what is popular, and of followed channels, over these data."""

    def __init__(self, data: Dataset, **config: object) -> None:
        self.data = data
        fitted = dict.fromkeys(("two_tower", "als", "ease", "item_item", "transitions"), 0)
        plain = {"quotas": fitted | {"fresh": 0, "subscribed": 9}}
        parsed = Config.model_validate(plain | config)
        self.store = MemoryStore(data.catalogue, Relevance())
        self.store.apply_many(data.events)
        self.recommender: Recommender = build(parsed, data.catalogue, self.store, NOTHING, None, timed=True)

    def does(self, kind: Kind, video: VideoId | None = None, seconds: float | None = None, **what: object) -> None:
        from nextreel.store.live import _columns  # noqa: PLC0415  the way of the log, whose store needs a release

        event = Event("ann", NOW - DAY, kind, video, watch_seconds=seconds, **what)  # type: ignore[arg-type]
        codes = {channel: code for code, channel in enumerate(self.data.catalogue.channel_ids)}
        self.store.apply_many(_columns([event], self.data.catalogue, codes))

    def asks(self, user_id: UserId = "ann", k: int = 9, **asked: object) -> Slate:
        return self.recommender.recommend(Request(user_id, NOW, k, **asked))  # type: ignore[arg-type]


def test_rights_publication_and_series_hold_for_everybody(folder: Dataset) -> None:
    home = Home(folder)
    assert set(home.asks().video_ids) == {"show-1", "film", "song", "etude"}
    for country in ("DE", "at", "FR"):
        assert set(home.asks(country=country).video_ids) == {"show-1", "film", "song", "etude", "local"}
    assert set(home.asks(max_age_days=10.0).video_ids) == {"song", "etude"}
    told = {video: why(home.recommender, Request("ann", NOW), row).removed_by
            for video, row in folder.catalogue.row_of.items()}  # fmt: skip
    assert told == {
        "show-1": (), "film": (), "song": (), "etude": (),
        "show-2": ("is_next_episode",), "show-3": ("is_next_episode",),
        "local": ("has_rights",), "gone": ("has_rights",), "soon": ("is_published",),
    }  # fmt: skip


def test_a_film_is_gone_on_with_until_it_ends(folder: Dataset) -> None:
    home = Home(folder)
    home.does(Kind.WATCH, "film", 2_000.0)
    slate = home.asks()
    assert (slate.video_ids[0], slate.sources[0], slate.reasons[0]) == (
        "film", "continue_watching", "go on where you stopped",
    )  # fmt: skip
    assert not slate.promoted.any()
    assert slate.trace.resumed == {"begun": 1, "eligible": 1, "shown": 1}
    found = why(home.recommender, Request("ann", NOW), folder.catalogue.row_of["film"])
    assert (found.outcome, found.place, found.removed_by) == ("shown", 0, ())
    assert "film" not in Home.asks(home, exclude=("film",)).video_ids
    assert "film" not in home.recommender.trending(Request("ann", NOW)).video_ids
    home.does(Kind.COMPLETE, "film")
    assert "film" not in home.asks().video_ids


def test_the_next_episode_comes_first_once_one_is_finished(folder: Dataset) -> None:
    home = Home(folder)
    home.does(Kind.WATCH, "show-1", 300.0)
    assert home.asks().video_ids[0] == "show-1"
    assert "show-2" not in home.asks().video_ids
    home.does(Kind.WATCH, "show-1", 650.0)  # 950 of 1,000 seconds in all
    slate = home.asks()
    assert (slate.video_ids[0], slate.sources[0]) == ("show-2", "next_episode")
    assert slate.reasons[0] == "the next episode of a series you watch"
    assert not {"show-1", "show-3"} & set(slate.video_ids)
    home.does(Kind.COMPLETE, "show-2")
    assert home.asks().video_ids[0] == "show-3"


def test_a_page_may_hold_what_one_is_in_the_middle_of(folder: Dataset) -> None:
    home = Home(folder)
    home.does(Kind.WATCH, "film", 2_000.0)
    home.does(Kind.WATCH, "show-1", 300.0)
    rows = folder.catalogue.rows(["film", "show-1", "song", "show-2", "gone"])
    kept = [True, True, True, False, False]
    for k in (1, 9):
        assert home.recommender.keeps(Request("ann", NOW, k), rows).tolist() == kept
    pages = Pages(open_key_value("memory://"), home.recommender.recommend, home.recommender.keeps, folder.catalogue)
    page = pages.first(Request("ann", NOW, 1))
    given = page.slate.video_ids
    while page.cursor is not None:
        page = pages.next(page.cursor, "ann", 1, NOW, "")
        given = given + page.slate.video_ids
    assert set(given[:2]) == {"film", "show-1"}
    assert given == home.asks().video_ids


def test_nothing_is_gone_on_with_where_there_is_no_place_for_it(folder: Dataset) -> None:
    home = Home(folder, order={"resume": {"places": 0}})
    home.does(Kind.WATCH, "film", 2_000.0)
    home.does(Kind.WATCH, "show-1", 300.0)
    slate = home.asks()
    assert set(slate.video_ids) == {"show-2", "song", "etude"}
    assert not {"continue_watching", "next_episode"} & set(slate.sources)


def test_new_videos_of_a_channel_that_one_follows_say_so(folder: Dataset) -> None:
    home = Home(folder)
    home.does(Kind.SUBSCRIBE, channel_id="music")
    slate = home.asks()
    place = slate.video_ids.index("etude")
    assert (slate.sources[place], slate.reasons[place]) == ("subscribed", "new on a channel you follow")
    home.does(Kind.BLOCK, channel_id="music")
    assert "etude" not in home.asks().video_ids
    found = why(home.recommender, Request("ann", NOW), folder.catalogue.row_of["etude"])
    assert found.removed_by == ("not_blocked",)


def test_what_is_shown_again_and_again_gives_its_place_to_others(folder: Dataset) -> None:
    home = Home(folder, filters={"tired_impressions": 3})
    for _ in range(2):
        home.does(Kind.IMPRESSION, "song")
    assert "song" in home.asks().video_ids
    home.does(Kind.IMPRESSION, "song")
    slate = home.asks()
    assert "song" not in slate.video_ids
    assert slate.trace.removed["not_tiring"] == 1
    assert "song" in home.asks("bob").video_ids
