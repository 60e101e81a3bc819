"""How long work reports that it moves on: a protocol, and the reporter that keeps silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeAlias

Advance: TypeAlias = Callable[[int], None]  # called with how many more units are done


class Progress(Protocol):
    """Opens one bar: `with progress("Replaying", total=1000) as advance: advance(10)`; total None = unknown."""

    def __call__(self, label: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """A context whose value is called with the number of units done since the last call."""
        ...


@contextmanager
def silent(label: str, total: int | None = None) -> Iterator[Advance]:
    """A bar nobody sees: the default of every function that takes a `progress`.

    >>> with silent("Replaying", total=3) as advance:
    ...     advance(1)
    """
    del label, total

    def advance(_: int) -> None:
        return None

    yield advance
