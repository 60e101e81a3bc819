"""Batches in folders of parts: complete, the same as answers, and going on where they were stopped."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextreel.folders import half
from nextreel.opening import open_system
from nextreel.serving import batch
from nextreel.serving.batch import MANIFEST, Asked, top_n, vectors, write
from nextreel.system import System
from nextreel.types import Event, Kind, NextreelError, Request

LISTS = Asked("lists", "end", 5, "two_tower")


@pytest.fixture(scope="module")
def system(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for the tests that send no feedback."""
    home = Path(shutil.copytree(trained, tmp_path_factory.mktemp("batch") / "home"))
    system = open_system(home, clock="end")
    yield system
    system.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


class Stopped(Exception):
    """Somebody pulled the plug."""


def stop_after(monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    """The process dies while it writes one more part than these: half of it lies there."""
    whole, done = batch._write_part, 0

    def write_part(table: pa.Table, file: Path) -> None:
        nonlocal done
        done += 1
        if done > parts:
            half(file).write_bytes(b"PAR1 half")
            raise Stopped
        whole(table, file)

    monkeypatch.setattr(batch, "_write_part", write_part)


def test_the_parts_together_are_the_table_of_everybody(system: System, tmp_path: Path) -> None:
    done = write(system, LISTS, tmp_path / "recs", part_size=30)
    assert (done.parts, done.made, done.rows, done.at) == (3, 3, 83 * 5, system.data_end)
    assert names(tmp_path / "recs") == [MANIFEST, "part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert pq.read_table(tmp_path / "recs").equals(top_n(system, None, 5, source="two_tower"))


def test_a_batch_that_was_stopped_goes_on_with_the_missing_parts(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "recs"
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(Stopped):
            write(system, LISTS, out, part_size=20)
    assert not json.loads((out / MANIFEST).read_text())["complete"]
    old = {name: (out / name).stat().st_mtime_ns for name in names(out) if name.startswith("part-")}
    assert sorted(old) == ["part-00000.parquet", "part-00001.parquet"]
    done = write(system, LISTS, out, part_size=20)
    assert (done.parts, done.made) == (5, 3)
    assert {name: (out / name).stat().st_mtime_ns for name in old} == old
    assert pq.read_table(out).equals(top_n(system, None, 5, source="two_tower"))
    assert not [name for name in names(out) if name.endswith(".half")]


def test_a_batch_that_is_complete_is_not_made_again_unless_it_shall_be(system: System, tmp_path: Path) -> None:
    assert write(system, LISTS, tmp_path, part_size=50).made == 2
    again = write(system, LISTS, tmp_path, part_size=50)
    assert (again.made, again.rows) == (0, 83 * 5)
    assert write(system, LISTS, tmp_path, part_size=50, overwrite=True).made == 2


@pytest.mark.parametrize(
    ("asked", "changes", "told"),
    [
        (Asked("lists", "end", 6, "two_tower"), {}, "k 5, not 6"),
        (Asked("lists", "last", 5, "two_tower"), {}, "at 'end', not 'last'"),
        (Asked("lists", "end", 5, None), {}, "source 'two_tower', not None"),
        (Asked("users", "end"), {}, "what 'lists', not 'users'"),
        (LISTS, {"users": ["person-2", "person-1"]}, "ids"),
        (LISTS, {"part_size": 1}, "part_size"),
    ],
)
def test_another_batch_in_the_folder_is_told_apart_and_kept(
    system: System, tmp_path: Path, asked: Asked, changes: dict[str, Any], told: str
) -> None:
    people = ["person-1", "person-2"]
    write(system, LISTS, tmp_path, people)
    before = pq.read_table(tmp_path)
    with pytest.raises(NextreelError, match=rf"(?s){told}.*--overwrite"):
        write(system, asked, tmp_path, **{"users": people, **changes})
    assert pq.read_table(tmp_path).equals(before)


def test_an_overwritten_batch_leaves_no_part_behind(system: System, tmp_path: Path) -> None:
    write(system, LISTS, tmp_path, part_size=10)
    write(system, Asked("lists", "end", 2, "two_tower"), tmp_path, ["person-4"], overwrite=True)
    assert names(tmp_path) == [MANIFEST, "part-00000.parquet"]
    assert pq.read_table(tmp_path)["user_id"].to_pylist() == ["person-4"] * 2


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_with_anything_else_is_left_alone(system: System, tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "part-00000.parquet").write_text("somebody's")
    (tmp_path / "thesis.docx").write_text("dear")
    with pytest.raises(NextreelError, match="thesis"):
        write(system, LISTS, tmp_path, overwrite=overwrite)
    assert (tmp_path / "thesis.docx").read_text() == "dear"
    assert (tmp_path / "part-00000.parquet").read_text() == "somebody's"


def test_a_manifest_that_cannot_be_read_is_told(system: System, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(NextreelError, match="--overwrite"):
        write(system, LISTS, tmp_path)


def test_two_runs_never_write_into_one_folder(system: System, tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(NextreelError, match="another run"):
            write(system, LISTS, tmp_path)


def test_a_batch_keeps_the_time_at_which_it_began(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = open_system(home, clock="end")
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stopped):
            write(system, LISTS, tmp_path / "recs", part_size=50)
    began = system.data_end
    system.feedback([Event("person-83", began + 100.0, Kind.LIKE, system.catalogue.video_ids[0])])
    assert system.data_end > began
    assert write(system, LISTS, tmp_path / "recs", part_size=50).at == began
    system.close()


def test_a_batch_of_nobody_has_one_part_with_the_columns_of_others(system: System, tmp_path: Path) -> None:
    done = write(system, LISTS, tmp_path, [])
    assert (done.parts, done.rows) == (1, 0)
    assert pq.read_schema(tmp_path / "part-00000.parquet").field("video_id").type == pa.string()


def test_lists_at_everybodys_own_last_event_are_those_of_single_requests(system: System, tmp_path: Path) -> None:
    write(system, Asked("lists", "last", 4, "two_tower"), tmp_path, ["person-3", "person-9"], "last")
    table = pq.read_table(tmp_path)
    towers = system.recommender.alone("two_tower")
    for user_id in ("person-3", "person-9"):
        at = system.store.user(user_id).last_at + 1.0
        mine = [
            v for u, v in zip(table["user_id"].to_pylist(), table["video_id"].to_pylist(), strict=True) if u == user_id
        ]
        assert mine == towers.recommend(Request(user_id, at, 4, anytime=True)).video_ids


def test_inner_products_of_the_written_vectors_are_the_towers_scores(system: System, tmp_path: Path) -> None:
    write(system, Asked("users", "end"), tmp_path / "users", part_size=40)
    done = write(system, Asked("videos", "end"), tmp_path / "videos", part_size=50)
    assert (done.parts, done.rows) == (3, 120)
    users, videos = pq.read_table(tmp_path / "users"), pq.read_table(tmp_path / "videos")
    assert videos.equals(vectors(system, "videos"))
    assert users.equals(vectors(system, "users"))
    assert videos.schema.field("vector").type == pa.list_(pa.float32(), 16)
    assert videos["video_id"].to_pylist() == system.catalogue.video_ids.tolist()

    def matrix(table: pa.Table) -> np.ndarray[Any, np.dtype[np.float32]]:
        vector, trends = (np.array(table[name].to_pylist(), np.float32) for name in ("vector", "trends"))
        assert np.linalg.norm(vector, axis=1) == pytest.approx(1, abs=1e-5)
        return np.concatenate([vector, trends], axis=1)

    place = users["user_id"].to_pylist().index("person-7")
    towers = system.recommender.alone("two_tower").sources[0].retriever
    state, every = system.store.user("person-7"), np.arange(120, dtype=np.int32)
    expected = towers.score(Request("person-7", system.data_end), state, every)
    assert matrix(videos) @ matrix(users)[place] == pytest.approx(expected, abs=1e-4)
