"""What people carry from one day to the next: the last interest, what they watched, their channels and series."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextreel.data.world.pairs import Pairs, is_first
from nextreel.data.world.rows import Rows
from nextreel.data.world.truth import Videos
from nextreel.types import BoolArray, Kind

_FOLLOWED = 6  # newest subscriptions that lists are made from
WELL = 0.4  # part of its length from which a video counts as watched well

_Places = NDArray[np.integer[Any]]


class Memory:
    """The memory of U people, learnt from what they did."""

    def __init__(self, users: int, videos: Videos) -> None:
        channels = int(videos.channel.max()) + 1
        self._videos = videos
        self.interest = np.full(users, -1, np.int8)  # (U,) of the last visit
        self.episode = np.full(users, -1, np.int32)  # (U,) the next one of the series they are in
        self.watched = Pairs(len(videos))  # person, video
        self.today = Pairs(len(videos))  # person, video shown since the day began
        self.blocked = Pairs(channels)
        self.subscribed = Pairs(channels)
        self._newest = np.full((users, _FOLLOWED), -1, np.int32)
        self._many = np.zeros(users, np.int64)

    def forbidden(self, user: _Places, video: _Places) -> BoolArray:
        """Which videos (n,) may not be shown to the person."""
        seen = self.watched.has(user, video) | self.today.has(user, video)
        return np.asarray(seen | self.blocked.has(user, self._videos.channel[video]), np.bool_)

    def a_subscription(self, rng: np.random.Generator, user: _Places) -> NDArray[np.int64]:
        """One of the newest channels each person (n,) subscribed to, -1 for those without one."""
        many = np.minimum(self._many[user], _FOLLOWED)
        return self._newest[user, np.floor(rng.random(len(user)) * many).astype(np.int64)].astype(np.int64)

    def learn(self, rows: Rows) -> None:
        """Takes in what was done, oldest first; `user` counts within these people."""
        user, video, kind = rows["user"], rows["video"], rows["kind"]
        shown, clicked = kind == Kind.IMPRESSION, kind == Kind.CLICK
        self.today.add(user[shown], video[shown])
        self.watched.add(user[clicked], video[clicked])
        ended = np.flatnonzero(kind == Kind.WATCH)
        self._follow_series(user[ended], video[ended], rows["seconds"][ended])
        block, follow = kind == Kind.BLOCK, kind == Kind.SUBSCRIBE
        self.blocked.add(user[block], rows["channel"][block])
        self._follow_channels(user[follow], rows["channel"][follow])

    def _follow_series(self, user: _Places, video: _Places, seconds: NDArray[np.floating]) -> None:
        """The next episode after one that was watched well; who drops an episode drops the series."""
        well = seconds > WELL * self._videos.duration[video]
        dropped = ~well & (self.episode[user] == video)
        matters = (well & (self._videos.series[video] >= 0)) | dropped
        self.episode[user[matters]] = np.where(well, self._videos.following[video], -1)[matters]

    def _follow_channels(self, user: _Places, channel: _Places) -> None:
        self.subscribed.add(user, channel)
        order = np.argsort(user, kind="stable")
        user, channel = user[order], channel[order]
        nth = np.arange(len(user)) - np.searchsorted(user, user)  # of each person's subscriptions here
        self._newest[user, (self._many[user] + nth) % _FOLLOWED] = channel
        np.add.at(self._many, user, 1)


def new_pairs(pairs: Pairs, user: _Places, one: _Places) -> BoolArray:
    """Which pairs (n,) are neither in the set nor earlier in the arrays."""
    return is_first(pairs.key(user, one)) & ~pairs.has(user, one)
