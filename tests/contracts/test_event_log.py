"""What every event log promises; a new backend adds one line to BACKENDS."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from nextreel.backends import ClosableEventLog, open_log
from nextreel.types import Event, Kind

BACKENDS = {
    "memory": "memory://",
    "sqlite": "sqlite://{folder}/log.db",
}


@pytest.fixture(params=BACKENDS)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClosableEventLog]:
    log = open_log(BACKENDS[request.param].format(folder=tmp_path))
    yield log
    log.close()


def event(number: int, event_id: str | None = None) -> Event:
    return Event(user_id=number, at=float(number), kind=Kind.CLICK, video_id=f"v{number}", event_id=event_id)


def test_events_come_back_oldest_first_with_growing_offsets(log: ClosableEventLog) -> None:
    offsets = log.append([event(1), event(2)]) + log.append([event(3)])
    assert offsets == sorted(set(offsets))
    assert min(offsets) > 0
    assert log.read(0) == list(zip(offsets, [event(1), event(2), event(3)], strict=True))


def test_every_field_survives(log: ClosableEventLog) -> None:
    full = Event("ada", 12.5, Kind.WATCH, 7, "channel", 4.0, 61.25, "phone", 3, "request", "id-1", "home")
    log.append([full])
    (found,) = [kept for _, kept in log.read(0)]
    assert found == full
    assert isinstance(found.kind, Kind)


def test_ids_keep_their_type_and_a_value_may_be_nan(log: ClosableEventLog) -> None:
    log.append([Event(7, 1.0, Kind.LIKE, "7", value=math.nan), Event(-(2**63), 1.0, Kind.LIKE, 2**63 - 1)])
    first, second = (kept for _, kept in log.read(0))
    assert (first.user_id, first.video_id) == (7, "7")
    assert math.isnan(first.value or 0.0)
    assert (second.user_id, second.video_id) == (-(2**63), 2**63 - 1)


def test_numpy_ids_are_kept_as_numbers(log: ClosableEventLog) -> None:
    log.append([Event(np.int64(7), 1.0, Kind.LIKE, np.int32(3))])  # type: ignore[arg-type]  # columns hand these out
    (found,) = [kept for _, kept in log.read(0)]
    assert (found.user_id, found.video_id) == (7, 3)


def test_a_page_starts_after_an_offset_and_has_at_most_limit(log: ClosableEventLog) -> None:
    offsets = log.append([event(n) for n in range(10)])
    assert [o for o, _ in log.read(offsets[3], limit=4)] == offsets[4:8]
    assert log.read(offsets[-1]) == []
    assert log.read(0, limit=0) == []


def test_the_same_event_id_is_kept_once(log: ClosableEventLog) -> None:
    (first,) = log.append([event(1, "a")])
    assert log.append([event(2, "b"), event(1, "a"), event(2, "b")])[1] == first
    assert [kept.event_id for _, kept in log.read(0)] == ["a", "b"]


def test_events_without_an_id_are_never_taken_for_each_other(log: ClosableEventLog) -> None:
    log.append([event(1)])
    log.append([event(1)])
    assert len(log.read(0)) == 2


def test_threads_append_without_loss_and_readers_see_no_gap_filled_later(log: ClosableEventLog) -> None:
    with ThreadPoolExecutor(4) as pool:
        offsets = list(chain.from_iterable(pool.map(lambda n: log.append([event(n), event(n)]), range(40))))
        seen: list[int] = []
        while page := log.read(seen[-1] if seen else 0, limit=7):
            seen += [offset for offset, _ in page]
    assert sorted(offsets) == seen
    assert len(set(seen)) == 80


def test_what_is_erased_is_gone_and_the_offsets_of_others_stay(log: ClosableEventLog) -> None:
    offsets = log.append([event(n, f"id-{n}") for n in range(6)])
    assert log.erase([offsets[1], offsets[5], offsets[1], 10_000]) == 2
    assert log.erase([offsets[1]]) == 0
    assert log.erase([]) == 0
    left = [0, 2, 3, 4]
    assert log.read(0) == [(offsets[n], event(n, f"id-{n}")) for n in left]
    assert log.read(offsets[0], limit=2) == [(offsets[n], event(n, f"id-{n}")) for n in (2, 3)]


def test_an_offset_that_was_erased_is_not_given_again_and_its_event_id_is_free(log: ClosableEventLog) -> None:
    offsets = log.append([event(1, "a"), event(2, "b")])
    log.erase(offsets)
    assert log.read(0) == []
    (again,) = log.append([event(1, "a")])
    assert again > max(offsets)
    assert log.read(0) == [(again, event(1, "a"))]


def test_readers_and_writers_go_on_while_events_are_erased(log: ClosableEventLog) -> None:
    offsets = log.append([event(n) for n in range(40)])

    def work(number: int) -> list[int]:
        if number % 4 == 0:
            return [log.erase(offsets[number : number + 2])]
        return log.append([event(100 + number)])

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(work, range(40)))
    kept = [one.user_id for _, one in log.read(0)]
    assert [count for number, (count,) in enumerate(done) if number % 4 == 0] == [2] * 10
    assert sorted(map(int, kept)) == sorted(
        [n for n in range(40) if n % 4 > 1] + [100 + n for n in range(40) if n % 4 != 0]
    )
