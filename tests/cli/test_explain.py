"""`nextreel recommend --explain` over a trained release."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nextreel.cli import show
from nextreel.cli.app import app

runner = CliRunner()


def call(*arguments: object) -> str:
    result = runner.invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def test_the_parts_of_every_score_are_told_and_the_list_stays_the_same(home: Path) -> None:
    plain = json.loads(call("recommend", "person-7", "-k", 4, "--json", "--home", home))
    told = json.loads(call("recommend", "person-7", "-k", 4, "--json", "--explain", "--home", home))
    for one, other in zip(plain["recommendations"], told["recommendations"], strict=True):
        why = other.pop("explanation")
        assert one == other
        assert sum(why["contributions"]["relevance"].values()) == pytest.approx(one["score"], rel=1e-3, abs=1e-4)
        assert "base" in why["contributions"]["relevance"]
        assert why["places"]["by_diversity"] == one["rank"] - 1
        assert bool(why["moved_by"]) == (why["places"]["value"] != one["rank"] - 1)


def test_the_largest_parts_are_a_table(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show.out, "_width", 240)
    printed = call("recommend", "person-7", "-k", 3, "--explain", "--home", home)
    assert "What adds to relevance" in printed
    assert "Rank after each step" in printed
    assert "What adds" not in call("recommend", "person-7", "-k", 3, "--home", home)
