"""Equal requests share a slate, and no other ones do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from prometheus_client import REGISTRY

from nextreel import slates
from nextreel.backends import open_key_value
from nextreel.declared import DeclaredValue
from nextreel.opening import open_system
from nextreel.pipeline import Recommender
from nextreel.slates import Asked, SharedSlates, Slates
from nextreel.types import UNKNOWN, BoolArray, Event, Kind, NextreelError, Request, RowArray, Slate, Trace, UserState


class Catalogue:
    """Knows the first videos of every slate here."""

    def __init__(self, rows: int) -> None:
        self.row_of = {10 + row: row for row in range(rows)}

    def rows(self, video_ids: list[int]) -> RowArray:
        return np.array([self.row_of.get(video_id, UNKNOWN) for video_id in video_ids], np.int32)


class Keeper:
    """All that is asked of a recommender; as others, it is known by its identity."""

    release = "release"

    def __init__(self, rows: int = 2) -> None:
        self.unfit: set[int] = set()
        self.catalogue = Catalogue(rows)

    def keeps(self, request: Request, rows: RowArray) -> BoolArray:
        return np.array([row not in self.unfit for row in rows.tolist()])


RECOMMENDER = cast("Recommender", Keeper())
EDITION = "release relevance"
ASKED = Request(1, at=5.0, k=2, request_id="a")


def slate(request: Request, propensity: float = 1.0, failures: dict[str, str] | None = None) -> Slate:
    numbers = np.ones(2, np.float32)
    return Slate(
        request=request,
        rows=np.arange(2, dtype=np.int32),
        video_ids=[10, 11],
        value=numbers,
        objectives=numbers[:, None],
        sources=["als"] * 2,
        reasons=[""] * 2,
        propensities=numbers * np.float32(propensity),
        promoted=np.zeros(2, np.bool_),
        trace=Trace(milliseconds={"rank": 1.0}, failures=failures or {}),
        release="r",
        level="full",
    )


class Computed:
    """Computes slates and counts them."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Slate:
        self.asked.append(request)
        return slate(request, **self.options)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that has passed for caches, to be changed."""
    now = [0.0]
    monkeypatch.setattr(slates, "monotonic", lambda: now[0])
    return now


def test_an_equal_request_gets_the_same_slate_under_its_own_name() -> None:
    cache, compute = Slates(60), Computed()
    first = cache.get(Asked(ASKED, UserState(1), RECOMMENDER, EDITION), compute)
    later = replace(ASKED, at=6.0, request_id="b")
    second = cache.get(Asked(later, UserState(1), RECOMMENDER, EDITION), compute)
    assert len(compute.asked) == 1
    assert second.request is later
    assert second.rows is first.rows
    assert list(second.trace.milliseconds) == ["cache"]
    assert first.trace.milliseconds == {"rank": 1.0}


OTHER: dict[str, Any] = {
    "user_id": "1",
    "k": 3,
    "session_id": "s",
    "device": "tv",
    "country": "de",
    "categories": ("news",),
    "languages": ("de",),
    "max_maturity": 12,
    "max_age_days": 3.0,
    "exclude": (4,),
    "variant": "b",
    "seed": 1,
    "anytime": True,
    "surface": "home",
    "explain": True,
}


@pytest.mark.parametrize("name", [one.name for one in fields(Request) if one.name not in ("request_id", "at")])
def test_a_request_that_differs_in_anything_but_id_and_time_is_computed(name: str) -> None:
    cache, compute = Slates(60), Computed()
    cache.get(Asked(ASKED, UserState(1), RECOMMENDER, EDITION), compute)
    cache.get(Asked(replace(ASKED, **{name: OTHER[name]}), UserState(1), RECOMMENDER, EDITION), compute)
    assert len(compute.asked) == 2


@pytest.mark.parametrize("moved", [{"version": 1}, {"offset": 9}, {"known": True}])
def test_another_state_of_the_person_is_another_request(moved: dict[str, Any]) -> None:
    cache, compute = Slates(60), Computed()
    cache.get(Asked(ASKED, UserState(1), RECOMMENDER, EDITION), compute)
    cache.get(Asked(ASKED, UserState(1, **moved), RECOMMENDER, EDITION), compute)
    assert len(compute.asked) == 2


def test_another_recommender_forgets_what_the_last_one_answered() -> None:
    cache, compute, other = Slates(60), Computed(), cast("Recommender", Keeper())
    for recommender in (RECOMMENDER, other, other, RECOMMENDER):
        cache.get(Asked(ASKED, UserState(1), recommender, EDITION), compute)
    assert len(compute.asked) == 3


def test_a_slate_with_a_video_that_may_no_longer_be_shown_is_computed_anew() -> None:
    cache, compute, keeper = Slates(60), Computed(), Keeper()
    cache.get(Asked(ASKED, UserState(1), cast("Recommender", keeper), EDITION), compute)
    keeper.unfit.add(1)
    cache.get(Asked(ASKED, UserState(1), cast("Recommender", keeper), EDITION), compute)
    assert len(compute.asked) == 2


def test_a_slate_is_forgotten_after_its_seconds(clock: list[float]) -> None:
    cache, compute = Slates(2.0), Computed()
    for clock[0], computed in ((0.0, 1), (1.9, 1), (2.1, 2), (4.0, 2), (4.2, 3)):
        cache.get(Asked(ASKED, UserState(1), RECOMMENDER, EDITION), compute)
        assert len(compute.asked) == computed


@pytest.mark.parametrize("options", [{"propensity": 0.5}, {"failures": {"als": "broken"}}])
def test_what_chance_chose_or_a_failure_made_worse_is_not_remembered(options: dict[str, Any]) -> None:
    cache, compute = Slates(60), Computed(**options)
    for _ in range(2):
        cache.get(Asked(ASKED, UserState(1), RECOMMENDER, EDITION), compute)
    assert len(compute.asked) == 2


def test_without_seconds_nothing_is_remembered_and_only_nobody_shares() -> None:
    cache, compute = Slates(), Computed()
    nobody = replace(ASKED, user_id=None)
    assert (cache.shares(nobody), cache.shares(ASKED)) == (True, False)
    assert Slates(1).shares(ASKED)
    assert not Slates(1).shares(replace(ASKED, explain=True))
    for _ in range(2):
        cache.get(Asked(nobody, UserState(None), RECOMMENDER, EDITION), compute)
    assert len(compute.asked) == 2


def test_the_cache_is_bounded_by_the_videos_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slates, "VIDEOS_KEPT", 30)
    cache, compute = Slates(60), Computed()
    for number in range(20):
        cache.get(Asked(replace(ASKED, seed=number), UserState(1), RECOMMENDER, EDITION), compute)
    assert REGISTRY.get_sample_value("nextreel_cache_entries", {"cache": "slates"}) == 10  # each of two, and one
    cache.get(Asked(replace(ASKED, seed=19), UserState(1), RECOMMENDER, EDITION), compute)
    assert len(compute.asked) == 20
    cache.get(Asked(ASKED, UserState(1), RECOMMENDER, EDITION), compute)
    assert len(compute.asked) == 21


def together(cache: Slates, compute: Callable[[Request], Slate], many: int) -> list[Slate | BaseException]:
    """The slates, or what was raised instead, of equal requests that all come while the first of them is computed."""
    waiting = threading.Semaphore(0)

    class Watched(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            waiting.release()
            return super().result(timeout)

    everybody = threading.Event()

    def after_all_came(request: Request) -> Slate:
        assert everybody.wait(10)
        return compute(request)

    def ask(number: int) -> Slate | BaseException:
        request = replace(ASKED, user_id=None, request_id=str(number))
        try:
            return cache.get(Asked(request, UserState(None), RECOMMENDER, EDITION), after_all_came)
        except NextreelError as error:
            return error

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(many) as pool:
        patch.setattr(slates, "Future", Watched)
        asking = [pool.submit(ask, number) for number in range(many)]
        assert all(waiting.acquire(timeout=10) for _ in range(many - 1))
        everybody.set()
        return [one.result(10) for one in asking]


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_equal_requests_under_way_are_computed_once(seconds: float) -> None:
    compute = Computed()
    before = REGISTRY.get_sample_value("nextreel_single_flight_joins_total") or 0.0
    got = together(Slates(seconds), compute, 6)
    assert len(compute.asked) == 1
    assert [one.request.request_id for one in got if isinstance(one, Slate)] == list("012345")
    assert REGISTRY.get_sample_value("nextreel_single_flight_joins_total") == before + 5


@pytest.mark.parametrize("options", [{"propensity": 0.5}, {"failures": {"als": "broken"}}])
def test_who_waited_for_what_cannot_be_shared_computes(options: dict[str, Any]) -> None:
    compute = Computed(**options)
    together(Slates(60), compute, 4)
    assert len(compute.asked) == 4


def test_who_waited_for_a_request_that_failed_asks_for_themselves() -> None:
    computed = Computed()
    failed: list[str] = []

    def compute(request: Request) -> Slate:
        if not failed:
            failed.append(request.request_id)
            raise NextreelError("the first one fails")
        return computed(request)

    got = together(Slates(60), compute, 4)
    assert sum(isinstance(one, NextreelError) for one in got) == 1
    assert len(computed.asked) == 3


def test_a_filter_that_fails_on_a_remembered_slate_has_it_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, compute, keeper = Slates(60), Computed(), Keeper()
    asked = Asked(ASKED, UserState(1), cast("Recommender", keeper), EDITION)
    cache.get(asked, compute)
    monkeypatch.setattr(keeper, "keeps", lambda *_: 1 / 0)
    cache.get(asked, compute)
    assert len(compute.asked) == 2


def outcomes() -> dict[str, float]:
    """How often the shared cache was looked into, by what came of it."""
    name = "nextreel_cache_requests_total"
    found = ("hit", "miss", "failed")
    return {one: REGISTRY.get_sample_value(name, {"cache": "shared_slates", "outcome": one}) or 0.0 for one in found}


@pytest.fixture
def shared(redis_url: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], SharedSlates]]:
    """Opens one shared cache of the test's own, as several processes do."""
    opened: list[SharedSlates] = []

    def shared() -> SharedSlates:
        opened.append(SharedSlates(open_key_value(f"{redis_url}?prefix={request.node.name}"), 60.0))
        return opened[-1]

    yield shared
    for one in opened:
        one.close()


