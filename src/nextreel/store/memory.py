"""The store that a replay runs on: user states in a dictionary, nothing on disk."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan

import numpy as np

from nextreel.relevance import Relevance, weights
from nextreel.store.counters import Counters
from nextreel.types import RECORDS, UNKNOWN, Catalogue, Events, FloatArray, Kind, Profile, UserId, UserState

SHOWN = 256  # newest impressions that a state remembers
PARTLY = 64  # videos watched last of which it remembers how long
ENDS = (Kind.COMPLETE, Kind.DISLIKE, Kind.HIDE)  # after which nobody goes on with a video
_SILENT = (Kind.IMPRESSION, Kind.SUBSCRIBE, Kind.BLOCK, *RECORDS)
_HEARD = np.array([kind not in _SILENT for kind in Kind])  # enter the history


def relevance_of(events: Events, catalogue: Catalogue, rules: Relevance) -> FloatArray:
    """Graded relevance (n,) of each event by the rules; 0 for an event about a channel."""
    known = events.video >= 0
    duration = np.where(known, catalogue.duration[np.maximum(events.video, 0)], np.nan).astype(np.float32)
    graded = weights(events.kind, events.watch_seconds, duration, events.value, rules)
    return np.where(known, graded, np.float32(0))


def advance(state: UserState, events: Events, graded: FloatArray) -> None:
    """Moves one person's state on by their own events (at least one), oldest first."""
    about_video = events.video >= 0
    heard = about_video & _HEARD[events.kind]
    if heard.all():
        state.history.extend(events.video, events.at, events.kind, graded)
    elif heard.any():
        state.history.extend(events.video[heard], events.at[heard], events.kind[heard], graded[heard])
    timed = ~np.isnan(events.watch_seconds)
    watched = bool(timed.any())
    if watched:
        state.watches += int(np.count_nonzero(timed))
        state.watch_seconds += float(events.watch_seconds[timed].sum(dtype=np.float64))
    if watched or state.partly:
        _watch(state, events)
    shown = about_video & (events.kind == Kind.IMPRESSION)
    if shown.any():
        state.impressions += int(np.count_nonzero(shown))
        state.shown_rows = np.concatenate([state.shown_rows, events.video[shown]])[-SHOWN:]
        state.shown_at = np.concatenate([state.shown_at, events.at[shown]])[-SHOWN:]
    state.clicks += int(np.count_nonzero(about_video & (events.kind == Kind.CLICK)))
    state.full_watches += int(np.count_nonzero((events.kind == Kind.WATCH) & (graded > 0)))
    if events.channel.max() >= 0:
        for kind, channel, at in zip(events.kind.tolist(), events.channel.tolist(), events.at.tolist(), strict=True):
            if channel < 0:
                continue
            if kind == Kind.SUBSCRIBE:
                state.subscribed, state.blocked = state.subscribed | {channel}, state.blocked - {channel}
            elif kind == Kind.BLOCK:
                state.subscribed, state.blocked = state.subscribed - {channel}, state.blocked | {channel}
            state.told_at[channel] = at
    state.version += len(events)
    state.known = True


def _watch(state: UserState, events: Events) -> None:
    """Moves on what the person has watched in part: each watch adds its seconds, an end of it forgets the video."""
    partly = state.partly
    columns = (events.kind.tolist(), events.video.tolist(), events.at.tolist(), events.watch_seconds.tolist())
    for kind, row, at, seconds in zip(*columns, strict=True):
        if kind in ENDS:
            partly.pop(row, None)
        elif kind == Kind.WATCH and row >= 0 and not isnan(seconds):
            partly[row] = (partly.pop(row, (0.0, 0.0))[0] + seconds, at)  # the newest stands last
    while len(partly) > PARTLY:
        del partly[next(iter(partly))]


class MemoryStore:
    """User states and video counters in memory, advanced by `apply_many` alone."""

    def __init__(
        self, catalogue: Catalogue, rules: Relevance, profiles: Mapping[UserId, Profile] | None = None
    ) -> None:
        self.catalogue = catalogue
        self.rules = rules
        self.counters = Counters(len(catalogue), len(catalogue.channel_ids))
        self.states: dict[UserId, UserState] = {
            user_id: UserState(user_id, profile, known=True) for user_id, profile in (profiles or {}).items()
        }

    def knows(self, user_id: UserId) -> bool:
        """Whether anything was ever heard of this person."""
        return user_id in self.states

    def user(self, user_id: UserId | None) -> UserState:
        """The person's state now; an empty one for a person never heard of."""
        state = None if user_id is None else self.states.get(user_id)
        return UserState(user_id) if state is None else state

    def apply_many(self, events: Events) -> None:
        """Advances states and counters by the events, oldest first."""
        if len(events) == 0:
            return
        graded = relevance_of(events, self.catalogue, self.rules)
        self.counters.add(events, graded)
        order = np.argsort(events.user, kind="stable")
        users = events.user[order]
        starts = np.flatnonzero(np.diff(users, prepend=UNKNOWN - 1))
        for start, end in zip(starts, [*starts[1:], len(users)], strict=True):
            user_id = events.user_ids[users[start]]
            user_id = user_id.item() if isinstance(user_id, np.generic) else user_id
            state = self.states.get(user_id)
            if state is None:
                state = self.states[user_id] = UserState(user_id)
            which = order[start:end]
            advance(state, events.take(which), graded[which])
