"""The synthetic world: the same for its arguments, readable, with something to learn, and lived forward in time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from nextreel.data import World, load, synthetic
from nextreel.data.schemas import KIND_NAMES
from nextreel.data.world import plan as plans
from nextreel.data.world.plan import END
from nextreel.data.world.truth import Truth, attraction
from nextreel.types import DAY, Kind, NextreelError


@pytest.fixture(scope="module")
def world() -> World:
    return World.make(users=400, videos=300, interactions=40_000, seed=7)


@pytest.fixture(scope="module")
def large() -> World:
    return World.make(users=3_000, videos=1_500, interactions=250_000, seed=11)


def rows_of(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()}


def shown(world: World) -> pl.DataFrame:
    """Impressions with whether they were clicked."""
    keys = ["user_id", "video_id", "request_id"]
    clicks = world.interactions.filter(pl.col("kind") == "click").select(keys).with_columns(clicked=pl.lit(1.0))
    rows = world.interactions.filter(pl.col("kind") == "impression").join(clicks, on=keys, how="left")
    return rows.with_columns(pl.col("clicked").fill_null(0.0))


def places(ids: pl.Series) -> NDArray[np.int64]:
    return ids.str.slice(1).cast(pl.Int64).to_numpy() - 1


def test_a_world_has_exactly_the_sizes_asked_for() -> None:
    for sizes in ((1, 1, 1), (50, 30, 777), (200, 100, 5_000)):
        made = World.make(*sizes)
        assert (made.users.height, made.videos.height, made.interactions.height) == sizes


def test_a_world_of_a_single_day_lasts_a_single_day() -> None:
    at = World.make(100, 50, 500, days=1).interactions["timestamp"].dt.epoch("ms") / 1e3
    assert END - DAY <= at.to_numpy().min() <= at.to_numpy().max() < END


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthetic.write(tmp_path / name, 60, 40, 600, seed)
    a, b, c = (rows_of(tmp_path / name) for name in "abc")
    assert a == b
    tables = {f"{name}.parquet" for name in ("users", "videos", "channels", "interactions")}
    assert tables == {name for name in a if a[name] != c[name] and name.endswith("parquet")}


def test_several_processes_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    for processes in (1, 2):
        synthetic.write(tmp_path / str(processes), 60_000, 90, 5_000, days=10, processes=processes)
    assert len(plans.Plan(60_000, 90, 5_000).shards) == 2
    assert rows_of(tmp_path / "1") == rows_of(tmp_path / "2")


@pytest.mark.parametrize("days", [1, 3, 60])
def test_a_large_world_is_written_in_parts_that_follow_each_other(
    days: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_PART_ROWS", 3_000)
    monkeypatch.setattr(plans, "_SHARD_USERS", 120)
    made = World.make(300, 200, 9_000, seed=5, days=days)
    synthetic.write(tmp_path, 300, 200, 9_000, seed=5, days=days, processes=1)  # spawned ones know no patch
    parts = sorted((tmp_path / "interactions").iterdir())
    assert [one.name for one in parts] == [f"part-{n:05d}.parquet" for n in range(3)]
    written = pl.concat([pl.read_parquet(one) for one in parts])
    assert written.equals(made.interactions)
    assert written["timestamp"].is_sorted()
    assert written["event_id"].to_list() == list(range(1, written.height + 1))
    assert pl.read_parquet(tmp_path / "users.parquet").equals(made.users)
    assert len(load(tmp_path).events) == written.height


def test_a_new_world_takes_the_place_of_an_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(plans, "_PART_ROWS", 300)
        synthetic.write(tmp_path, 50, 50, 900, processes=1)
    tables = ["channels.parquet", "interactions", "users.parquet", "videos.parquet", "world"]
    assert sorted(one.name for one in tmp_path.iterdir()) == tables
    synthetic.write(tmp_path, 10, 10, 30)
    tables[1] = "interactions.parquet"
    assert sorted(one.name for one in tmp_path.iterdir()) == tables


def test_a_world_that_cannot_be_leaves_the_older_one_as_it_was(tmp_path: Path) -> None:
    synthetic.write(tmp_path, 10, 10, 30)
    before = rows_of(tmp_path)
    with pytest.raises(NextreelError, match="more users or videos"):
        synthetic.write(tmp_path, 2, 2, 5_000)
    assert rows_of(tmp_path) == before


def test_a_written_world_loads_without_a_warning_and_its_truth_comes_back(tmp_path: Path) -> None:
    made = World.make(60, 40, 600, 3)
    made.write(tmp_path)
    found = load(tmp_path)
    assert len(found.events) == 600
    assert found.timed
    assert found.manifest.warnings == ()
    assert found.manifest.counts["videos_without_metadata"] == 0
    np.testing.assert_array_equal(found.events.at, made.dataset().events.at)
    truth = Truth.open(tmp_path)
    pairs = (["u1", "u60"], ["v40", "v2"])
    np.testing.assert_array_equal(truth.preference(*pairs), made.preference(*pairs))
    np.testing.assert_array_equal(truth.preference(*pairs, at=0.0), made.preference(*pairs, at=0.0))


def test_titles_can_be_read_and_do_not_repeat(large: World) -> None:
    titles = large.videos["title"]
    assert titles.n_unique() == len(titles)
    assert titles.str.contains(r"^\p{Lu}|^\d|^[¡¿]").all()
    assert not titles.str.contains(r"[{}]").any()
    assert large.videos["category"].n_unique() == 10
    assert 0 < large.videos["is_available"].not_().sum() < 150


def test_all_kinds_of_answers_happen_and_watches_have_a_length(world: World) -> None:
    assert set(world.interactions["kind"]) == set(KIND_NAMES)
    watches = world.interactions.filter(pl.col("kind") == "watch").join(world.videos, on="video_id")
    assert watches["watch_time"].null_count() == 0
    assert (watches["watch_time"] <= watches["duration"] + 0.1).all()
    about_channel = world.interactions["kind"].is_in(["subscribe", "block"])
    assert (world.interactions["channel_id"].is_not_null() == about_channel).all()
    assert (world.interactions["video_id"].is_null() == about_channel).all()


def test_nothing_happens_before_its_time(world: World) -> None:
    rows = world.interactions.join(world.users, on="user_id").join(world.videos, on="video_id", how="left")
    assert rows.height == world.interactions.height
    assert (rows["timestamp"] >= rows["published_at"]).fill_null(value=True).all()
    assert (rows["timestamp"] >= rows["created_at"]).all()
    assert world.interactions["timestamp"].is_sorted()
    assert (world.interactions["timestamp"].dt.epoch("s") <= END).all()


def test_nobody_is_shown_again_what_they_watched(large: World) -> None:
    watches = large.interactions.filter(pl.col("kind") == "click")
    assert watches.select("user_id", "video_id").is_unique().all()
    rows = shown(large).join(watches.select("user_id", "video_id", at="timestamp"), on=["user_id", "video_id"])
    assert (rows["timestamp"] < rows["at"]).all()


def test_a_request_is_one_list_of_one_person_on_one_device(large: World) -> None:
    requests = large.interactions.group_by("request_id").agg(
        pl.col("user_id", "device", "location").n_unique(),
        place=pl.col("position").filter(pl.col("kind") == "impression").sort(),
    )
    assert (requests.select("user_id", "device", "location") == 1).to_numpy().all()
    depth = requests["place"].list.len()
    assert (requests["place"].list.last() == depth - 1).all()
    assert (requests["place"].list.n_unique() == depth).all()
    assert depth.max() == 10


def test_clicks_follow_the_known_examination_of_each_place(large: World) -> None:
    rows = shown(large)
    following, at = large.truth.videos.following, rows["timestamp"].dt.epoch("ms").to_numpy() / 1e3
    alone = ~np.isin(places(rows["video_id"]), following[following >= 0])  # continued series win more clicks
    expected = large.truth.click_probability(
        rows["user_id"].to_list(), rows["video_id"].to_list(), at, rows["position"].to_numpy()
    )
    for place in range(10):
        of = alone & (rows["position"].to_numpy() == place)
        error = rows["clicked"].to_numpy()[of] - expected[of]
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(of.sum())
    assert (np.diff(large.truth.examination) < 0).all()
    assert large.truth.click_probability(["u1"], ["v1"], position=9) < large.truth.click_probability(["u1"], ["v1"])


def test_people_follow_their_interests_as_these_grow_and_fade(large: World) -> None:
    people = large.truth.people
    risen = np.argmax(people.later_shares - people.shares, axis=1)
    everybody = np.arange(len(people))
    rise = (people.later_shares - people.shares)[everybody, risen]
    assert 0.3 < (rise > 0).mean() < 0.5
    rows = large.interactions.filter(pl.col("kind") == "click")
    user, video = places(rows["user_id"]), places(rows["video_id"])
    of_risen = large.truth.videos.child[video] == people.interest_child[user, risen[user]]
    at = rows["timestamp"].dt.epoch("ms").to_numpy() / 1e3
    moved = rise[user] > 0.4
    early, late = at < END - 40 * DAY, at > END - 20 * DAY
    assert of_risen[moved & late].mean() > of_risen[moved & early].mean() + 0.1


def test_true_preferences_move_with_time_for_those_whose_interests_do(large: World) -> None:
    people = large.truth.people
    still = (people.shares == people.later_shares).all(axis=1)
    users = [f"u{place + 1}" for place in np.concatenate([np.flatnonzero(still)[:50], np.flatnonzero(~still)[:50]])]
    pairs = np.repeat(users, 20), np.tile(large.videos["video_id"].to_list()[:20], 100)
    first, middle, last = (large.preference(*pairs, at=END - days * DAY).reshape(100, 20) for days in (60, 30, 0))
    np.testing.assert_array_equal(first[:50], last[:50])
    assert (np.abs(first - last)[50:] > 1e-3).mean() > 0.3
    np.testing.assert_array_equal(large.preference(*pairs).reshape(100, 20), last)
    assert np.abs(first - middle).max() > 0.05


def test_what_is_popular_in_one_week_is_not_so_in_the_last(large: World) -> None:
    clicks = large.interactions.filter(pl.col("kind") == "click").with_columns(
        at=pl.col("timestamp").dt.epoch("ms") / 1e3
    )

    def most(low: float, high: float) -> set[str]:
        week = clicks.filter(pl.col("at").is_between(END - high * DAY, END - low * DAY))
        return set(week["video_id"].value_counts().sort("count", "video_id", descending=True)["video_id"][:50])

    assert len(most(53, 60) & most(0, 7)) < 20
    assert len(most(46, 53) & most(53, 60)) > len(most(53, 60) & most(0, 7)) + 5


def test_videos_come_every_day_and_are_shown_within_three(large: World) -> None:
    published = large.truth.videos.published
    new = np.flatnonzero(published > END - 57 * DAY)
    new = new[published[new] < END - 4 * DAY]
    assert len(np.unique((published[new] - END) // DAY)) == 53
    first = shown(large).group_by("video_id").agg(pl.col("timestamp").min())
    at = np.full(len(published), np.inf)
    at[places(first["video_id"])] = first["timestamp"].dt.epoch("ms").to_numpy() / 1e3
    assert (at[new] - published[new] < 3 * DAY).mean() > 0.95


def test_who_watched_an_episode_well_goes_on_to_the_next(large: World) -> None:
    videos, people = large.truth.videos, len(large.truth.people)
    assert 0.1 < (videos.series >= 0).mean() < 0.3
    part = np.zeros((people, len(videos)), np.float32)
    rows = large.interactions.filter(pl.col("kind") == "watch")
    user, video = places(rows["user_id"]), places(rows["video_id"])
    part[user, video] = rows["watch_time"].to_numpy() / videos.duration[video]
    pair = np.flatnonzero(videos.following >= 0)
    well, after = part[:, pair] > 0.4, part[:, videos.following[pair]] > 0
    assert after[well].mean() > 0.25
    assert after[well].mean() > 10 * after[~well].mean()


def test_episodes_come_out_in_order_on_one_channel(large: World) -> None:
    videos = large.truth.videos
    first = np.flatnonzero(videos.following >= 0)
    then = videos.following[first]
    assert (videos.episode[then] == videos.episode[first] + 1).all()
    for of in (videos.series, videos.channel, videos.language, videos.maturity, videos.child):
        np.testing.assert_array_equal(of[first], of[then])
    assert (videos.published[then] > videos.published[first]).all()
    title = large.videos["title"][int(then[0])]
    assert title.endswith(f"Episode {videos.episode[then[0]]}")


def test_subscribers_see_more_of_a_channel_and_blockers_nothing_more(large: World) -> None:
    rows = shown(large).join(large.videos.select("video_id", of="channel_id"), on="video_id")
    for kind in ("subscribe", "block"):
        told = large.interactions.filter(pl.col("kind") == kind).select("user_id", of="channel_id", when="timestamp")
        assert told.select("user_id", "of").is_unique().all()
        later = told.join(rows, on=["user_id", "of"]).filter(pl.col("timestamp") > pl.col("when"))
        if kind == "block":
            assert later.height == 0
            continue
        after = told.join(rows.drop("of"), on="user_id").filter(pl.col("timestamp") > pl.col("when"))
        usual = rows["of"].value_counts().join(told, on="of")["count"].mean()
        assert isinstance(usual, float)
        assert later.height / after.height > 2 * usual / rows.height


def hit_rate(scores: NDArray[np.floating], seen: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    who = truth.any(axis=1) & seen.any(axis=1)
    top = np.argsort(-np.where(seen, -np.inf, scores)[who], axis=1, kind="stable")[:, :10]
    return float(np.take_along_axis(truth[who], top, axis=1).any(axis=1).mean())


def test_neighbours_and_the_truth_foresee_later_watches_better_than_popularity(world: World) -> None:
    dataset = world.dataset()
    people, videos = len(dataset.profiles), len(dataset.catalogue)
    cut = int(0.8 * len(dataset.events))
    watched = dataset.events.kind == Kind.WATCH
    early = watched & (np.arange(len(watched)) < cut)
    seen, later = np.zeros((2, people, videos), np.bool_)
    seen[dataset.events.user[early], dataset.events.video[early]] = True
    late = watched & ~early
    later[dataset.events.user[late], dataset.events.video[late]] = True
    together = seen.T.astype(np.float64) @ seen
    size = np.sqrt(np.diag(together) + 1e-9)
    np.fill_diagonal(together, 0)
    popular = hit_rate(np.tile(seen.sum(axis=0), (people, 1)), seen, later)
    neighbours = hit_rate(seen @ (together / np.outer(size, size)), seen, later)
    pairs = world.users["user_id"].to_list(), world.videos["video_id"].to_list()
    preference = world.preference(np.repeat(pairs[0], videos), np.tile(pairs[1], people)).reshape(people, videos)
    assert neighbours > popular + 0.2
    assert hit_rate(preference, seen, later) > popular + 0.25


def test_a_visit_stays_nearer_to_one_interest_than_later_ones_do(world: World) -> None:
    watches = (
        world.interactions.filter(pl.col("kind") == "watch")
        .join(world.videos.select("video_id", child=pl.col("child_categories").list.first()), on="video_id")
        .sort("user_id", "timestamp")
        .with_columns(
            same=pl.col("child") == pl.col("child").shift(1).over("user_id"),
            visit=pl.col("request_id") == pl.col("request_id").shift(1).over("user_id"),
        )
    )
    within = watches.filter("visit")["same"].drop_nulls().to_numpy()
    across = watches.filter(~pl.col("visit"))["same"].drop_nulls().to_numpy()
    assert within.mean() > across.mean() + 0.03


def test_what_is_liked_is_watched_longer_and_long_videos_in_smaller_part(large: World) -> None:
    watches = large.interactions.filter(pl.col("kind") == "watch").join(large.videos, on="video_id")
    truth = large.preference(watches["user_id"].to_list(), watches["video_id"].to_list())
    part = (watches["watch_time"] / watches["duration"]).to_numpy()
    assert part[truth > 0.7].mean() > part[truth < 0.3].mean() + 0.2
    long, short = (watches["duration"] > 1_500).to_numpy(), (watches["duration"] < 400).to_numpy()
    liked = truth > 0.7
    assert part[liked & short].mean() > part[liked & long].mean() + 0.04
    assert (watches["watch_time"].to_numpy() < 3).mean() > 0.02  # some are left at once
    assert 0.1 < (part > 0.99).mean() < 0.5


def test_the_chance_of_a_click_grows_with_preference() -> None:
    np.testing.assert_allclose(attraction(np.array([0.0, 1.0], np.float32)), [0.06, 0.92], atol=1e-6)


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(NextreelError, match=r"at least 1 .* got 0 users"):
        World.make(users=0)
    with pytest.raises(NextreelError, match="a seed of at least 0, got -1"):
        World.make(seed=-1)
    with pytest.raises(NextreelError, match="more users or videos"):
        World.make(2, 2, 5_000)


MEASURED = """
import resource, sys
from pathlib import Path
from nextreel.data import synthetic
if __name__ == "__main__":
    synthetic.write(Path(sys.argv[1]), 10_000, 2_000, 1_000_000)
    used = resource.getrusage(resource.RUSAGE_SELF)
    # not ru_maxrss, which begins with what the process that started this one holds
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    print(used.ru_utime + used.ru_stime, peak.split()[1])
"""


@pytest.mark.slow
def test_a_hundredth_of_the_largest_world_takes_a_hundredth_of_twenty_minutes_and_little_memory(tmp_path: Path) -> None:
    script = tmp_path / "measured.py"
    script.write_text(MEASURED)
    done = subprocess.run([sys.executable, script, tmp_path / "world"], capture_output=True, text=True, check=True)  # noqa: S603
    seconds, kilobytes = map(float, done.stdout.split())
    assert seconds < 12  # of one core
    assert kilobytes < 600_000
    assert pl.scan_parquet(tmp_path / "world" / "interactions.parquet").select(pl.len()).collect().item() == 1_000_000
