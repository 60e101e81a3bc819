"""Events summed into ratings."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from nextreel.data import write_ratings


def test_the_values_of_a_user_and_a_video_are_summed(tmp_path: Path) -> None:
    source = tmp_path / "interactions.csv"
    source.write_text("user_id,video_id,event,value\nu1,b,watch,1\nu1,a,like,2\nu1,b,complete,3\nu2,b,watch,1\n")
    write_ratings(source, tmp_path / "out")
    table = pl.read_parquet(tmp_path / "out" / "ratings.parquet")
    assert table.select("user_id", "video_id", "rating").rows() == [("u1", "b", 4), ("u1", "a", 2), ("u2", "b", 1)]
    mappings = json.loads((tmp_path / "out" / "mappings.json").read_text())
    assert mappings == {"users": ["u1", "u2"], "videos": ["b", "a"]}
    assert table.select("user_row", "video_row").rows() == [(0, 0), (0, 1), (1, 0)]


def test_an_event_without_a_value_counts_by_its_kind_and_an_impression_not_at_all(tmp_path: Path) -> None:
    source = tmp_path / "interactions.csv"
    source.write_text("user_id,video_id,event\n1,5,watch\n1,5,like\n1,5,complete\n1,6,impression\n")
    write_ratings(source, tmp_path / "out")
    table = pl.read_parquet(tmp_path / "out" / "ratings.parquet")
    assert table.select("user_id", "video_id", "rating").rows() == [(1, 5, 6)]
