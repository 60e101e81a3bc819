"""`nextreel videos` over a trained home."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from nextreel.cli.app import app
from nextreel.data import DataError
from nextreel.opening import open_system
from nextreel.types import NextreelError
from nextreel.uploads import Upload


def run(*words: str | Path) -> str:
    answer = CliRunner().invoke(app, [str(word) for word in words])
    if answer.exception is not None:
        raise answer.exception
    return answer.output


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_the_videos_of_a_file_are_added_and_one_is_removed(home: Path, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"videos{ending}"
    records = {
        "video_id": ["new", "v1"],
        "title": ["Rye bread", None],
        "category": ["Baking", None],
        "tags": ["rye|oven", None],
        "published_at": ["2026-01-01T00:00:00Z", None],
        "maturity_rating": ["PG-13", None],
        "view_count": [7, 8],
    }
    table = pl.DataFrame(records)
    if ending == ".csv":
        table.write_csv(file)
    else:
        table.write_parquet(file)
    assert "1 new videos, 1 told anew" in run("videos", "add", file, "--home", home)
    assert "Withdrawn: v2" in run("videos", "remove", "v2", "--home", home)
    system = open_system(home, clock="end")
    catalogue = system.catalogue
    row = catalogue.row_of["new"]
    assert (catalogue.titles[row], catalogue.tags[row], catalogue.maturity[row]) == ("Rye bread", ["rye", "oven"], 13)
    assert catalogue.published_at[row] == 1_767_225_600.0
    assert catalogue.titles[catalogue.row_of["v1"]] == "v1"
    assert not catalogue.available[catalogue.row_of["v2"]]
    system.close()


def test_a_file_with_a_wrong_cell_adds_nothing(home: Path, tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text("video_id,duration\nnew,60\nother,long\n")
    with pytest.raises(DataError, match="duration"):
        run("videos", "add", tmp_path / "videos.csv", "--home", home)
    (tmp_path / "videos.csv").write_text("video_id\n")
    with pytest.raises(NextreelError, match="Expected videos in"):
        run("videos", "add", tmp_path / "videos.csv", "--home", home)
    with pytest.raises(NextreelError, match="No video 'nothing'"):
        run("videos", "remove", "nothing", "--home", home)
    system = open_system(home)
    assert system.catalogue.changes == 0
    system.close()


def test_more_videos_than_one_change_holds_are_all_added(home: Path, tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text("\n".join(["video_id", *(f"new-{n}" for n in range(501))]))
    assert "501 new videos, 0 told anew" in run("videos", "add", tmp_path / "videos.csv", "--home", home)
    system = open_system(home)
    assert (system.catalogue.changes, len(system.catalogue)) == (2, 120 + 501)
    assert system.upload([Upload(video_id="new-500")]) == [("new-500", False)]
    system.close()
