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
        return bounded(self.store.user(user_id), self.videos, self.channels)


def bounded(state: UserState, videos: int, channels: int) -> UserState:
    """The state without what is about later videos and channels; itself where nothing is."""
    rows = state.history.rows
    if len(rows) and rows.max() >= videos:
        state = replace(state, history=within(state.history, videos))
    shown = state.shown_rows
    if len(shown) and shown.max() >= videos:
        state = replace(state, shown_rows=shown[shown < videos], shown_at=state.shown_at[shown < videos])
    if max(state.partly, default=-1) >= videos:
        state = replace(state, partly={row: told for row, told in state.partly.items() if row < videos})
    if max(state.subscribed | state.blocked, default=-1) >= channels:
        subscribed = frozenset(code for code in state.subscribed if code < channels)
        blocked = frozenset(code for code in state.blocked if code < channels)
        state = replace(state, subscribed=subscribed, blocked=blocked)
    return state


def within(history: History, videos: int) -> History:
    """The history's events about rows below `videos`."""
    keep = history.rows < videos
    shorter = History(capacity=max(1, int(keep.sum())))
    shorter.extend(history.rows[keep], history.at[keep], history.kinds[keep], history.weights[keep])
    return shorter
