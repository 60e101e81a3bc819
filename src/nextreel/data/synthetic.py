"""A synthetic world: people with known tastes, videos a person can read about, and what the people did.

Everybody mixes one to three interests, of which some grow and others fade; videos lie near the interest they are made
for; what is popular drifts, new videos come every day, and some are episodes of series. People come in visits that
mostly stay within one interest, look at the top of a list first, watch longer what they like, go on with a series and
see more of the channels they subscribe to.

The world is lived through day by day. People are cut into shards, which do not depend on each other: each process
holds one shard's memory, and days go to the disk as they pass, so that a world needs little memory however large it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from nextreel.data.dataset import Dataset, Tables, assemble
from nextreel.data.errors import Report, RowNumbers
from nextreel.data.schemas import SCHEMAS
from nextreel.data.tables import Raw
from nextreel.data.validation import clean
from nextreel.data.versions import Source
from nextreel.data.world import disk
from nextreel.data.world import rows as world_rows
from nextreel.data.world import truth as world_truth
from nextreel.data.world.life import live
from nextreel.data.world.people import people
from nextreel.data.world.plan import END, Plan, day_weights, quotas
from nextreel.data.world.truth import People, Truth
from nextreel.data.world.uploads import uploads
from nextreel.progress import Progress, silent
from nextreel.types import FloatArray, IdArray, TimeArray, UserId, VideoId

_TABLES = ("users", "videos", "channels", "interactions")


@dataclass(frozen=True, slots=True)
class World:
    """Tables of a data folder, and the truth they came from, in memory."""

    users: pl.DataFrame
    videos: pl.DataFrame
    channels: pl.DataFrame
    interactions: pl.DataFrame
    truth: Truth
    plan: Plan

    @classmethod
    def make(
        cls,
        users: int = 1_000,
        videos: int = 500,
        interactions: int = 10_000,
        seed: int = 42,
        end: float = END,
        days: int = 60,
    ) -> World:
        """A world whose days before `end` hold exactly so many interactions; the same for the same arguments.

        Raises `NextreelError` where a size is below 1, or where so few people and videos cannot do so much.
        """
        plan = Plan(users, videos, interactions, days, seed, end)
        made, tables = zip(*(people(plan, shard) for shard in range(len(plan.shards))), strict=True)
        about, table, channels = uploads(plan)
        dealt = quotas(plan.interactions, np.array([day_weights(plan, one.joined, one.activity).sum() for one in made]))
        parts = [
            day
            for shard, (one, n) in enumerate(zip(made, dealt.tolist(), strict=True))
            for day in live(plan, world_truth.of(one, about, plan.start, plan.end), shard, n)
        ]
        done = world_rows.table(world_rows.in_order(parts), 0)
        truth = world_truth.of(People.joined_up(made), about, plan.start, plan.end)
        return cls(pl.concat(tables), table, channels, _plain(done), truth, plan)

    def preference(
        self,
        user_ids: Sequence[UserId] | IdArray,
        video_ids: Sequence[VideoId] | IdArray,
        at: float | TimeArray | None = None,
    ) -> FloatArray:
        """The true preference from 0 to 1 of each pair (n,) of a user and a video; at the world's end if not said."""
        return self.truth.preference(user_ids, video_ids, at)

    def dataset(self) -> Dataset:
        """The data set that `load` makes of the written world, without a file."""
        report = Report()
        frames = {name: clean(Raw(name, getattr(self, name), RowNumbers()), SCHEMAS[name], report) for name in _TABLES}
        report.raise_if_refused()
        content = [
            Source(name, 0, sha256(getattr(self, name).hash_rows().to_numpy().tobytes()).hexdigest())
            for name in _TABLES
        ]
        return assemble(Tables(**frames), content)

    def write(self, out: Path) -> Path:
        """The folder with the same files as those of `write` with the same arguments."""
        return disk.write(Path(out), self.plan, 1, silent)


def write(
    out: Path,
    users: int = 1_000,
    videos: int = 500,
    interactions: int = 10_000,
    seed: int = 42,
    days: int = 60,
    processes: int = 2,
    progress: Progress = silent,
) -> Path:
    """The folder with a world's tables, and the truth in `world/`; byte for byte the same for the same arguments.

    The tables are `users|videos|channels|interactions.parquet`; a large world's interactions are `interactions/` with
    parts in order of time. `processes` changes the time it takes, nothing else. Raises `NextreelError` as `World.make`
    does.
    """
    return disk.write(Path(out), Plan(users, videos, interactions, days, seed), processes, progress)


def _plain(table: pa.Table) -> pl.DataFrame:
    """The table with text where it has codes of a dictionary."""
    columns = {
        name: column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pl.DataFrame(pl.from_arrow(pa.table(columns)))
