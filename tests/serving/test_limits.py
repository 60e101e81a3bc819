"""A caller may ask in a burst, then at the rate, and is told when to come back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from nextreel import keys
from nextreel.serving import security
from nextreel.serving.limits import Buckets

KEYS = [keys.new(name, ["read"]) for name in ("a", "b")]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(security, "Buckets", partial(Buckets, clock=clock))
    return clock


def test_a_burst_passes_and_then_one_for_each_token_that_comes(clock: Clock) -> None:
    buckets = Buckets(rate=2.0, burst=3, clock=clock)
    assert [buckets.take("a") for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 0.5]
    clock.now += 0.25
    assert buckets.take("a") == 0.25
    clock.now += 0.25
    assert [buckets.take("a"), buckets.take("a")] == [0.0, 0.5]
    clock.now += 3600
    assert [buckets.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_callers_do_not_share(clock: Clock) -> None:
    buckets = Buckets(rate=1.0, burst=1, clock=clock)
    assert [buckets.take(caller) for caller in "aabb"] == [0.0, 1.0, 0.0, 1.0]


def test_the_one_who_has_not_asked_for_longest_is_forgotten(clock: Clock) -> None:
    buckets = Buckets(rate=1.0, burst=1, most=2, clock=clock)
    assert [buckets.take(caller) for caller in "aba"] == [0.0, 0.0, 1.0]
    assert buckets.take("c") == 0.0  # b is forgotten: a asked after it
    assert [buckets.take(caller) for caller in "ab"] == [1.0, 0.0]


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_never_more_pass_than_burst_and_rate_allow(steps: list[float]) -> None:
    clock = Clock()
    buckets = Buckets(rate=0.5, burst=4, clock=clock)
    passed = 0
    for step in steps:
        clock.now += step
        passed += buckets.take("a") == 0.0
        assert passed <= 4 + (clock.now - 1000.0) * 0.5 + 1e-6


def test_a_key_that_asks_too_often_is_told_when_to_come_back(connect: Callable[..., TestClient], clock: Clock) -> None:
    client = connect(api_keys=",".join(kept.entry() for _, kept in KEYS), rate_limit=0.4, rate_burst=2)
    first, second = ({"X-API-Key": key} for key, _ in KEYS)
    assert [client.get("/trending", headers=first).status_code for _ in range(3)] == [200, 200, 429]
    refused = client.get("/trending", headers=first)
    assert refused.headers["retry-after"] == "3"
    assert refused.headers["content-type"] == "application/problem+json"
    assert "0.4" in refused.json()["detail"]
    assert client.get("/trending", headers=second).status_code == 200
    assert {client.get("/health", headers=first).status_code for _ in range(5)} == {200}
    clock.now += 2.5
    assert [client.get("/trending", headers=first).status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(("api_keys", "status"), [("", 200), (KEYS[0][1].entry(), 401)], ids=["no keys", "keys"])
def test_who_has_no_key_is_counted_by_address(
    connect: Callable[..., TestClient], clock: Clock, api_keys: str, status: int
) -> None:
    client = connect(api_keys=api_keys, rate_limit=1, rate_burst=2)
    answers = [client.get("/trending", headers={"X-API-Key": f"guess-{n}"}).status_code for n in range(3)]
    assert answers == [status, status, 429]
    if status == 401:
        assert client.get("/trending", headers={"X-API-Key": KEYS[0][0]}).status_code == 200


def test_without_a_rate_nobody_is_counted(connect: Callable[..., TestClient]) -> None:
    client = connect(api_keys="", rate_burst=1)
    assert {client.get("/trending").status_code for _ in range(20)} == {200}
