"""A trained release whose catalogue changes while several systems, and several processes, serve it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shutil import copytree
from subprocess import PIPE, Popen
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextreel.backends import open_key_value
from nextreel.opening import SHARED, open_system
from nextreel.system import System
from nextreel.types import Event, Kind, NextreelError, Request, VideoId
from nextreel.uploads import Change, Changes, Upload, WrongUpload

SOMEONE = "person-7"
WITHIN = 1.0  # second, by which everybody knows of a change


@pytest.fixture
def opened(home: Path) -> Iterator[Callable[[], System]]:
    """Opens as many systems on one home as are wanted."""
    systems: list[System] = []

    def opened() -> System:
        systems.append(open_system(home, clock="end"))
        return systems[-1]

    yield opened
    for system in systems:
        system.close()


def everything(system: System, user_id: str | None = SOMEONE) -> list[VideoId]:
    """All videos that a list so long may hold."""
    slate = system.recommend(Request(user_id, system.now(), len(system.catalogue)))
    assert (slate.level, slate.trace.failures) == ("full", {})
    return slate.video_ids


def likes(system: System, user_id: str = SOMEONE) -> str:
    """The main category of most of the videos that the person liked."""
    catalogue = system.catalogue
    codes = catalogue.category[system.store.user(user_id).history.liked[0]]
    return catalogue.category_names[np.bincount(codes[codes >= 0]).argmax()]


def proposing(system: System, video_id: VideoId, user_id: str = SOMEONE) -> set[str]:
    """The sources that propose the video to the person, within their quotas."""
    request, user = Request(user_id, system.now(), 10), system.store.user(user_id)
    row = system.catalogue.row_of[video_id]
    return {
        source.retriever.name
        for source in system.recommender.sources
        if row in source.retriever.retrieve(request, user, source.quota)[0]
    }


def test_a_new_video_is_in_the_lists_of_all_systems_within_a_second(opened: Callable[[], System]) -> None:
    here, there = opened(), opened()
    assert here.upload([Upload(video_id="new", category=likes(here), title="New")]) == [("new", True)]
    assert "new" in everything(here)
    started = time.monotonic()
    while "new" not in everything(there):
        assert time.monotonic() - started < WITHIN
        time.sleep(0.01)
    assert there.catalogue.titles[there.catalogue.row_of["new"]] == "New"


def test_a_new_video_of_a_liked_category_is_proposed_to_a_matching_person(opened: Callable[[], System]) -> None:
    system = opened()
    system.upload([Upload(video_id="new", category=likes(system))])
    assert "fresh" in proposing(system, "new")
    moment = system.recommender.gather(Request(SOMEONE, system.now(), 10))
    scored = dict(zip(moment.sources, moment.scores[moment.rows == system.catalogue.row_of["new"]][0], strict=True))
    assert np.isfinite([scored["fresh"], scored["two_tower"]]).all()
    assert np.isnan([scored[name] for name in ("als", "ease", "item_item", "transitions")]).all()  # fitted before


def test_towers_place_a_new_video_by_what_it_is_about(opened: Callable[[], System]) -> None:
    system = opened()
    twin = int(system.store.user(SOMEONE).history.rows[-1])
    catalogue = system.catalogue
    code = catalogue.channel[twin]
    system.upload(
        [
            Upload(
                video_id="twin",
                title=catalogue.titles[twin],
                category=catalogue.category_names[catalogue.category[twin]],
                child_categories=tuple(
                    catalogue.category_names[one] for one in np.flatnonzero(catalogue.categories[twin])
                ),
                channel_id=catalogue.channel_ids[code],
                language=catalogue.language_names[catalogue.language[twin]],
                duration=float(catalogue.duration[twin]),
                tags=tuple(catalogue.tags[twin]),
            )
        ]
    )
    nearest = system.similar("twin", Request(None, system.now(), len(catalogue)))
    places = [video_id for video_id, _ in nearest]
    assert catalogue.video_ids[twin] in places[: len(places) // 4]
    assert "twin" not in places


def test_an_event_about_a_new_video_counts_everywhere(opened: Callable[[], System]) -> None:
    here, there = opened(), opened()
    here.upload([Upload(video_id="new", category="Music", duration=100.0, channel_id="a new channel")])
    time.sleep(0.11)
    row = there.catalogue.row_of["new"]
    at = there.now()
    there.feedback([Event(SOMEONE, at, Kind.WATCH, "new", watch_seconds=90.0), Event(SOMEONE, at, Kind.LIKE, "new")])
    there.feedback([Event(SOMEONE, at, Kind.SUBSCRIBE, channel_id="a new channel")])
    for system in here, there, opened():
        system.store.follow()
        assert (system.store.counters.likes[row], system.store.counters.full_watches[row]) == (1, 1)
        assert system.store.user(SOMEONE).history.rows[-1] == row
        assert system.catalogue.channel_ids.index("a new channel") in system.store.user(SOMEONE).subscribed
        assert system.store.counters.subscribers[-1] == 1
        assert "new" not in everything(system)  # watched
        assert "new" in everything(system, "person-8")


def test_an_event_of_a_video_is_read_together_with_the_video(opened: Callable[[], System]) -> None:
    here, there = opened(), opened()
    here.upload([Upload(video_id="new")])
    here.feedback([Event(SOMEONE, here.now(), Kind.LIKE, "new")])
    there.store.follow()  # both at once: the upload is older
    assert there.store.counters.likes[there.catalogue.row_of["new"]] == 1


def test_who_has_not_heard_of_a_video_answers_people_who_met_it(opened: Callable[[], System]) -> None:
    here, there = opened(), opened()
    stale = there.recommender
    here.upload([Upload(video_id="new", channel_id="a new channel")])
    at = here.now()
    events = [Event(SOMEONE, at, Kind.LIKE, "new"), Event(SOMEONE, at, Kind.SUBSCRIBE, channel_id="a new channel")]
    here.feedback(events)
    slate = stale.recommend(Request(SOMEONE, here.now(), 10))
    assert (slate.level, slate.trace.failures, len(slate.video_ids)) == ("full", {}, 10)


def test_a_list_that_is_being_made_goes_on_over_the_catalogue_it_began_with(opened: Callable[[], System]) -> None:
    system = opened()
    old, n = system.recommender, len(system.catalogue)
    system.upload([Upload(video_id="new", category=likes(system))])
    system.feedback([Event("person-8", system.now(), Kind.LIKE, "new")])
    slate = old.recommend(Request(SOMEONE, system.now(), n))
    assert (slate.level, slate.trace.failures) == ("full", {})
    assert "new" not in slate.video_ids
    assert len(old.store.counters) == n


def test_lists_are_answered_in_full_while_videos_come_and_go(opened: Callable[[], System]) -> None:
    writer, reader = opened(), opened()
    failed: list[object] = []
    done = False

    def ask(system: System, number: int) -> None:
        while not done:
            slate = system.recommend(Request(f"person-{number}", system.now(), 30))
            good = slate.level == "full" and not slate.trace.failures and len(set(slate.video_ids)) == 30
            failed.extend([] if good else [(slate.level, slate.trace.failures)])

    threads = [Thread(target=ask, args=(system, number)) for system in (writer, reader) for number in (7, 8)]
    for thread in threads:
        thread.start()
    for number in range(30):
        writer.upload([Upload(video_id=f"new-{number}", category="Music", channel_id=f"channel-{number}")])
        event = Event(f"person-{7 + number % 2}", writer.now(), Kind.LIKE, f"new-{number}")
        writer.feedback([event])
        if number % 3 == 0:
            reader.withdraw(f"new-{number}")
    done = True
    for thread in threads:
        thread.join()
    assert failed == []
    assert writer.catalogue.changes == 40


def test_a_withdrawn_video_is_in_no_list_of_anybody_and_of_no_later_system(opened: Callable[[], System]) -> None:
    here, there = opened(), opened()
    gone = everything(here)[0]
    here.upload([Upload(video_id="new", category=likes(here))])
    here.withdraw("new")
    here.withdraw(gone)
    time.sleep(0.11)
    for system in here, there, opened():
        assert not {gone, "new"} & set(everything(system))
        assert not {gone, "new"} & set(everything(system, None))
        assert not {gone, "new"} & {one for one, _ in system.trending(Request(None, system.now(), 200))}
        for other in system.catalogue.video_ids[:5]:
            assert not {gone, "new"} & {one for one, _ in system.similar(other, Request(None, system.now(), 200))}
        towers = system._growing.models.two_tower
        assert towers is not None
        rows = {system.catalogue.row_of[gone], system.catalogue.row_of["new"]}
        assert not rows & set(towers.space.search(towers.vectors[0], len(towers))[0].tolist())


def test_a_withdrawn_video_comes_back_with_an_upload(opened: Callable[[], System]) -> None:
    system = opened()
    video_id = everything(system)[0]
    system.withdraw(video_id)
    changes = system.catalogue.changes
    system.withdraw(video_id)  # it is gone already
    assert system.catalogue.changes == changes
    assert system.upload([Upload(video_id=video_id, title="Back")]) == [(video_id, False)]
    assert video_id in everything(system)
    assert system.catalogue.titles[system.catalogue.row_of[video_id]] == "Back"


def test_a_video_told_anew_keeps_its_time_of_publication(opened: Callable[[], System]) -> None:
    system = opened()
    video_id = str(system.catalogue.video_ids[3])
    published = system.catalogue.published_at[3]
    system.upload(
        [Upload(video_id=video_id, title="Other"), Upload(video_id="new"), Upload(video_id="old", published_at=5.0)]
    )
    assert system.catalogue.published_at[3] == published
    assert system.catalogue.published_at[-1] == 5.0
    assert system.catalogue.published_at[-2] == pytest.approx(system.now(), abs=5)


def test_nothing_is_taken_of_a_list_with_a_wrong_video(opened: Callable[[], System]) -> None:
    system = opened()
    with pytest.raises(WrongUpload):
        system.upload([Upload(video_id="7"), Upload(video_id=7)])
    with pytest.raises(NextreelError, match="No video 'nothing'"):
        system.withdraw("nothing")
    assert system.catalogue.changes == 0
    assert "7" not in system.catalogue.row_of


def test_a_change_of_somebody_who_died_before_following_it_is_not_lost(
    opened: Callable[[], System], home: Path
) -> None:
    here = opened()
    Changes(here.shared).append(Change(time.time(), (Upload(video_id="new"),)), 1)  # and nothing more
    assert here.upload([Upload(video_id="newer")]) == [("newer", True)]
    for system in here, opened():
        assert system.catalogue.video_ids[-2:].tolist() == ["new", "newer"]


def test_two_writers_at_once_have_one_order(opened: Callable[[], System], monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = opened(), opened()
    catch_up = here._catch_up
    quicker = iter([True])

    def overtaken() -> None:
        catch_up()
        if next(quicker, False):
            there.upload([Upload(video_id="both", title="first")])

    monkeypatch.setattr(here, "_catch_up", overtaken)
    assert here.upload([Upload(video_id="both", title="second")]) == [("both", False)]  # the other one was new
    for system in here, opened():
        assert system.catalogue.titles[system.catalogue.row_of["both"]] == "second"
        assert system.catalogue.changes == 2


def test_changes_lie_in_the_store_that_the_url_names(home: Path, redis_url: str) -> None:
    url = f"{redis_url}?prefix=test-growing"
    system = open_system(home, clock="end", state_url=url)
    system.upload([Upload(video_id="new", published_at=5.0)])
    system.close()
    again = open_system(home, clock="end", state_url=url)
    assert "new" in everything(again)
    again.close()
    assert not (home / SHARED).exists()


PROCESS = """
import json, sys, time
from pathlib import Path
from nextreel.opening import open_system
from nextreel.types import Request
system = open_system(Path(sys.argv[1]), clock="end")
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    wanted, there = json.loads(line)
    started = time.monotonic()
    while (wanted in system.recommend(Request(None, system.now(), len(system.catalogue))).video_ids) != there:
        if time.monotonic() - started > 20:
            break
        time.sleep(0.01)
    print(json.dumps([wanted in system.catalogue.row_of, time.monotonic() - started]), flush=True)
