"""Windows of histories as batches without padding waste, and the negatives they are trained against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel.retrieval.two_tower.inputs import IntArray, Sequences, gaps
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.trends import Snapshots
from nextreel.types import DAY, BoolArray, Events, FloatArray, RowArray

MASKED = -1e4  # as in the model: a score that adds nothing to a softmax


@dataclass(frozen=True)
class Batch:
    """One step: b windows of at most t tokens, of which p positions foretell something.

    Videos are places in `rows`, the distinct videos of the step. Positions are sorted by what was known of popularity
    when their target was chosen: those of snapshot s stand at `cuts[s]` to `cuts[s + 1]`.
    """

    rows: RowArray  # (videos,)
    inputs: IntArray  # (b, t - 1) watched videos
    weights: FloatArray  # (b, t - 1)
    gaps: IntArray  # (b, t - 1, 2) codes of the time since the event before, and until somebody asks
    profile: IntArray  # (b, 4)
    place: IntArray  # (p,) where the position stands in the b × t tokens, counted row by row
    targets: IntArray  # (p,)
    scale: FloatArray  # (p,) share of each target in the loss
    negatives: IntArray  # (n,)
    bias: FloatArray  # (n,) log-Q correction
    spared: BoolArray  # (p, n) negatives that are none for this position
    explicit: IntArray  # (p, m)
    explicit_bias: FloatArray  # (p, m)
    trends: FloatArray  # (snapshots, videos, windows)
    cuts: IntArray  # (snapshots + 1,)


@dataclass(frozen=True)
class Disliked:
    """Videos each user disliked or was shown and left, end to end: user u has starts[u] to starts[u + 1]."""

    starts: IntArray
    rows: RowArray


def disliked(events: Events, weights: FloatArray, users: NDArray[np.int32], n_videos: int) -> Disliked:
    """The explicit negatives of the users: below 0 in weight, or shown, and never a positive of that person."""
    about = (events.video >= 0) & (events.video < n_videos)
    pair = events.user.astype(np.int64) * n_videos + events.video
    liked = np.unique(pair[about & (weights > 0)])
    # weight 0 of an impression: shown, and never taken up, since what was taken up is among the liked
    candidate = np.unique(pair[about & ((weights < 0) | ((weights == 0) & (events.kind == 0)))])
    candidate = np.setdiff1d(candidate, liked, assume_unique=True)
    owner, rows = candidate // n_videos, (candidate % n_videos).astype(np.int32)
    left = np.searchsorted(owner, users)
    right = np.searchsorted(owner, users, "right")
    counts = right - left
    starts = np.concatenate([[0], np.cumsum(counts)])
    take = np.repeat(left - starts[:-1], counts) + np.arange(starts[-1])
    return Disliked(starts.astype(np.int64), rows[take])


def windows(lengths: IntArray, size: int, rng: np.random.Generator) -> tuple[IntArray, IntArray, IntArray]:
    """User, first and end position within the user of windows that cover every position once.

    A longer sequence is cut with a random offset, so that every position is seen after long and short histories.
    """
    first = np.where(lengths > size, rng.integers(1, size + 1, len(lengths)), lengths)
    count = 1 + -(-(lengths - first) // size)
    user = np.repeat(np.arange(len(lengths)), count)
    number = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
    low = np.where(number == 0, 0, first[user] + (number - 1) * size)
    high = np.minimum(first[user] + number * size, lengths[user])
    return user, low, high


def returns(histories: Sequences, hours: float) -> BoolArray:
    """(n,) events before which their person was away for so long; also everybody's first."""
    away = np.diff(histories.at, prepend=-np.inf) >= hours * 3600.0
    away[histories.starts[:-1]] = True
    return away