def test_another_process_finds_the_slate_and_keeps_it_no_longer(
    shared: Callable[[], SharedSlates], clock: list[float]
) -> None:
    here, there, compute = Slates(60, shared()), Slates(60, shared()), Computed()
    first = here.get(Asked(ASKED, UserState(1), RECOMMENDER, EDITION), compute)
    late = replace(ASKED, at=ASKED.at + 50, request_id="b")
    other = cast("Recommender", Keeper())
    second = there.get(Asked(late, UserState(1), other, EDITION), compute)
    assert len(compute.asked) == 1
    assert second.request is late
    assert (second.video_ids, second.rows.tolist(), second.level) == (first.video_ids, first.rows.tolist(), "full")
    assert (second.sources, second.value.tolist()) == (first.sources, first.value.tolist())
    before = outcomes()
    there.get(Asked(late, UserState(1), other, EDITION), compute)  # in the process itself by now
    assert outcomes() == before
    clock[0] = 10.1
    there.get(Asked(late, UserState(1), other, EDITION), compute)  # it was 50 seconds old
    assert outcomes()["hit"] == before["hit"] + 1


@pytest.mark.parametrize(
    ("request_", "user", "edition"),
    [
        (ASKED, UserState(1), "release likes"),
        (ASKED, UserState(1, version=2), EDITION),
        (replace(ASKED, user_id="1"), UserState("1"), EDITION),
        (replace(ASKED, exclude=(10,)), UserState(1), EDITION),
    ],
)
def test_processes_share_no_slate_of_another_edition_person_state_or_request(
    shared: Callable[[], SharedSlates], request_: Request, user: UserState, edition: str
) -> None:
    here, there, compute = Slates(60, shared()), Slates(60, shared()), Computed()
    here.get(Asked(ASKED, UserState(1), RECOMMENDER, EDITION), compute)
    there.get(Asked(request_, user, RECOMMENDER, edition), compute)
    assert len(compute.asked) == 2