"""


def test_another_process_shows_a_new_video_and_hides_a_withdrawn_one_within_a_second(
    opened: Callable[[], System], home: Path
) -> None:
    with Popen([sys.executable, "-c", PROCESS, str(home)], stdin=PIPE, stdout=PIPE, text=True) as other:  # noqa: S603  our own
        assert other.stdin is not None
        assert other.stdout is not None
        assert json.loads(other.stdout.readline()) == "ready"
        system = opened()
        for there, change in (
            (True, lambda: system.upload([Upload(video_id="new")])),
            (False, lambda: system.withdraw("new")),
        ):
            change()
            other.stdin.write(json.dumps(["new", there]) + "\n")
            other.stdin.flush()
            known, waited = json.loads(other.stdout.readline())
            assert known
            assert waited < WITHIN
        other.stdin.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("upload"), st.integers(0, 5), st.sampled_from(["Music", "Baking", "a new category"])),
        st.tuples(st.just("withdraw"), st.integers(0, 5), st.just("")),
        st.tuples(st.just("like"), st.integers(0, 5), st.sampled_from(["person-7", "person-8"])),
    ),
    min_size=1,
    max_size=6,
)
NAMES: Sequence[str] = ("v1", "v2", "v60", "new-1", "new-2", "new-3")


def done(system: System, what: str, video_id: str, how: str) -> None:
    if what == "upload":
        system.upload([Upload(video_id=video_id, title=f"{video_id} {how}", category=how)])
    elif video_id not in system.catalogue.row_of:
        return
    elif what == "withdraw":
        system.withdraw(video_id)
    else:
        system.feedback([Event(how, system.data_end, Kind.LIKE, video_id)])


@settings(max_examples=8, deadline=None)
@given(steps=STEPS)
def test_any_changes_followed_one_by_one_equal_opening_anew(
    trained: Path, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, str]]
) -> None:
    home = Path(copytree(trained, tmp_path_factory.mktemp("anew") / "home"))
    follower, writer = open_system(home, clock="end"), open_system(home, clock="end")
    for what, which, how in steps:
        done(writer, what, NAMES[which], how)
        follower.store.follow()
    anew = open_system(home, clock="end")
    at = anew.data_end
    answers = []
    for system in writer, follower, anew:
        system._catch_up()
        slate = system.recommend(Request("person-7", at, len(system.catalogue)))
        assert (slate.level, slate.trace.failures) == ("full", {})
        towers, counters = system._growing.models.two_tower, system.store.counters
        assert towers is not None
        columns: tuple[NDArray[Any], ...] = (
            slate.value,
            towers.vectors,
            counters.likes,
            counters.trend,
            system.catalogue.available,
        )
        answers.append((slate.video_ids, system.catalogue.category_names, list(system.catalogue.titles), columns))
        system.close()
    for one in answers[:-1]:
        assert one[:3] == answers[-1][:3]
        for mine, theirs in zip(one[3], answers[-1][3], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_a_home_that_another_store_was_named_for_begins_without_changes(
    opened: Callable[[], System], home: Path
) -> None:
    opened().upload([Upload(video_id="new")])
    other = open_system(home, clock="end", state_url="memory://")
    assert other.catalogue.changes == 0
    other.close()
    shared = open_key_value(f"sqlite://{home / SHARED}")
    assert len(Changes(shared).after(0)) == 1
    shared.close()
