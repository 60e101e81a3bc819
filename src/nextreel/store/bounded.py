"""The live store as the Recommender of one catalogue reads it, while others serve a larger one already."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nextreel.history import History
from nextreel.store.counters import Counters
from nextreel.store.live import LiveStore
from nextreel.types import UserId, UserState


@dataclass(frozen=True, slots=True)
class BoundedStore:
    """States without what lies beyond a catalogue, and that catalogue's counters.

    Another process may have given a person an event about a video of which this one hears in a moment.
    """

    store: LiveStore
    counters: Counters
    videos: int
    channels: int

    def user(self, user_id: UserId | None) -> UserState:
        """The person's state now, not to be changed."""
        state = self.store.user(user_id)
        rows = state.history.rows
        if len(rows) and rows.max() >= self.videos:
            state = replace(state, history=within(state.history, self.videos))
        if max(state.subscribed, default=0) >= self.channels and state.subscribed:
            state = replace(state, subscribed=frozenset(one for one in state.subscribed if one < self.channels))
        return state


def within(history: History, videos: int) -> History:
    """The history's events about rows below `videos`."""
    keep = history.rows < videos
    shorter = History(capacity=max(1, int(keep.sum())))
    shorter.extend(history.rows[keep], history.at[keep], history.kinds[keep], history.weights[keep])
    return shorter