class Sampler:
    """Makes the batches of an epoch; the same seed makes the same batches."""

    def __init__(
        self,
        histories: Sequences,
        ends: IntArray,
        profile: IntArray,
        explicit: Disliked,
        trends: Snapshots,
        params: TwoTowerParams,
    ) -> None:
        self.histories, self.ends, self.profile, self.explicit, self.params = histories, ends, profile, explicit, params
        self.trends, self.n_videos = trends, trends.values.shape[1]
        self.snapshot = trends.before(histories.at)  # of the position that foretells each event
        self.back = returns(histories, params.return_hours)
        n_videos = self.n_videos
        self.rng = np.random.default_rng(params.seed)
        trained = np.repeat(histories.starts[:-1], ends - histories.starts[:-1])
        trained += np.arange(len(trained)) - np.repeat(
            np.cumsum(ends - histories.starts[:-1]) - (ends - histories.starts[:-1]), ends - histories.starts[:-1]
        )
        counts = np.bincount(histories.rows[trained], minlength=n_videos).astype(np.float64)
        smooth = counts**params.popularity_power * (counts > 0)
        popular = smooth / smooth.sum()
        self.chance = (1.0 - params.uniform_share) * popular + params.uniform_share / n_videos
        self.cumulative = np.cumsum(self.chance)
        self.scale = self._scale()

    def _scale(self) -> FloatArray:
        """The share of every position as a target in the loss, 1 on average."""
        histories, params = self.histories, self.params
        scale = np.ones(len(histories.rows), np.float32)
        if params.weigh_loss:
            scale *= histories.weights
        if params.half_life_days is not None and len(scale):
            scale *= 0.5 ** ((histories.at.max() - histories.at) / DAY / params.half_life_days)
        return (scale / max(float(scale.mean()), 1e-12)).astype(np.float32) if len(scale) else scale

    def epoch(self) -> Iterator[Batch]:
        """All positions once, in batches of windows of like lengths, in random order."""
        starts = self.histories.starts[:-1]
        user, low, high = windows(self.ends - starts, self.params.length + 1, self.rng)
        order = np.lexsort((self.rng.random(len(user)), high - low))
        size = (high - low)[order]
        group, cut = 0, [0]
        for i, longest in enumerate(size.tolist()):
            if (i - group + 1) * longest > self.params.batch and i > group:
                cut.append(i)
                group = i
        cut.append(len(size))
        for g in self.rng.permutation(len(cut) - 1):
            chosen = order[cut[g] : cut[g + 1]]
            yield self._batch(user[chosen], low[chosen], high[chosen])

    def steps(self) -> int:
        """About how many batches an epoch has."""
        return max(1, round(float((self.ends - self.histories.starts[:-1]).sum()) / self.params.batch))

    def _targets(self, user: IntArray, place: IntArray) -> IntArray:
        """The event each position shall foretell: the very next, or, for who comes back, one of the next few."""
        left = np.minimum(self.ends[user][:, None] - place, self.params.horizon)
        ahead = (self.rng.random(place.shape) * left).astype(np.int64)
        return np.where(self.back[place], place + ahead, place)

    def _batch(self, user: IntArray, low: IntArray, high: IntArray) -> Batch:
        histories, params, rng = self.histories, self.params, self.rng
        longest = int((high - low).max())
        inside = np.arange(longest) < (high - low)[:, None]  # (b, t)
        place = histories.starts[user][:, None] + np.minimum(low[:, None] + np.arange(longest), high[:, None] - 1)
        target = self._targets(user, place)
        weight = np.where(self.back[place], np.float32(params.return_weight), np.float32(1))
        watched = place[:, :-1]
        negatives = np.searchsorted(self.cumulative, rng.random(params.negatives) * self.cumulative[-1])
        negatives = np.minimum(negatives, self.n_videos - 1)
        explicit, there = self._explicit(user)
        rows, local = np.unique(
            np.concatenate(
                [histories.rows[place].ravel(), histories.rows[target].ravel(), negatives, explicit.ravel()]
            ),
            return_inverse=True,
        )
        b, size = len(user), place.size
        own, target_of = local[:size].reshape(place.shape), local[size : 2 * size].reshape(place.shape)
        negative = local[2 * size : 2 * size + len(negatives)]
        real = np.flatnonzero(inside)
        real = real[np.argsort(self.snapshot[place].ravel()[real], kind="stable")]
        window, wanted = real // longest, target_of.ravel()[real]
        if params.spare_window:
            mine = np.zeros((b, len(rows)), bool)
            mine[np.arange(b)[:, None], own] = True
            mine[np.arange(b)[:, None], target_of] = True
            spared = mine[window[:, None], negative]
        else:
            spared = wanted[:, None].astype(np.int32) == negative.astype(np.int32)
        known, first = np.unique(self.snapshot[place].ravel()[real], return_index=True)
        chance = self.chance[negatives]
        return Batch(
            rows=rows.astype(np.int32),
            inputs=own[:, :-1],
            weights=histories.weights[watched],
            gaps=self._gaps(watched, place[:, 1:]),
            profile=self.profile[user] * (rng.random((b, 1)) >= params.profile_dropout),
            place=real,
            targets=wanted,
            scale=(self.scale[target] * weight).ravel()[real].astype(np.float32),
            negatives=negative,
            bias=(-np.log(params.negatives * chance) if params.log_q else np.zeros(len(negatives))).astype(np.float32),
            spared=spared,
            explicit=local[2 * size + len(negatives) :].reshape(explicit.shape)[window],
            explicit_bias=np.where(there[window], np.log(params.explicit_weight), MASKED).astype(np.float32),
            trends=self.trends.values[known[:, None], rows].astype(np.float32),
            cuts=np.append(first, len(real)),
        )

    def _gaps(self, watched: IntArray, following: IntArray) -> IntArray:
        """Codes (b, t - 1, 2) of the times between events, as somebody knows them who asks in between.

        A request comes at any moment from one event to the next: it says that so long nothing happened, not when
        something will. For some the moment is hidden, as in a list that is made before anybody asks.
        """
        at, later = self.histories.at[watched], self.histories.at[following]
        asked = at + (later - at) * self.rng.random(watched.shape)
        asked[self.rng.random(watched.shape) < self.params.hidden_gaps] = np.nan
        return gaps(at, asked, self.params.request_gap)

    def _explicit(self, user: IntArray) -> tuple[IntArray, BoolArray]:
        """Some explicit negatives (b, m) of each user, and which of them there are."""
        m = self.params.explicit_negatives if len(self.explicit.rows) else 0
        first = self.explicit.starts[user][:, None]
        count = self.explicit.starts[user + 1][:, None] - first
        if m == 0 or not count.any():
            return np.empty((len(user), 0), np.int64), np.empty((len(user), 0), bool)
        chosen = first + (self.rng.random((len(user), m)) * count).astype(np.int64)
        chosen = np.minimum(chosen, len(self.explicit.rows) - 1)
        return self.explicit.rows[chosen].astype(np.int64), np.broadcast_to(count > 0, chosen.shape)
