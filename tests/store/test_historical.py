"""Features of the past: what a replay up to that time gives, for rows in any order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from nextreel.features import choose, compute
from nextreel.relevance import Relevance
from nextreel.store import MemoryStore
from nextreel.store.historical import EntityError, HistoricalStore
from nextreel.types import Moment, Request

if TYPE_CHECKING:
    from nextreel.data import Dataset


@pytest.fixture(scope="module")
def store(tiny_dataset: Dataset) -> HistoricalStore:
    return HistoricalStore(tiny_dataset)


def asked(dataset: Dataset, n: int, seed: int = 0) -> pa.Table:
    """Rows of random people, videos and times: before the first event, at events, between and after them."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(dataset.events.at[0] - 1e5, dataset.events.at[-1] + 1e5, n)
    at[: n // 3] = rng.choice(dataset.events.at, n // 3)
    return pa.table(
        {
            "event_timestamp": at,
            "user_id": [*rng.choice(dataset.events.user_ids, n - 1).tolist(), "a stranger"],
            "video_id": rng.choice(dataset.catalogue.video_ids, n).tolist(),
            "mark": np.arange(n),
        }
    )


def test_every_value_is_that_of_a_replay_up_to_the_time(tiny_dataset: Dataset, store: HistoricalStore) -> None:
    rows = asked(tiny_dataset, 60)
    found = store.get_historical_features(rows).to_arrow()
    assert found["mark"].to_pylist() == list(range(60))
    features = choose(timed=True)
    events, catalogue = tiny_dataset.events, tiny_dataset.catalogue
    profiles = dict(zip(events.user_ids.tolist(), tiny_dataset.profiles, strict=True))
    for row in rows.to_pylist():
        replay = MemoryStore(catalogue, Relevance(), profiles)
        replay.apply_many(events.take(slice(0, int((events.at < row["event_timestamp"]).sum()))))
        moment = Moment.unscored(
            Request(row["user_id"], row["event_timestamp"]),
            replay.user(row["user_id"]),
            catalogue,
            replay.counters,
            catalogue.rows([row["video_id"]]),
            store.codes,
        )
        expected = compute(features, moment).values[0]
        got = [found[feature.__name__][row["mark"]].as_py() for feature in features]
        np.testing.assert_allclose(np.array(got, np.float32), expected, rtol=1e-6)


def test_the_order_of_the_rows_changes_nothing(tiny_dataset: Dataset, store: HistoricalStore) -> None:
    rows = asked(tiny_dataset, 40, seed=1)
    order = np.random.default_rng(2).permutation(40)
    one = store.get_historical_features(rows).to_arrow().take(pa.array(order))
    other = store.get_historical_features(rows.take(pa.array(order))).to_arrow()
    for name in one.column_names[4:]:
        np.testing.assert_array_equal(one[name].to_numpy(), other[name].to_numpy(), name)


def test_features_are_named_by_view(tiny_dataset: Dataset, store: HistoricalStore) -> None:
    wanted = ["video:plays", "user:age", "user_video:category_affinity"]
    rows = asked(tiny_dataset, 5)
    short = store.get_historical_features(rows, wanted).to_arrow()
    assert short.column_names == [*rows.column_names, "plays", "age", "category_affinity"]
    full = store.get_historical_features(rows, wanted, full_feature_names=True).to_arrow()
    assert full.column_names[4:] == ["video__plays", "user__age", "user_video__category_affinity"]
    views = store.feature_views()
    assert sum(map(len, views.values())) == len(choose(timed=True))
    assert "plays" in views["video"]


def test_times_may_be_timestamps_of_any_zone(tiny_dataset: Dataset, store: HistoricalStore) -> None:
    rows = asked(tiny_dataset, 8)
    seconds = np.floor(rows["event_timestamp"].to_numpy())
    plain = rows.set_column(0, "event_timestamp", pa.array(seconds))
    stamps = [datetime.fromtimestamp(one, UTC) for one in seconds]
    zoned = rows.set_column(0, "event_timestamp", pa.array(stamps, pa.timestamp("ms", "Asia/Tokyo")))
    one, other = (store.get_historical_features(table, ["video:plays"]).to_arrow() for table in (plain, zoned))
    assert one["plays"].to_pylist() == other["plays"].to_pylist()


def test_no_rows_give_no_rows(tiny_dataset: Dataset, store: HistoricalStore) -> None:
    found = store.get_historical_features(asked(tiny_dataset, 2).slice(0, 0), ["user:age"]).to_arrow()
    assert (found.num_rows, found.column_names[-1]) == (0, "age")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.drop_columns(["video_id"]), "got no video_id"),
        (lambda rows: rows.set_column(2, "video_id", pa.array(["v1", "nowhere"])), "'nowhere' in row 2"),
        (lambda rows: rows.set_column(0, "event_timestamp", pa.array([1.0, None])), "none in 1 rows"),
        (lambda rows: rows.set_column(0, "event_timestamp", pa.array(["now", "then"])), "got string"),
        (lambda rows: rows.set_column(1, "user_id", pa.array(["u1", None])), "none in row 2"),
    ],
)
def test_rows_that_cannot_be_answered_are_told(
    spoil: object, message: str, tiny_dataset: Dataset, store: HistoricalStore
) -> None:
    with pytest.raises(EntityError, match=message):
        store.get_historical_features(spoil(asked(tiny_dataset, 2)))  # type: ignore[operator]  # a lambda of above


def test_a_feature_that_is_not_there_is_told(tiny_dataset: Dataset, store: HistoricalStore) -> None:
    with pytest.raises(EntityError, match="got video:beauty"):
        store.get_historical_features(asked(tiny_dataset, 2), ["video:plays", "video:beauty"])
