"""The offline half of the feature store: what every feature was at any time of the past, after Feast's manner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel.features import choose, compute, words
from nextreel.features.describe import describe
from nextreel.progress import Progress, silent
from nextreel.relevance import Relevance
from nextreel.store.counters import Counters
from nextreel.store.memory import advance, relevance_of
from nextreel.types import (
    UNKNOWN,
    Codes,
    Feature,
    FloatArray,
    Moment,
    NextreelError,
    Request,
    RowArray,
    TimeArray,
    UserState,
    VideoId,
)

if TYPE_CHECKING:
    from nextreel.data.dataset import Dataset

ENTITIES = ("user_id", "video_id", "event_timestamp")
_VIEWS = {"person": "user", "video": "video", "both": "user_video"}
_STEP = 50_000  # events applied at once at most, so that the bar moves


class EntityError(NextreelError):
    """Rows or feature names that the store cannot answer for."""


@dataclass(frozen=True)
class HistoricalFeatures:
    """The rows that were asked for, in their order, with a column for each feature."""

    table: pa.Table

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table."""
        return self.table

    def to_df(self) -> Any:
        """The rows as a pandas frame, which needs pandas to be installed."""
        return self.table.to_pandas()


class HistoricalStore:
    """Features of people and videos at times of the past, by replaying a data set's events up to each of them.

    Named as Feast names it: feature views are `user`, `video` and `user_video`, a feature is `video:plays`. Values
    are those of the functions that serve; an event at the very time of a row is not known yet.
    """

    def __init__(self, dataset: Dataset, rules: Relevance | None = None, codes: Codes | None = None) -> None:
        self.dataset = dataset
        self.rules = rules or Relevance()
        self.codes = codes or words.codes(words.fit(dataset.events, dataset.profiles, floor=1))
        self._features = choose(dataset.timed)

    def feature_views(self) -> dict[str, list[str]]:
        """The names of the features of each view."""
        views: dict[str, list[str]] = {view: [] for view in _VIEWS.values()}
        for feature in self._features:
            views[_VIEWS[describe(feature).of]].append(feature.__name__)
        return views

    def get_historical_features(
        self,
        entity_df: Any,
        features: Sequence[str] | None = None,
        *,
        full_feature_names: bool = False,
        progress: Progress = silent,
    ) -> HistoricalFeatures:
        """The given rows and what each feature was just before each row's time.

        `entity_df` (an Arrow table, or a pandas or Polars frame) has the columns `user_id`, `video_id` and
        `event_timestamp` (a timestamp, or seconds since 1970 UTC); other columns come back as they are. `features`
        are names such as `user:age`; None is every one. With `full_feature_names` columns are named `user__age`.

        Raises `EntityError` for a feature that is not there, a video that is not in the catalogue, or a column that
        is missing or empty somewhere. A person who is not known has no history.
        """
        entities = entity_df if isinstance(entity_df, pa.Table) else pa.table(entity_df)
        names, chosen = self._chosen(features, full_feature_names)
        at = _seconds(entities)
        rows = self._rows(entities)
        people = entities["user_id"].to_pylist()
        if None in people:
            raise EntityError(f"Expected a user_id in every row, got none in row {people.index(None) + 1:,}.")
        values = self._replay(people, rows, at, chosen, progress)
        for name, column in zip(names, values, strict=True):
            entities = entities.append_column(name, pa.array(column))
        return HistoricalFeatures(entities)

    def _chosen(self, wanted: Sequence[str] | None, full: bool) -> tuple[list[str], list[Feature]]:
        """Column names and functions of the features that are asked for."""
        known = {f"{_VIEWS[describe(one).of]}:{one.__name__}": one for one in self._features}
        wanted = list(known) if wanted is None else list(wanted)
        strange = [name for name in wanted if name not in known]
        if strange:
            raise EntityError(
                f"Expected features such as {', '.join(list(known)[:3])}, got {', '.join(strange)}. "
                "Hint: feature_views() names them all; `nextreel features list` says what they are."
            )
        columns = [name.replace(":", "__") if full else name.partition(":")[2] for name in wanted]
        return columns, [known[name] for name in wanted]

    def _rows(self, entities: pa.Table) -> RowArray:
        ids: list[VideoId] = entities["video_id"].to_pylist()
        rows = self.dataset.catalogue.rows(ids)
        strange = np.flatnonzero(rows == UNKNOWN)
        if len(strange):
            raise EntityError(
                f"Expected videos of the data set, got {ids[strange[0]]!r} in row {strange[0] + 1:,} "
                f"({len(strange):,} such rows)."
            )
        return rows

    def _replay(
        self, people: Sequence[Any], rows: RowArray, at: TimeArray, features: Sequence[Feature], progress: Progress
    ) -> FloatArray:
        """(features, rows) values; rows of one person at one time are computed together."""
        events, catalogue = self.dataset.events, self.dataset.catalogue
        code_of = {user_id: code for code, user_id in enumerate(events.user_ids.tolist())}
        users = np.array([code_of.get(one, UNKNOWN) for one in people], np.int32)
        states = {
            code: UserState(events.user_ids[code], self.dataset.profiles[code], known=True)
            for code in np.unique(users[users >= 0]).tolist()
        }
        graded = relevance_of(events, catalogue, self.rules)
        mine = np.isin(events.user, list(states))
        counters = Counters(len(catalogue), len(catalogue.channel_ids))
        values = np.empty((len(features), len(rows)), np.float32)
        applied = 0
        with progress("replaying", len(events)) as moved:
            for group in _groups(users, people, at):
                first = group[0]
                upto = int(np.searchsorted(events.at, at[first], side="left"))
                while applied < upto:
                    step = slice(applied, min(applied + _STEP, upto))
                    counters.add(events.take(step), graded[step])
                    for which in _by_person(events.user, np.flatnonzero(mine[step]) + applied):
                        advance(states[int(events.user[which[0]])], events.take(which), graded[which])
                    moved(step.stop - applied)
                    applied = step.stop
                state = states.get(int(users[first])) or UserState(people[first])
                request = Request(state.user_id, float(at[first]))
                moment = Moment.unscored(request, state, catalogue, counters, rows[group], self.codes)
                values[:, group] = compute(features, moment).values.T
        return values


