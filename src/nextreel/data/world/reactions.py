"""What people do with what they are shown: look, click, watch, answer, subscribe, block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextreel.data.world.memory import WELL, Memory, new_pairs
from nextreel.data.world.rows import ROW, Rows
from nextreel.data.world.truth import Truth, attraction, probability
from nextreel.data.world.visits import Shown, Visits
from nextreel.types import BoolArray, FloatArray, Kind, TimeArray

_ABOUT_CHANNELS = (Kind.SUBSCRIBE, Kind.BLOCK)


@dataclass(frozen=True, slots=True)
class _Met:
    """How each shown video (n,) was met."""

    at: TimeArray  # when the person came to its place in the list
    likes: FloatArray  # true preference
    looked: BoolArray
    clicked: BoolArray
    seconds: TimeArray  # watched; 0 without a click
    part: TimeArray  # of its length

    def take(self, kept: NDArray[np.intp]) -> _Met:
        return _Met(
            self.at[kept], self.likes[kept], self.looked[kept], self.clicked[kept], self.seconds[kept], self.part[kept]
        )


_Happens = dict[Kind, tuple[BoolArray, TimeArray]]  # which of the shown videos (n,) it happens to, and when


def react(rng: np.random.Generator, truth: Truth, memory: Memory, came: Visits, shown: Shown) -> Rows:
    """All that happens, in no order of time; `request` is the visit, device and place are not set."""
    met = _meet(rng, truth, came, shown)
    happens = _answers(rng, met)
    kept = _before_leaving(truth, memory, shown, met, happens[Kind.BLOCK])
    shown = Shown(shown.visit[kept], shown.position[kept], shown.user[kept], shown.video[kept], shown.continues[kept])
    met = met.take(kept)
    happens = {kind: (where[kept], when[kept]) for kind, (where, when) in happens.items()}
    channel = truth.videos.channel[shown.video]
    for kind, pairs in ((Kind.SUBSCRIBE, memory.subscribed), (Kind.BLOCK, memory.blocked)):
        where, when = happens[kind]
        once = np.flatnonzero(where)
        once = once[np.argsort(when[once], kind="stable")]
        once = once[new_pairs(pairs, shown.user[once], channel[once])]
        where = np.zeros(len(where), np.bool_)
        where[once] = True
        happens[kind] = where, when
    return _rows(shown, met, channel, happens)


def _meet(rng: np.random.Generator, truth: Truth, came: Visits, shown: Shown) -> _Met:
    n = len(shown.video)
    begun = came.at[shown.visit]
    likes = probability(truth.logit(shown.user, shown.video, begun, shown.continues))
    looked = rng.random(n) < truth.examination[shown.position]
    clicked = looked & (rng.random(n) < attraction(likes))
    duration = truth.videos.duration[shown.video]
    seconds = watch_seconds(rng, likes, duration) * clicked
    # a list is gone through in order: each video waits for those above it
    spent = np.cumsum(2.0 + seconds + 4.0 * clicked)
    before = np.concatenate([[0.0], spent])[:-1]
    at = begun + before - before[np.searchsorted(shown.visit, shown.visit)]
    return _Met(at, likes, looked, clicked, seconds, seconds / duration)


def watch_seconds(rng: np.random.Generator, likes: FloatArray, duration: TimeArray) -> TimeArray:
    """How long each video (n,) is watched, to 0.1 s: longer where it is liked, a smaller part of long ones.

    The part is logistic(3.4 · preference − 1 − 0.35 · ln(duration / 600 s) + 0.9 · noise). What is nearly over is often
    watched to the end (chance 0.5 · preference · part); a share of 0.3 · (1 − preference) is left within seconds.
    """
    n = len(likes)
    part = probability(
        (3.4 * likes - 1.0 - 0.35 * np.log(duration / 600) + 0.9 * rng.normal(size=n)).astype(np.float32)
    )
    part = np.where(rng.random(n) < 0.5 * likes * part, 1.0, part)
    bounced = rng.random(n) < 0.3 * (1 - likes)
    seconds = np.where(bounced, np.minimum(0.8 + rng.exponential(3.0, n), duration), part * duration)
    return np.asarray(np.round(seconds, 1), np.float64)


def _answers(rng: np.random.Generator, met: _Met) -> _Happens:
    likes, part, clicked, over = met.likes, met.part, met.clicked, met.at + 2.0 + met.seconds
    chance = rng.random((7, len(likes)))
    well = clicked & (part > WELL)
    dislike = clicked & (part < WELL) & (chance[3] < 0.16 * (1 - likes))
    hide = met.looked & ~clicked & (chance[4] < 0.03 * (1 - likes))
    return {
        Kind.IMPRESSION: (np.ones(len(likes), np.bool_), met.at),
        Kind.CLICK: (clicked, met.at + 1.5),
        Kind.WATCH: (clicked, over),
        Kind.COMPLETE: (clicked & (part > 0.95), over),
        Kind.LIKE: (well & (chance[0] < 0.30 * likes), over + 1.0),
        Kind.COMMENT: (well & (chance[1] < 0.07 * likes), over + 7.0),
        Kind.SHARE: (well & (chance[2] < 0.08 * likes), over + 4.0),
        Kind.DISLIKE: (dislike, over + 1.0),
        Kind.HIDE: (hide, met.at + 1.0),
        Kind.SUBSCRIBE: (well & (chance[5] < 0.05 * likes), over + 2.0),
        Kind.BLOCK: ((hide | dislike) & (chance[6] < 0.06), np.where(hide, met.at + 1.2, over + 1.2)),
    }


def _before_leaving(
    truth: Truth, memory: Memory, shown: Shown, met: _Met, block: tuple[BoolArray, TimeArray]
) -> NDArray[np.intp]:
    """The shown videos before the list ends: at the end of the world, or where a channel blocked today comes up."""
    bad = met.at + met.seconds + 30 >= truth.span[1]
    rows = np.flatnonzero(block[0])
    if len(rows):
        key = memory.blocked.key(shown.user, truth.videos.channel[shown.video])
        rows = rows[np.argsort(block[1][rows], kind="stable")]
        keys, first = np.unique(key[rows], return_index=True)
        when = block[1][rows][first]
        place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        bad |= (keys[place] == key) & (met.at > when[place])
    gone = np.cumsum(bad)
    at_start = np.concatenate([[0], gone])[np.searchsorted(shown.visit, shown.visit)]
    return np.flatnonzero(gone == at_start)


def _rows(shown: Shown, met: _Met, channel: NDArray[np.integer[Any]], happens: _Happens) -> Rows:
    which = {kind: np.flatnonzero(where) for kind, (where, _) in happens.items()}
    rows = np.empty(sum(map(len, which.values())), ROW)
    start = 0
    for kind, (_, when) in happens.items():
        of, part = which[kind], rows[start : start + len(which[kind])]
        start += len(of)
        about_channel = kind in _ABOUT_CHANNELS
        part["at"] = np.round(when[of] * 1e3)
        part["request"] = shown.visit[of]
        part["user"] = shown.user[of]
        part["video"] = -1 if about_channel else shown.video[of]
        part["channel"] = channel[of] if about_channel else -1
        part["seconds"] = met.seconds[of] if kind in (Kind.WATCH, Kind.COMPLETE) else np.nan
        part["kind"] = kind
        part["position"] = -1 if about_channel else shown.position[of]
    return rows