@pytest.mark.parametrize("spoilt", ["removed", "unfit", "unreadable"])
def test_what_another_process_kept_is_not_shown_when_it_no_longer_may_be(
    shared: Callable[[], SharedSlates], redis_url: str, request: pytest.FixtureRequest, spoilt: str
) -> None:
    here, there, compute = Slates(60, shared()), Slates(60, shared()), Computed()
    here.get(Asked(ASKED, UserState(1), RECOMMENDER, EDITION), compute)
    keeper = Keeper(rows=1 if spoilt == "removed" else 2)
    keeper.unfit = {1} if spoilt == "unfit" else set()
    asked = Asked(ASKED, UserState(1), cast("Recommender", keeper), EDITION)
    if spoilt == "unreadable":
        store = open_key_value(f"{redis_url}?prefix={request.node.name}")
        store.put_many([(asked.name(), b"what is this?", None)])
        store.close()
    there.get(asked, compute)
    assert len(compute.asked) == 2


def test_chance_and_failures_stay_in_the_process(shared: Callable[[], SharedSlates]) -> None:
    for options in ({"propensity": 0.5}, {"failures": {"als": "broken"}}):
        here, there, compute = Slates(60, shared()), Slates(60, shared()), Computed(**options)
        for cache in (here, there):
            cache.get(Asked(ASKED, UserState(1), RECOMMENDER, EDITION), compute)
        assert len(compute.asked) == 2