def _seconds(entities: pa.Table) -> TimeArray:
    """Each row's time in seconds since 1970 UTC. Raises `EntityError` where a column is missing or empty."""
    missing = [name for name in ENTITIES if name not in entities.column_names]
    if missing:
        raise EntityError(f"Expected the columns {', '.join(ENTITIES)}, got no {', '.join(missing)}.")
    column = entities["event_timestamp"]
    if column.null_count:
        raise EntityError(f"Expected an event_timestamp in every row, got none in {column.null_count:,} rows.")
    if pa.types.is_timestamp(column.type):
        return np.asarray(column.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() / 1e6, np.float64)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return np.asarray(column.to_numpy(), np.float64)
    raise EntityError(f"Expected event_timestamp as timestamps or seconds since 1970, got {column.type}.")


def _groups(users: NDArray[np.int32], people: Sequence[Any], at: TimeArray) -> list[NDArray[np.intp]]:
    """Positions of the rows of one person at one time, groups oldest first; strangers are told apart by their id."""
    strangers = {one: -2 - n for n, one in enumerate({p for p, u in zip(people, users, strict=True) if u < 0})}
    who = np.array([u if u >= 0 else strangers[p] for p, u in zip(people, users.tolist(), strict=True)], np.int64)
    order = np.lexsort((who, at))
    new = np.flatnonzero((np.diff(at[order]) != 0) | (np.diff(who[order]) != 0)) + 1
    return np.split(order, new) if len(order) else []


def _by_person(user: NDArray[np.int32], number: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The event numbers of each person, oldest first."""
    order = number[np.argsort(user[number], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(user[order])) + 1) if len(order) else []
