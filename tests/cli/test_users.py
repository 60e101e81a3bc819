"""`nextreel users`, over a trained home."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nextreel.cli import show
from nextreel.cli.app import app
from nextreel.opening import open_system
from nextreel.types import Event, Kind, NextreelError

SOMEONE = "person-7"

runner = CliRunner()


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show.out, "_width", 200)


def call(command: str, home: Path, code: int = 0) -> str:
    result = runner.invoke(app, ["users", command, SOMEONE, "--home", str(home)])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def act(home: Path) -> None:
    system = open_system(home, clock="end")
    system.feedback([Event(SOMEONE, system.now(), Kind.LIKE, system.catalogue.video_ids[0])])
    system.close()


def test_who_was_forgotten_is_verified_to_be_gone(home: Path) -> None:
    act(home)
    assert "never forgotten. Next: nextreel users forget" in call("verify-deleted", home, 1)
    told = call("forget", home)
    receipt = told.split("Receipt ")[1].split()[0]
    checked = call("verify-deleted", home)
    assert f"Nothing is left, receipt {receipt}" in checked
    assert "bytes of files" in checked
    act(home)
    assert f"Nothing is left, receipt {receipt}" in call("verify-deleted", home)  # a newcomer is somebody else


def test_what_is_left_is_named(home: Path) -> None:
    call("forget", home)
    (home / "notes.txt").write_text(f"Ask {SOMEONE}.")
    assert "Something is left in: bytes of files." in call("verify-deleted", home, 1)


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    result = runner.invoke(app, ["users", "forget", SOMEONE, "--home", str(tmp_path / "nothing")])
    assert isinstance(result.exception, NextreelError)
    assert "Expected a home at" in str(result.exception)
    assert not (tmp_path / "nothing").exists()