def test_a_shared_cache_that_is_down_costs_no_answer_and_is_left_alone_for_a_while(clock: list[float]) -> None:
    with socket.socket() as free:  # where nothing listens
        free.bind(("127.0.0.1", 0))
        nowhere = SharedSlates(open_key_value(f"redis://127.0.0.1:{free.getsockname()[1]}/0"), 60.0)
    cache, compute, before = Slates(60, nowhere), Computed(), outcomes()
    for number in range(5):
        cache.get(Asked(replace(ASKED, seed=number), UserState(1), RECOMMENDER, EDITION), compute)
    assert len(compute.asked) == 5
    assert outcomes() == before | {"failed": before["failed"] + 1}
    clock[0] = slates.AGAIN_AFTER
    cache.get(Asked(replace(ASKED, seed=9), UserState(1), RECOMMENDER, EDITION), compute)
    assert outcomes()["failed"] == before["failed"] + 2
    nowhere.close()


def test_systems_of_one_home_share_slates_by_the_url_that_they_are_given(home: Path, redis_url: str) -> None:
    url = f"{redis_url}?prefix=test-systems"
    here, there = (open_system(home, clock="end", slate_cache_seconds=60, cache_url=url) for _ in range(2))
    first = here.recommend(Request("person-7", here.now()))
    again = there.recommend(Request("person-7", there.now()))
    assert "rank" in first.trace.milliseconds
    assert list(again.trace.milliseconds) == ["cache"]
    assert (again.video_ids, again.reasons, again.release) == (first.video_ids, first.reasons, first.release)
    here.feedback([Event("person-7", here.now(), Kind.HIDE, first.video_ids[0])])
    time.sleep(0.11)
    assert first.video_ids[0] not in there.recommend(Request("person-7", there.now())).video_ids
    here.close()
    there.close()


def test_a_persons_event_shows_in_the_next_slate_although_slates_are_remembered(home: Path) -> None:
    system, elsewhere = (open_system(home, clock="end", slate_cache_seconds=60) for _ in range(2))
    first = system.recommend(Request("person-7", system.now()))
    again = system.recommend(Request("person-7", system.now()))
    assert list(again.trace.milliseconds) == ["cache"]
    assert again.video_ids == first.video_ids
    system.feedback([Event("person-7", system.now(), Kind.LIKE, first.video_ids[0])])
    assert first.video_ids[0] not in system.recommend(Request("person-7", system.now())).video_ids
    now = system.recommend(Request("person-7", system.now())).video_ids
    elsewhere.feedback([Event("person-7", system.now(), Kind.HIDE, now[0])])
    time.sleep(0.11)
    assert now[0] not in system.recommend(Request("person-7", system.now())).video_ids
    system.close()
    elsewhere.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_people_do_anywhere_nothing_they_have_seen_or_hidden_is_shown_from_a_cache(
    home: Path, redis_url: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    url = f"{redis_url}?prefix=test-anywhere-{seed}"
    systems = [open_system(home, clock="end", slate_cache_seconds=60, cache_url=url) for _ in range(2)]
    people = ["person-1", "person-2", "nobody-yet"]
    gone = {one: set(systems[0].catalogue.video_ids[systems[0].store.user(one).history.rows]) for one in people}
    hits = 0
    for step in range(60):
        system, someone = systems[rng.integers(2)], people[rng.integers(3)]
        system._followed = -np.inf  # a tenth of a second has passed
        slate = system.recommend(Request(someone, system.now(), k=int(rng.choice([5, 20])), request_id=str(step)))
        hits += list(slate.trace.milliseconds) == ["cache"]
        assert not set(slate.video_ids) & gone[someone]
        assert len(set(slate.video_ids)) == len(slate.video_ids) > 0
        if rng.random() < 0.3:
            video_id = slate.video_ids[0]
            system.feedback([Event(someone, system.now(), Kind.HIDE if rng.random() < 0.5 else Kind.CLICK, video_id)])
            gone[someone].add(video_id)
    assert hits > 5
    for system in systems:
        system.close()


def test_another_value_formula_counts_at_once_although_slates_are_remembered(home: Path) -> None:
    system = open_system(home, clock="end", slate_cache_seconds=60)
    first = system.recommend(Request("person-7", system.now(), k=50))
    DeclaredValue(home).write("-relevance")
    time.sleep(0.11)
    assert system.recommend(Request("person-7", system.now(), k=50)).value[0] < 0 < first.value[0]
    system.close()
