"""The same rows on Apache Spark as on one machine, bit by bit; one fast test for every change, the others slow."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from nextreel.processing import ProcessingError, ProcessingParams, ProcessingPipeline
from nextreel.registry import Registry

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from nextreel.data import Dataset

Rows = Callable[[Path], "dict[str, pa.Table]"]

# PySpark says of a pandas newer than it that it was not tested; no pandas is used here.
pytestmark = pytest.mark.filterwarnings("ignore:.*pandas.*:FutureWarning", "ignore:.*pandas.*:UserWarning")


@pytest.fixture(scope="module")
def session() -> Iterator[SparkSession]:
    """Spark on two cores of this machine, which ends with the tests of this file."""
    sql = pytest.importorskip("pyspark.sql", reason="needs the extra `spark`", exc_type=ImportError)
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("needs Java")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        builder = sql.SparkSession.builder.master("local[2]").appName("tests").config("spark.ui.enabled", "false")
        made = (
            builder.config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .getOrCreate()
        )
        made.sparkContext.setLogLevel("ERROR")
        yield made
        made.stop()


def agree(one: Path, other: Path, rows_in: Rows, same: Callable[..., None]) -> int:
    """How many rows there are in either folder, which hold the same."""
    first, second = rows_in(one), rows_in(other)
    assert set(first) == set(second)
    for name, table in first.items():
        got = second[name].select(table.column_names)
        same(got.cast(table.schema), table)
    return sum(table.num_rows for table in first.values())


def test_both_engines_write_the_same_rows(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    rows_in: Rows,
    same: Callable[..., None],
    session: SparkSession,
    tmp_path: Path,
    in_process: None,
) -> None:
    del in_process
    for number, options in enumerate(({}, {"timed": False, "text": True})):
        dataset = dirty(1, **options)
        local = ProcessingPipeline(tmp_path / f"local {number}", params_of(), workers=1).run(dataset)
        # a second run in the same session, in another folder and with other encoders: nothing of the first is left
        spark = ProcessingPipeline(tmp_path / f"spark {number}", params_of(), "spark").run(dataset)
        assert (spark.rows, spark.sources) == (local.rows, local.sources)
        assert agree(local.out, spark.out, rows_in, same) >= 300
        assert not (spark.out / "_work").exists()
    assert session.sparkContext.master == "local[2]"
    assert session.range(3).count() == 3  # a session that was there is not stopped


@pytest.mark.slow
def test_spark_overwrites_what_the_other_engine_wrote(
    dirty: Callable[..., Dataset],
    params_of: Callable[..., ProcessingParams],
    rows_in: Rows,
    same: Callable[..., None],
    session: SparkSession,
    tmp_path: Path,
    in_process: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del in_process, session
    monkeypatch.chdir(tmp_path)
    relative = Path("over")
    ProcessingPipeline(relative, params_of(), workers=1).run(dirty(2))
    ProcessingPipeline(relative, params_of(negative_ratio=1), "spark").run(dirty(2), overwrite=True)
    plain = ProcessingPipeline(tmp_path / "plain", params_of(negative_ratio=1), workers=1).run(dirty(2))
    assert agree(plain.out, relative, rows_in, same) > 200
    ProcessingPipeline(relative, params_of(negative_ratio=1), workers=1).run(dirty(2), overwrite=True)
    assert agree(plain.out, relative, rows_in, same) > 200
    assert not list(relative.rglob("_SUCCESS"))


@pytest.mark.slow
def test_spark_retrieves_with_a_release(
    tiny_dataset: Dataset,
    params_of: Callable[..., ProcessingParams],
    home: Path,
    rows_in: Rows,
    same: Callable[..., None],
    session: SparkSession,
    tmp_path: Path,
    in_process: None,
) -> None:
    del in_process, session
    dataset, release = tiny_dataset.until(600), Registry(home).production()
    local = ProcessingPipeline(tmp_path / "local", params_of(), workers=1).run(dataset, home, release)
    spark = ProcessingPipeline(tmp_path / "spark", params_of(), "spark").run(dataset, home, release)
    assert spark.sources["retrieved"] > 0
    assert agree(local.out, spark.out, rows_in, same) > 100


def test_without_pyspark_it_is_told_what_to_install(
    dirty: Callable[..., Dataset], params_of: Callable[..., ProcessingParams], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(ProcessingError, match=r"pip install 'nextreel\[spark\]' and Java"):
        ProcessingPipeline(tmp_path, params_of(), "spark").run(dirty(0))


@pytest.mark.slow
def test_both_engines_write_the_same_rows_of_movielens(
    movielens: Path,
    params_of: Callable[..., ProcessingParams],
    rows_in: Rows,
    same: Callable[..., None],
    session: SparkSession,
    tmp_path: Path,
) -> None:
    from nextreel.data import load  # noqa: PLC0415  most tests need no table library

    del session
    dataset = load(movielens)
    local = ProcessingPipeline(tmp_path / "local", params_of(parts=4), workers=2).run(dataset)
    spark = ProcessingPipeline(tmp_path / "spark", params_of(parts=4), "spark").run(dataset)
    assert (spark.rows, spark.sources) == (local.rows, local.sources)
    assert agree(local.out, spark.out, rows_in, same) > 3_000_000
