from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from nextreel.cli.options import known_user, moment, seconds_at
from nextreel.types import NextreelError, UserId, UserState


@dataclass
class Store:
    last: dict[UserId, float] = field(default_factory=dict)

    def knows(self, user_id: UserId) -> bool:
        return user_id in self.last

    def user(self, user_id: UserId) -> UserState:
        state = UserState(user_id)
        if user_id in self.last:
            state.history.append(0, self.last[user_id], 2, 1.0)
        return state


def system(*known: UserId) -> Any:
    return SimpleNamespace(store=Store(dict.fromkeys(known, 50.0)), data_end=100.0)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("978133380", 978133380.0),
        ("1.5", 1.5),
        ("2000-12-29T23:43:00", 978133380.0),
        ("2000-12-29T23:43:00Z", 978133380.0),
        ("2000-12-30T00:43:00+01:00", 978133380.0),
        ("1970-01-02", 86400.0),
    ],
)
def test_a_time_is_seconds_or_iso_and_utc_without_a_zone(text: str, time: float) -> None:
    assert moment(text) == time


def test_now_asks_the_clock_and_the_other_words_stay_words() -> None:
    assert moment("now", clock=lambda: 7.0) == 7.0
    assert (moment("end"), moment("last")) == ("end", "last")


@pytest.mark.parametrize("text", ["yesterday", "", "nan", "inf", "-inf"])
def test_what_is_no_time_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(NextreelError, match=r"Expected `end`, `last`, `now` or a time .* Hint: "):
        moment(text)


def test_an_id_is_found_as_the_data_have_it() -> None:
    assert known_user(system(42), "42") == 42
    assert known_user(system("42"), "42") == "42"
    assert known_user(system("007"), "007") == "007"
    assert known_user(system("u1"), "u1") == "u1"


def test_an_id_that_nobody_has_is_taken_as_it_looks() -> None:
    assert known_user(system(1), "42") == 42
    assert known_user(system(1), "u42") == "u42"
    assert known_user(system(7), "007") == "007"
    assert known_user(system(1), "²") == "²"


def test_last_is_the_persons_own_last_event_and_the_end_for_a_newcomer() -> None:
    world = system(1)
    assert seconds_at(world, 1, "last") == 50.0
    assert seconds_at(world, 2, "last") == 100.0
    assert seconds_at(world, 1, "end") == 100.0
    assert seconds_at(world, 1, 7.0) == 7.0
