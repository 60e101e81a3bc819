"""A set of pairs behaves as a set of pairs."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextreel.data.world.pairs import Pairs

WIDTH = 7
Some: TypeAlias = list[tuple[int, int]]

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, WIDTH - 1)), max_size=20)


@given(added=st.lists(pairs, max_size=4), asked=pairs)
def test_it_has_what_was_added_and_nothing_else(added: list[Some], asked: Some) -> None:
    found, known = Pairs(WIDTH), set[tuple[int, int]]()
    for some in added:
        new = sorted(set(some) - known)
        found.add(*np.array(new, np.int64).reshape(-1, 2).T)
        known |= set(new)
    assert len(found) == len(known)
    left, right = np.array(asked, np.int64).reshape(-1, 2).T
    assert found.has(left, right).tolist() == [one in known for one in asked]
    found.clear()
    assert not found.has(left, right).any()
