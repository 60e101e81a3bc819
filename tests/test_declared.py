"""The declared value formula: followed by whoever serves from the home, at once and without training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nextreel.cli.app import app
from nextreel.declared import FILE, DeclaredValue
from nextreel.opening import open_system
from nextreel.system import FOLLOW_EVERY, System
from nextreel.types import NextreelError, Request

BACKWARD = "0 - relevance"


@pytest.fixture
def system(home: Path) -> Iterator[System]:
    system = open_system(home, clock="end")
    yield system
    system.close()


def values(system: System) -> dict[object, float]:
    slate = system.recommend(Request("person-7", system.data_end, 20))
    return dict(zip(slate.video_ids, slate.value.tolist(), strict=True))


def test_a_running_system_follows_what_is_declared_and_goes_back(home: Path, system: System) -> None:
    before = values(system)
    DeclaredValue(home).write(BACKWARD)
    time.sleep(2 * FOLLOW_EVERY)
    after = values(system)
    assert system.value == BACKWARD
    assert list(after) != list(before)
    for video in set(before) & set(after):
        assert after[video] == -before[video]
    assert max(-value for value in after.values()) < max(before.values())
    DeclaredValue(home).write(None)
    time.sleep(2 * FOLLOW_EVERY)
    assert values(system) == before


def test_a_system_opened_later_is_ordered_by_what_is_declared(home: Path) -> None:
    DeclaredValue(home).write(BACKWARD)
    system = open_system(home, clock="end")
    try:
        assert (np.array(list(values(system).values())) <= 0).any()
        assert system.value == BACKWARD
    finally:
        system.close()


@pytest.mark.parametrize("body", [b'{"value": "relevance + telepathy"}', b"not json", b'{"formula": "relevance"}'])
def test_what_cannot_be_followed_changes_nothing_and_is_told(home: Path, system: System, body: bytes) -> None:
    before = values(system)
    (home / FILE).write_bytes(body)
    time.sleep(2 * FOLLOW_EVERY)
    assert values(system) == before
    assert [status for name, status, _ in system.health() if name == "value"] == ["degraded"]
    later = open_system(home, clock="end")
    try:
        assert values(later) == before
        assert [status for name, status, _ in later.health() if name == "value"] == ["degraded"]
        assert str(later.value_problem).count("Hint: nextreel value --reset") == 1
    finally:
        later.close()
    shown = CliRunner().invoke(app, ["value", "--home", str(home)]).output
    assert "ordered by: relevance (the release's own)" in shown
    assert "cannot be followed" in shown
    (home / FILE).unlink()
    time.sleep(2 * FOLLOW_EVERY)
    assert values(system) == before
    assert [status for name, status, _ in system.health() if name == "value"] == ["healthy"]


def test_the_command_declares_shows_and_takes_back(home: Path) -> None:
    def say(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["value", *arguments, "--home", str(home)])
        assert done.exit_code == 0, done.output
        return done.output

    assert "Lists are ordered by: relevance (the release's own)" in say()
    assert f"Lists are ordered by: {BACKWARD}\n" in say(BACKWARD)
    assert f"Lists are ordered by: {BACKWARD}\n" in say()
    assert "(the release's own)" in say("--reset")
    assert not (home / FILE).exists()


def test_a_formula_of_what_the_release_does_not_predict_is_refused(home: Path) -> None:
    done = CliRunner().invoke(app, ["value", "relevance + telepathy", "--home", str(home)])
    assert isinstance(done.exception, NextreelError)
    assert "telepathy" in str(done.exception)
    assert not (home / FILE).exists()


def test_a_formula_that_is_no_number_of_some_scores_is_refused(home: Path) -> None:
    done = CliRunner().invoke(app, ["value", "log(relevance)", "--home", str(home)])
    assert isinstance(done.exception, NextreelError)
    assert "finite value" in str(done.exception)
    assert not (home / FILE).exists()


def test_of_many_writers_at_once_each_writes_a_whole_formula(tmp_path: Path) -> None:
    texts = [f"relevance * {number}" for number in range(1, 9)]

    def write(text: str) -> None:
        for _ in range(50):
            DeclaredValue(tmp_path).write(text)
            assert DeclaredValue(tmp_path).read() in texts

    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(write, texts))
    assert sorted(one.name for one in tmp_path.iterdir()) == [".lock", FILE]
