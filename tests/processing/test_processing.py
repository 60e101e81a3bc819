"""The pipeline: the same rows however it runs, also after it was stopped, and clear errors for what cannot be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from nextreel.folders import FolderInUse, alone
from nextreel.processing import ProcessingError, ProcessingParams, ProcessingPipeline
from nextreel.processing.output import TABLES
from nextreel.processing.visits import SPLITS
from nextreel.registry import Registry
from nextreel.types import NextreelError

if TYPE_CHECKING:
    import pyarrow as pa

    from nextreel.data import Dataset

local = import_module("nextreel.processing.local")
output = import_module("nextreel.processing.output")

Rows = Callable[[Path], "dict[str, pa.Table]"]


def files(out: Path) -> set[str]:
    """Every file below the folder but the lock."""
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.name != ".lock"}


def alike(got: dict[str, pa.Table], expected: dict[str, pa.Table], same: Callable[..., None]) -> None:
    assert set(got) == set(expected) == {f"{table}/{split}" for table in TABLES for split in SPLITS}
    for name, table in expected.items():
        same(got[name], table)


def test_workers_and_parts_change_no_row(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    rows_in: Rows,
    same: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_process: None,
) -> None:
    del in_process
    dataset = dirty(1)
    whole = ProcessingPipeline(tmp_path / "whole", params_of(parts=1), workers=1).run(dataset)
    cut = ProcessingPipeline(tmp_path / "cut", params_of(parts=3), workers=1).run(dataset)
    many = ProcessingPipeline(tmp_path / "many", params_of(parts=1, shard_events=60), workers=1).run(dataset)
    monkeypatch.undo()  # real processes
    spawned = ProcessingPipeline(tmp_path / "spawned", params_of(parts=3), workers=2).run(dataset)
    expected = rows_in(whole.out)
    for one, parts in ((cut, 3), (many, 5), (spawned, 3)):
        assert len(list((one.out / "ranker" / "test.parquet").iterdir())) == parts
        alike(rows_in(one.out), expected, same)
        assert (one.rows, one.sources) == (whole.rows, whole.sources)
    assert all(count for of in whole.rows.values() for count in of.values())


def test_what_is_told_is_what_lies_there(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    rows_in: Rows,
    tmp_path: Path,
    in_process: None,
) -> None:
    del in_process
    told: list[tuple[str, int | None, int]] = []

    @contextmanager
    def progress(label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        done: list[int] = []
        yield done.append
        told.append((label, total, sum(done)))

    dataset = dirty(1)
    pipeline = ProcessingPipeline(tmp_path / "out", params_of(), progress=progress)
    done = pipeline.run(dataset)
    rows = {name: table.num_rows for name, table in rows_in(done.out).items()}
    assert rows == {f"{table}/{split}": n for table, of in done.rows.items() for split, n in of.items()}
    found = rows_in(done.out)
    sources = [one for split in SPLITS for one in found[f"ranker/{split}"]["source"].to_pylist()]
    assert {name: sources.count(name) for name in set(sources)} == done.sources
    assert ("sorting people", len(dataset.events), len(dataset.events)) in told
    assert ("writing rows", None, sum(rows.values())) in told
    manifest = json.loads((done.out / "manifest.json").read_text())
    assert (manifest["rows"], manifest["sources"], manifest["data"]["version"]) == (
        done.rows,
        done.sources,
        done.version,
    )
    assert ProcessingParams.model_validate(manifest["params"]) == pipeline.params
    assert not (done.out / "_work").exists()
    (done.out / "_work" / "events").mkdir(parents=True)  # as if stopped after the last file was written
    again = ProcessingPipeline(tmp_path / "out", params_of()).run(dataset)
    assert again == replace(done, seconds={})
    assert not (done.out / "_work").exists()


def test_specs_are_the_columns_of_the_files(
    dirty: Callable[..., Dataset], params_of: Callable[..., ProcessingParams], tmp_path: Path, in_process: None
) -> None:
    del in_process
    pipeline = ProcessingPipeline(tmp_path, params_of())
    with pytest.raises(ProcessingError, match="Hint: nextreel process"):
        pipeline.get_feature_specs()
    pipeline.run(dirty(2, text=True))
    specs = pipeline.get_feature_specs()
    for table in TABLES:
        for split in SPLITS:
            for file in (tmp_path / table / f"{split}.parquet").iterdir():
                schema = pq.read_schema(file)
                assert [(one.name, str(one.type).replace("element", "item")) for one in schema] == [
                    (spec.name, spec.type) for spec in specs if spec.table == table
                ]
    for spec in specs:
        if spec.encoder is not None:
            assert (tmp_path / f"{spec.encoder}.json").is_file()
        if spec.size is not None:
            folder = tmp_path / spec.table
            columns = [pq.read_table(folder / f"{split}.parquet")[spec.name] for split in SPLITS]
            values = [one for column in columns for one in column.to_pylist()]
            codes = [code for one in values for code in (one if isinstance(one, list) else [one])]
            assert 0 <= min(codes) <= max(codes) < spec.size, spec.name


class Stopped(Exception):
    """Stands for whatever stops a run."""


@pytest.mark.parametrize("table", TABLES)
def test_a_run_that_was_stopped_goes_on_with_the_missing_parts(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    rows_in: Rows,
    same: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_process: None,
    table: str,
) -> None:
    del in_process
    dataset, params = dirty(3), params_of()
    expected = ProcessingPipeline(tmp_path / "whole", params, workers=1).run(dataset)
    real = output.rows_of
    written: list[str] = []

    def until(part: int) -> None:
        """Lets so many parts be written, then stops in the midst of one."""

        def rows_of(name: str, shared: Any, own: Any, recommender_of: Any = None) -> Any:
            if name == table and len(written) == part:
                raise Stopped
            if name == TABLES[0]:
                written.append(name)
            yield from real(name, shared, own, recommender_of)

        monkeypatch.setattr(output, "rows_of", rows_of)

    until(1 if table == TABLES[0] else 2)
    pipeline = ProcessingPipeline(tmp_path / "out", params, workers=1)
    with pytest.raises(Stopped):
        pipeline.run(dataset)
    assert (tmp_path / "out" / "_work" / "done-00000.json").is_file()
    assert not (tmp_path / "out" / "manifest.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*.parquet/part-00000.parquet")}
    assert len(kept) == 6
    with pytest.raises(ProcessingError, match="those of others"):
        ProcessingPipeline(tmp_path / "out", params_of(negative_ratio=1)).run(dataset)
    until(-1)
    written.clear()
    left = 3 - len(list((tmp_path / "out" / "_work").glob("done-*.json")))
    done = pipeline.run(dataset)
    assert len(written) == left > 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    alike(rows_in(done.out), rows_in(expected.out), same)
    assert (done.rows, done.sources) == (expected.rows, expected.sources)
    assert files(done.out) == files(expected.out)


def test_a_part_whose_file_or_mark_is_gone_is_written_again(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    rows_in: Rows,
    same: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_process: None,
) -> None:
    del in_process
    pipeline = ProcessingPipeline(tmp_path / "out", params_of(), workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(ProcessingPipeline, "_finish", lambda *_: (_ for _ in ()).throw(Stopped))
        with pytest.raises(Stopped):
            pipeline.run(dirty(3))
    (tmp_path / "out" / "_work" / "done-00002.json").unlink()
    (tmp_path / "out" / "ranker" / "val.parquet" / "part-00001.parquet").unlink()
    (tmp_path / "out" / "ranker" / "val.parquet" / ".part-00001.parquet.half").write_bytes(b"half")
    parts: list[list[int]] = []
    real = local.run

    def run(job: Any, left: Sequence[int], *rest: Any) -> Any:
        parts.append(list(left))
        return real(job, left, *rest)

    monkeypatch.setattr(local, "run", run)
    done = pipeline.run(dirty(3))
    assert parts == [[1, 2]]
    whole = ProcessingPipeline(tmp_path / "whole", params_of(), workers=1).run(dirty(3))
    alike(rows_in(done.out), rows_in(whole.out), same)
    assert files(done.out) == files(whole.out)


def test_rows_of_other_data_or_parameters_are_kept_unless_told_to_overwrite(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    rows_in: Rows,
    same: Callable[..., None],
    tmp_path: Path,
    in_process: None,
) -> None:
    del in_process
    out = tmp_path / "out"
    ProcessingPipeline(out, params_of(parts=5), workers=1).run(dirty(4))
    before = rows_in(out)
    fewer = ProcessingPipeline(out, params_of(parts=2), workers=1)
    for pipeline, dataset in ((fewer, dirty(4)), (ProcessingPipeline(out, params_of(parts=5), workers=1), dirty(5))):
        with pytest.raises(ProcessingError, match="--overwrite"):
            pipeline.run(dataset)
    alike(rows_in(out), before, same)
    fewer.run(dirty(5), overwrite=True)
    fresh = ProcessingPipeline(tmp_path / "fresh", params_of(parts=2), workers=1).run(dirty(5)).out
    assert files(out) == files(fresh)
    alike(rows_in(out), rows_in(fresh), same)
    for name in files(out):
        if name.endswith(".json"):
            assert (out / name).read_bytes() == (fresh / name).read_bytes(), name


@pytest.mark.parametrize("content", ["{}", "[]", "not JSON", ""])
def test_a_folder_of_something_else_is_left_alone(
    dirty: Callable[..., Dataset], params_of: Callable[..., ProcessingParams], tmp_path: Path, content: str
) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ProcessingError, match="something else"):
        ProcessingPipeline(tmp_path, params_of()).run(dirty(0))
    assert (tmp_path / "manifest.json").read_text() == content
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "ranker").mkdir()
    with pytest.raises(ProcessingError, match=r"with ranker/ and no manifest\.json"):
        ProcessingPipeline(tmp_path, params_of()).run(dirty(0))


def test_two_runs_do_not_write_into_one_folder(
    dirty: Callable[..., Dataset], params_of: Callable[..., ProcessingParams], tmp_path: Path, in_process: None
) -> None:
    del in_process
    pipeline = ProcessingPipeline(tmp_path / "out", params_of())
    with alone(tmp_path / "out"), pytest.raises(FolderInUse, match="another run is writing"):
        pipeline.run(dirty(0), overwrite=True)
    assert pipeline.run(dirty(0)).rows["ranker"]["train"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_run_that_is_killed_leaves_no_process_and_goes_on_where_it_was(
    rows_in: Rows, same: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text("parts: 6\nencoders: {title: hashed}\n")
    script = "from nextreel.cli.app import main; main()"
    sizes = ["--users", "400", "--videos", "300", "--interactions", "60000", "--workers", "2"]
    given = ["process", "--synthetic", *sizes, "--config", str(tmp_path / "small.yaml"), "--out"]
    command = [sys.executable, "-c", script, *given]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with subprocess.Popen([*command, str(killed)], stderr=subprocess.DEVNULL) as run:  # noqa: S603  our own program
        while not (written := list(killed.glob("_work/done-*.json"))):
            time.sleep(0.05)
            assert run.poll() is None
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        run.kill()
    assert len(written) < 6
    started = time.monotonic()
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < started + 20:
        time.sleep(0.1)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert len(list(killed.glob("_work/done-*.json"))) < 6
    for out in (killed, whole):
        subprocess.run([*command, str(out)], check=True, capture_output=True)  # noqa: S603  our own program
    alike(rows_in(killed), rows_in(whole), same)
    assert files(killed) == files(whole)
    assert (killed / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()


class Killed:
    """A part that ends the process which is handed it."""

    def __reduce__(self) -> tuple[Callable[[int], Any], tuple[int]]:
        return os._exit, (9,)


def test_a_process_that_dies_is_told_with_what_to_do(tmp_path: Path) -> None:
    job = local.Job(tmp_path / "_work", tmp_path, None, None)
    with pytest.raises(ProcessingError, match=r"a process died.*Hint: run the same command again"):
        local.run(job, [Killed()], 2, import_module("nextreel.progress").silent)


def test_an_error_of_a_process_is_told_as_it_is(tmp_path: Path) -> None:
    job = local.Job(tmp_path / "_work", tmp_path, None, None)
    with pytest.raises(FileNotFoundError, match=r"about\.json"):
        local.run(job, [0], 2, import_module("nextreel.progress").silent)


def test_a_relative_folder_is_as_good_as_another(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_process: None,
) -> None:
    del in_process
    monkeypatch.chdir(tmp_path)
    done = ProcessingPipeline(Path("a folder/out"), params_of(), workers=1).run(dirty(0))
    assert done.out == Path("a folder/out")
    assert (tmp_path / "a folder" / "out" / "manifest.json").is_file()


def test_a_synthetic_world_is_processed_and_overwritten(
    params_of: Callable[..., ProcessingParams], tmp_path: Path, in_process: None
) -> None:
    del in_process
    pipeline = ProcessingPipeline(tmp_path, params_of(), workers=1)
    first = pipeline.run_synthetic(20, 60, 600, seed=1)
    assert first.rows["two_tower"]["train"] > 20
    assert pipeline.run_synthetic(20, 60, 600, seed=1).seconds == {}
    with pytest.raises(ProcessingError, match="those of others"):
        pipeline.run_synthetic(20, 60, 600, seed=2)
    second = pipeline.run_synthetic(20, 60, 600, seed=2, overwrite=True)
    assert second.version != first.version


def test_titles_are_embedded_once(
    dirty: Callable[..., Dataset], params_of: Callable[..., ProcessingParams], tmp_path: Path, in_process: None
) -> None:
    del in_process
    for run in range(2):
        pipeline = ProcessingPipeline(tmp_path / f"{run}", params_of(), workers=1, cache=tmp_path / "cache")
        pipeline.run(dirty(0))
    vectors = [np.load(tmp_path / f"{run}" / "embeddings" / "title_vectors.npy") for run in range(2)]
    assert (vectors[0] == vectors[1]).all()
    assert any((tmp_path / "cache").rglob("*"))


# --- Negatives that a release retrieves -----------------------------------------------------------------------------


def test_half_of_what_impressions_leave_is_retrieved(
    tiny_dataset: Dataset,
    params_of: Callable[..., ProcessingParams],
    home: Path,
    rows_in: Rows,
    same: Callable[..., None],
    tmp_path: Path,
    in_process: None,
) -> None:
    del in_process
    release = Registry(home).production()
    dataset = tiny_dataset.until(1_500)
    given = params_of(negative_ratio=6)
    with_it = ProcessingPipeline(tmp_path / "with", given, workers=1).run(dataset, home, release)
    without = ProcessingPipeline(tmp_path / "without", given, workers=1).run(dataset)
    assert with_it.sources["retrieved"] > 0
    assert without.sources.get("retrieved", 0) == 0
    for kind in ("liked", "rejected", "shown"):
        assert with_it.sources[kind] == without.sources[kind]
    assert abs(with_it.sources["retrieved"] - with_it.sources["random"]) < 0.3 * with_it.sources["random"]
    found, plain = rows_in(with_it.out), rows_in(without.out)
    same(found["two_tower/train"], plain["two_tower/train"])
    rows = found["ranker/train"]
    per_visit: dict[int, list[tuple[str, str]]] = {}
    columns = (rows[name].to_pylist() for name in ("visit", "source", "video_id"))
    for visit, source, video in zip(*columns, strict=True):
        per_visit.setdefault(visit, []).append((source, video))
    for one in per_visit.values():
        assert len({video for _, video in one}) == len(one)
    again = ProcessingPipeline(tmp_path / "again", params_of(negative_ratio=6, parts=1), workers=1)
    alike(rows_in(again.run(dataset, home, release).out), found, same)


def test_a_release_of_other_videos_is_refused_before_anything_is_written(
    dirty: Callable[..., Dataset], params_of: Callable[..., ProcessingParams], home: Path, tmp_path: Path
) -> None:
    pipeline = ProcessingPipeline(tmp_path / "out", params_of())
    with pytest.raises(ProcessingError, match="Expected a release of the same 40 videos"):
        pipeline.run(dirty(0), home, Registry(home).production())
    with pytest.raises(NextreelError, match="none"):
        pipeline.run(dirty(0), home, "none")
    assert not (tmp_path / "out").exists()


def test_a_release_without_its_folder_is_refused(
    dirty: Callable[..., Dataset], params_of: Callable[..., ProcessingParams], home: Path, tmp_path: Path
) -> None:
    pipeline = ProcessingPipeline(tmp_path / "out", params_of())
    for given in ((home, None), (None, "20260101-000000-abcdef")):
        with pytest.raises(ProcessingError, match="Hint: give --home DIR and --release ID"):
            pipeline.run(dirty(0), *given)


# --- Leftovers of another engine ------------------------------------------------------------------------------------


def test_rows_that_spark_left_when_it_was_stopped_are_not_mixed_in(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    rows_in: Rows,
    same: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_process: None,
) -> None:
    del in_process
    whole = ProcessingPipeline(tmp_path / "whole", params_of(), workers=1).run(dirty(3))

    def stopped(job: Any, progress: Any) -> None:
        del progress
        folder = job.out / "two_tower" / "train.parquet"
        shutil.copytree(tmp_path / "whole" / "two_tower" / "train.parquet", folder)
        (folder / "part-00000.parquet").rename(folder / "part-00000-1c9d.zstd.parquet")
        (folder / "_temporary" / "0").mkdir(parents=True)
        (folder / "_SUCCESS").touch()
        raise Stopped

    monkeypatch.setattr(import_module("nextreel.processing.spark"), "run", stopped)
    with pytest.raises(Stopped):
        ProcessingPipeline(tmp_path / "out", params_of(), engine="spark").run(dirty(3))
    done = ProcessingPipeline(tmp_path / "out", params_of(), workers=1).run(dirty(3))
    alike(rows_in(done.out), rows_in(whole.out), same)
    assert files(done.out) == files(whole.out)


def test_parts_are_not_taken_for_written_after_spark_began_anew(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_process: None,
) -> None:
    del in_process
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(ProcessingPipeline, "_finish", lambda *_: (_ for _ in ()).throw(Stopped))
        with pytest.raises(Stopped):
            ProcessingPipeline(out, params_of(), workers=1).run(dirty(3))
    assert len(list(out.glob("_work/done-*.json"))) == 3

    def stopped(job: Any, progress: Any) -> None:
        del progress
        assert not list(job.work.glob("done-*.json"))
        assert not list(job.out.glob("*/*.parquet/*"))
        raise Stopped

    monkeypatch.setattr(import_module("nextreel.processing.spark"), "run", stopped)
    with pytest.raises(Stopped):
        ProcessingPipeline(out, params_of(), engine="spark").run(dirty(3))
