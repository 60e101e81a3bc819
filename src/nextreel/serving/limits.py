"""How often one caller may ask: a bucket of tokens each, refilled with time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

MOST_CALLERS = 10_000  # about a megabyte; the caller who has not asked for longest is forgotten, and has a full bucket


class Buckets:
    """Each caller's tokens, in this process alone. Not for threads: the event loop asks."""

    def __init__(
        self, rate: float, burst: int, most: int = MOST_CALLERS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._rate = rate  # tokens a second
        self._burst = float(burst)  # tokens of a full bucket
        self._most = most
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller → tokens, and when they were that

    def take(self, caller: str) -> float:
        """Takes a token and returns 0.0; without one, the seconds until the next, and nothing is taken."""
        now = self._clock()
        tokens, at = self._left.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        wait = max(0.0, (1.0 - tokens) / self._rate)
        self._left[caller] = (tokens if wait else tokens - 1.0, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return wait
