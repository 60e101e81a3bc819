"""Two pasts of one person made one: what an anonymous session did becomes the account's."""

from __future__ import annotations

import numpy as np

from nextreel.history import History
from nextreel.store.memory import ENDS, PARTLY, SHOWN
from nextreel.types import UserState


def merged(account: UserState, session: UserState, offset: int) -> UserState:
    """The account's state with all that the session did, as if the account had done it; `offset` is the merge's.

    Both histories are one in the order of time; of two events at the same time the account's comes first. What one
    of them said of a channel later than the other holds. What the person said of themselves is the account's.

    One thing is not known any more: how much of a video one of them watched before, and how much after, the other came
    to its end. All of it counts then as watched since.
    """
    shown_at = np.concatenate([account.shown_at, session.shown_at])
    newest = np.argsort(shown_at, kind="stable")[-SHOWN:]
    return UserState(
        account.user_id,
        account.profile,
        _histories(account.history, session.history),
        account.version + session.version,
        max(account.offset, offset),
        known=account.known or session.known,
        subscribed=_channels(account, session, account.subscribed, session.subscribed),
        blocked=_channels(account, session, account.blocked, session.blocked),
        told_at=_told_at(account, session),
        watches=account.watches + session.watches,
        watch_seconds=account.watch_seconds + session.watch_seconds,
        impressions=account.impressions + session.impressions,
        clicks=account.clicks + session.clicks,
        full_watches=account.full_watches + session.full_watches,
        shown_rows=np.concatenate([account.shown_rows, session.shown_rows])[newest],
        shown_at=shown_at[newest],
        partly=_partly(account, session),
    )


def emptied(session: UserState, offset: int) -> UserState:
    """The session after its merge: nothing is known of it, and what it did up to the offset is not its any more."""
    return UserState(session.user_id, offset=offset)


def _histories(first: History, second: History) -> History:
    rows, at, kinds, weights = (
        np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("rows", "at", "kinds", "weights")
    )
    order = np.argsort(at, kind="stable")
    history = History(capacity=len(order) + 8)
    history.extend(rows[order], at[order], kinds[order], weights[order])
    return history


def _partly(account: UserState, session: UserState) -> dict[int, tuple[float, float]]:
    """What was watched in part by either and not ended by the other since, the oldest first."""
    ended: dict[int, float] = {}
    for history in (account.history, session.history):
        ends = np.isin(history.kinds, ENDS)
        for row, at in zip(history.rows[ends].tolist(), history.at[ends].tolist(), strict=True):
            ended[row] = max(at, ended.get(row, at))
    found: dict[int, tuple[float, float]] = {}
    for row, (seconds, at) in [*account.partly.items(), *session.partly.items()]:
        if at >= ended.get(row, at):
            before, last = found.get(row, (0.0, at))
            found[row] = (before + seconds, max(last, at))
    return dict(sorted(found.items(), key=lambda one: one[1][1])[-PARTLY:])


def _told_at(account: UserState, session: UserState) -> dict[int, float]:
    newest = dict(account.told_at)
    for channel, at in session.told_at.items():
        newest[channel] = max(at, newest.get(channel, at))
    return newest


def _channels(
    account: UserState, session: UserState, of_account: frozenset[int], of_session: frozenset[int]
) -> frozenset[int]:
    """Those channels of which the later word put them there."""
    newer = {
        channel
        for channel, at in session.told_at.items()
        if channel not in account.subscribed | account.blocked or at > account.told_at.get(channel, -np.inf)
    }
    return (of_account - newer) | (of_session & newer)
