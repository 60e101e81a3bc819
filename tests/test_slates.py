"""Equal requests share a slate, and no other ones do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from prometheus_client import REGISTRY

from nextreel import slates
from nextreel.declared import DeclaredValue
from nextreel.pipeline import Recommender
from nextreel.slates import Slates
from nextreel.system import open_system
from nextreel.types import BoolArray, Event, Kind, NextreelError, Request, RowArray, Slate, Trace, UserState


class Keeper:
    """All that is asked of a recommender; as others, it is known by its identity."""

    def __init__(self) -> None:
        self.unfit: set[int] = set()

    def keeps(self, request: Request, rows: RowArray) -> BoolArray:
        return np.array([row not in self.unfit for row in rows.tolist()])


RECOMMENDER = cast("Recommender", Keeper())
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


def test_an_equal_request_gets_the_same_slate_under_its_own_name() -> None:
    cache, compute = Slates(60), Computed()
    first = cache.get(ASKED, UserState(1), RECOMMENDER, compute)
    later = replace(ASKED, at=6.0, request_id="b")
    second = cache.get(later, UserState(1), RECOMMENDER, compute)
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
    cache.get(ASKED, UserState(1), RECOMMENDER, compute)
    cache.get(replace(ASKED, **{name: OTHER[name]}), UserState(1), RECOMMENDER, compute)
    assert len(compute.asked) == 2


@pytest.mark.parametrize("moved", [{"version": 1}, {"offset": 9}, {"known": True}])
def test_another_state_of_the_person_is_another_request(moved: dict[str, Any]) -> None:
    cache, compute = Slates(60), Computed()
    cache.get(ASKED, UserState(1), RECOMMENDER, compute)
    cache.get(ASKED, UserState(1, **moved), RECOMMENDER, compute)
    assert len(compute.asked) == 2


def test_another_recommender_forgets_what_the_last_one_answered() -> None:
    cache, compute, other = Slates(60), Computed(), cast("Recommender", Keeper())
    for recommender in (RECOMMENDER, other, other, RECOMMENDER):
        cache.get(ASKED, UserState(1), recommender, compute)
    assert len(compute.asked) == 3


def test_a_slate_with_a_video_that_may_no_longer_be_shown_is_computed_anew() -> None:
    cache, compute, keeper = Slates(60), Computed(), Keeper()
    cache.get(ASKED, UserState(1), cast("Recommender", keeper), compute)
    keeper.unfit.add(1)
    cache.get(ASKED, UserState(1), cast("Recommender", keeper), compute)
    assert len(compute.asked) == 2


def test_a_slate_is_forgotten_after_its_seconds() -> None:
    cache, compute = Slates(0.05), Computed()
    cache.get(ASKED, UserState(1), RECOMMENDER, compute)
    time.sleep(0.06)
    cache.get(ASKED, UserState(1), RECOMMENDER, compute)
    assert len(compute.asked) == 2


@pytest.mark.parametrize("options", [{"propensity": 0.5}, {"failures": {"als": "broken"}}])
def test_what_chance_chose_or_a_failure_made_worse_is_not_remembered(options: dict[str, Any]) -> None:
    cache, compute = Slates(60), Computed(**options)
    for _ in range(2):
        cache.get(ASKED, UserState(1), RECOMMENDER, compute)
    assert len(compute.asked) == 2


def test_without_seconds_nothing_is_remembered_and_only_nobody_shares() -> None:
    cache, compute = Slates(), Computed()
    nobody = replace(ASKED, user_id=None)
    assert (cache.shares(nobody), cache.shares(ASKED)) == (True, False)
    assert Slates(1).shares(ASKED)
    assert not Slates(1).shares(replace(ASKED, explain=True))
    for _ in range(2):
        cache.get(nobody, UserState(None), RECOMMENDER, compute)
    assert len(compute.asked) == 2


def test_the_cache_is_bounded_by_the_videos_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slates, "VIDEOS_KEPT", 30)
    cache, compute = Slates(60), Computed()
    for number in range(20):
        cache.get(replace(ASKED, seed=number), UserState(1), RECOMMENDER, compute)
    assert REGISTRY.get_sample_value("nextreel_cache_entries", {"cache": "slates"}) == 10  # each of two, and one
    cache.get(replace(ASKED, seed=19), UserState(1), RECOMMENDER, compute)
    assert len(compute.asked) == 20
    cache.get(ASKED, UserState(1), RECOMMENDER, compute)
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
            return cache.get(request, UserState(None), RECOMMENDER, after_all_came)
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


def test_another_value_formula_counts_at_once_although_slates_are_remembered(home: Path) -> None:
    system = open_system(home, clock="end", slate_cache_seconds=60)
    first = system.recommend(Request("person-7", system.now(), k=50))
    DeclaredValue(home).write("-relevance")
    time.sleep(0.11)
    assert system.recommend(Request("person-7", system.now(), k=50)).value[0] < 0 < first.value[0]
    system.close()
