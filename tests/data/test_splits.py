"""Splits: nothing of the future in the training part, nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.data import leave_last_out, split_by_time
from nextreel.types import Events, NextreelError


def events_of(users: list[int]) -> Events:
    n = len(users)
    return Events(
        np.arange(max(users, default=-1) + 1),
        np.array(users, np.int32),
        np.arange(n, dtype=np.int32),
        np.arange(n, dtype=np.float64),
        np.zeros(n, np.int8),
        np.zeros(n, np.float32),
        np.zeros(n, np.float32),
    )


USERS = st.lists(st.integers(0, 4), max_size=60)
QUICK = settings(max_examples=60, deadline=None, derandomize=True)


@QUICK
@given(USERS)
def test_a_time_split_keeps_every_event_once_and_in_order(users: list[int]) -> None:
    split = split_by_time(events_of(users))
    joined = np.concatenate([part.at for part in (split.train, split.valid, split.test)])
    assert joined.tolist() == list(range(len(users)))
    assert split.bounds["test"][1] == len(users)


@QUICK
@given(USERS)
def test_an_untimed_split_cuts_each_users_rows(users: list[int]) -> None:
    split = split_by_time(events_of(users), (0.5, 0.25, 0.25), timed=False)
    for user in set(users):
        sizes = [int((part.user == user).sum()) for part in (split.train, split.valid, split.test)]
        n = users.count(user)
        assert sizes == [int(n * 0.5), int(n * 0.75) - int(n * 0.5), n - int(n * 0.75)]
        last = [part.at[part.user == user] for part in (split.train, split.valid, split.test)]
        assert (np.diff(np.concatenate(last)) > 0).all()


@QUICK
@given(USERS)
def test_leave_last_out_tests_on_each_users_last_event(users: list[int]) -> None:
    split = leave_last_out(events_of(users))
    for user in set(users):
        own = [place for place, one in enumerate(users) if one == user]
        assert split.test.at[split.test.user == user].tolist() == (own[-1:] if len(own) >= 3 else [])
        assert split.valid.at[split.valid.user == user].tolist() == (own[-2:-1] if len(own) >= 3 else [])
        assert split.train.at[split.train.user == user].tolist() == (own[:-2] if len(own) >= 3 else own)


def test_the_cut_at_nine_tenths_does_not_suffer_from_floating_point() -> None:
    split = split_by_time(events_of([0] * 10))
    assert split.bounds == {"train": (0, 8), "valid": (8, 9), "test": (9, 10)}


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.9, 0.2, -0.1), (0.5, 0.2, 0.2)])
def test_fractions_that_are_no_parts_of_a_whole_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(NextreelError, match="sum to 1"):
        split_by_time(events_of([0]), fractions)
