"""`nextreel tune`: what it prints and writes, and what it refuses before a long run begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nextreel.assembly import load_config
from nextreel.cli import loading, show
from nextreel.cli.app import app
from nextreel.data import synthetic
from nextreel.evaluation.tuning import SpaceError, offered

runner = CliRunner()
FEW = """
[als]
factors = 8
iterations = 3
threads = 1
[quotas]
two_tower = 0
[moments]
active = 20
idle = 20
[ranker.catboost]
order_iterations = 10
threads = 1
"""
SPACE = "[ranker.catboost]\norder_iterations = { low = 5, high = 20 }\n"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal so wide that no line is broken."""
    monkeypatch.setattr(show.out, "_width", 300)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder of 60 people and 80 videos, with a configuration of a small model and a space beside them."""
    synthetic.write(tmp_path / "world", 60, 80, 2_000, 5)
    (tmp_path / "few.toml").write_text(FEW)
    (tmp_path / "space.toml").write_text(SPACE)
    return tmp_path / "world"


def call(world: Path, *arguments: object) -> Result:
    beside = world.parent
    given = ["tune", "--data", world, "--config", beside / "few.toml", "--out", beside / "study", *arguments]
    given += ["--times", 2, "--seeds", 1]
    return runner.invoke(app, [str(one) for one in given])


def test_a_search_is_told_written_and_goes_on(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = ("--space", world.parent / "space.toml")
    result = call(world, "--trials", 2, *space)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "The best trials of catboost" in result.stdout
    assert "0 (defaults)" in result.stdout
    folder = world.parent / "study" / "catboost"
    assert str(folder / "best.toml") in result.stdout
    assert (folder / "study.md").read_text().startswith("`catboost`: 2 trials judged with 1 seeds")
    assert load_config(folder / "best.toml").als.factors == 8
    monkeypatch.setattr(offered, "fit", None)  # nothing but rankers is fitted again
    result = call(world, "--trials", 1, *space)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "3 trials judged with 1 seeds" in result.stdout
    result = call(world, "--trials", 1, "--family", "lightgbm")  # another family is judged on the same
    assert result.exit_code == 0, (result.output, result.exception)
    assert "The best trials of lightgbm" in result.stdout


def test_a_wrong_space_is_refused_before_the_data_are_read(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load", None)
    result = call(world, "--space", world.parent / "none.toml")
    assert isinstance(result.exception, SpaceError)
