"""From events to ratings: what matrix factorisation reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

from nextreel.data.sources import load
from nextreel.relevance import Relevance, weights
from nextreel.types import UNKNOWN, Kind

_TOUCHES = (Kind.IMPRESSION, Kind.SUBSCRIBE, Kind.BLOCK)  # kinds that make no rating without a value of their own


def write_ratings(path: Path, out: Path, rules: Relevance | None = None) -> Path:
    """The folder with `ratings.parquet` and `mappings.json`, made from a source of events.

    The values of a user and a video are summed into one rating; an event without a value counts by its kind (watch 1,
    like 2, complete 3 by default). `ratings.parquet` holds user_id, video_id, user_row, video_row and rating, in the
    order in which the pairs come first; `mappings.json` lists the ids by row. Raises `DataError` as `load` does.
    """
    dataset = load(path)
    events = dataset.events
    unknown = np.full(len(events), np.nan, np.float32)  # how long was watched does not enter
    by_kind = weights(events.kind, unknown, unknown, events.value, rules or Relevance())
    told = ~np.isnan(events.value)
    counts = (events.video != UNKNOWN) & (told | ~np.isin(events.kind, _TOUCHES))
    frame = pl.DataFrame(
        {
            "user_row": events.user[counts],
            "video_row": events.video[counts],
            "rating": np.where(told, events.value, by_kind)[counts].astype(np.float64),
        }
    )
    summed = frame.group_by("user_row", "video_row", maintain_order=True).agg(pl.col("rating").sum())
    table = summed.select(
        pl.Series("user_id", events.user_ids[summed["user_row"].to_numpy()].tolist()),
        pl.Series("video_id", dataset.catalogue.video_ids[summed["video_row"].to_numpy()].tolist()),
        pl.col("user_row", "video_row"),
        pl.col("rating").cast(pl.Float32),
    )
    out.mkdir(parents=True, exist_ok=True)
    table.write_parquet(out / "ratings.parquet")
    mappings = {"users": events.user_ids.tolist(), "videos": dataset.catalogue.video_ids.tolist()}
    (out / "mappings.json").write_text(json.dumps(mappings, ensure_ascii=False), encoding="utf-8")
    return out
