from __future__ import annotations

import json
import re
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from nextreel import __version__
from nextreel.cli import app as door
from nextreel.cli import batch, demo, recommend
from nextreel.keys import WrongKey, digest, parse
from nextreel.serving import sagemaker
from nextreel.types import DAY, Events, NextreelError, Request, Slate, Trace, UserState

COMMANDS = {
    "demo": [],
    "process": [],
    "train": [],
    "evaluate": [],
    "recommend": [],
    "batch": [],
    "score": [],
    "serve": [],
    "sagemaker": [],
    "tune": [],
    "value": [],
    "data": ["synth", "check", "fetch", "import", "versions", "diff", "bots"],
    "releases": ["list", "show", "promote", "rollback", "pack"],
    "features": ["list", "verify", "history"],
    "keys": ["new"],
    "users": ["forget", "verify-deleted"],
}
WHOLE = [[name, sub] if sub else [name] for name, subs in COMMANDS.items() for sub in (*subs, "")]

runner = CliRunner()


def system() -> Any:
    """A system with two videos that recommends both to anyone, the second first."""
    catalogue = SimpleNamespace(titles=["Tea [live]", "Rain"], category=np.array([0, -1]), category_names=("Food",))

    def answer(request: Request) -> Slate:
        return Slate(
            request=request,
            rows=np.array([1, 0], np.int32),
            video_ids=["b", "a"],
            value=np.array([2, 1], np.float32),
            objectives=np.zeros((2, 1), np.float32),
            sources=["als", "popular"],
            reasons=["Because you watched Tea", "Popular"],
            propensities=np.ones(2, np.float32),
            promoted=np.zeros(2, np.bool_),
            trace=Trace(),
            release="r1",
            level="full",
        )

    def user(user_id: int | str) -> UserState:
        state = UserState(user_id)
        state.history.append(0, 3 * DAY, 2, 1.0)
        return state

    store = SimpleNamespace(user=user)
    return SimpleNamespace(
        resolve_user=lambda text: int(text) if text == "7" else text,
        catalogue=catalogue,
        store=store,
        recommend=answer,
        recommender=SimpleNamespace(recommend=answer),
        data_end=5 * DAY,
        release="r1",
    )


@pytest.fixture
def _opened(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def opened(home: Path, release: str | None = None, feature_log: Path | None = None) -> Iterator[Any]:
        del home, release
        yield system()

    for module in (recommend, batch, demo):
        monkeypatch.setattr(module, "opened", opened)


@pytest.mark.parametrize("command", WHOLE, ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    result = runner.invoke(door.app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_the_version_is_the_packages() -> None:
    assert runner.invoke(door.app, ["--version"]).stdout == f"{__version__}\n"


def test_an_error_is_one_message_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise NextreelError("Expected [a], got b. Hint: c.")

    monkeypatch.setattr(door, "app", fail)
    with pytest.raises(SystemExit) as stopped:
        door.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "Error: Expected [a], got b. Hint: c.\n"


def test_a_wrong_time_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["nextreel", "recommend", "7", "--at", "soon"])
    with pytest.raises(SystemExit) as stopped:
        door.main()
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("Error: Expected `end`")
    assert "Traceback" not in err


@pytest.mark.usefixtures("_opened")
def test_a_persons_list_is_a_table_with_sources_and_reasons() -> None:
    result = runner.invoke(door.app, ["recommend", "7"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert result.stdout.index("Rain") < result.stdout.index("Tea [live]")
    assert "Because you watched Tea" in result.stdout


@pytest.mark.usefixtures("_opened")
def test_a_persons_list_as_json_has_the_id_and_time_that_were_asked() -> None:
    answer = json.loads(runner.invoke(door.app, ["recommend", "7", "--json", "--at", "last"]).stdout)
    assert (answer["user_id"], answer["at"], answer["release"]) == (7, 3 * DAY + 1, "r1")  # just after the last event
    assert [one["video_id"] for one in answer["recommendations"]] == ["b", "a"]
    assert [one["category"] for one in answer["recommendations"]] == ["", "Food"]


@pytest.mark.usefixtures("_opened")
def test_batch_asks_for_the_people_of_the_file_at_the_time_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def top_n(_: Any, users: Any, k: int, at: Any, source: Any, progress: Any) -> pa.Table:
        del progress
        asked.append((users, k, at, source))
        return pa.table({"user_id": [7], "rank": [1], "video_id": ["b"], "score": [1.0]})

    monkeypatch.setitem(sys.modules, "nextreel.serving.batch", SimpleNamespace(top_n=top_n))
    (tmp_path / "ids.txt").write_text("7\nu8\n")
    base = ["batch", "--out", str(tmp_path / "recs.csv")]
    some = runner.invoke(door.app, [*base, "--users", str(tmp_path / "ids.txt"), "-k", "3", "--source", "als"])
    everyone = runner.invoke(door.app, [*base, "--users", "all", "--at", "last"])
    assert (some.exit_code, everyone.exit_code) == (0, 0)
    assert asked == [([7, "u8"], 3, "end", "als"), (None, 100, "last", None)]
    assert (tmp_path / "recs.csv").read_text().splitlines()[0] == '"user_id","rank","video_id","score"'


@pytest.mark.usefixtures("_opened")
def test_the_demo_shows_what_the_person_did_and_what_they_get(capsys: pytest.CaptureFixture[str]) -> None:
    demo.recommend(Path("var"), "r1", 7)
    shown = capsys.readouterr().out
    assert shown.index("1970-01-04") < shown.index("Recommended to 7")


def test_the_typical_person_has_the_median_number_of_events() -> None:
    user = np.repeat(np.arange(3, dtype=np.int32), [1, 5, 20])
    n = len(user)
    none = np.full(n, np.nan, np.float32)
    events = Events(
        np.array([10, 11, 12, 13]),
        user,
        np.zeros(n, np.int32),
        np.arange(n, dtype=float),
        np.zeros(n, np.int8),
        none,
        none,
    )
    assert demo.typical_user(events) == 11
    assert isinstance(demo.typical_user(events), int)


def test_only_known_data_sets_are_fetched(tmp_path: Path) -> None:
    result = runner.invoke(door.app, ["data", "fetch", "netflix", "--to", str(tmp_path)])
    assert isinstance(result.exception, NextreelError)
    assert "ml-1m" in str(result.exception)


def test_checking_refused_data_exits_with_2_and_names_the_row(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,video_id,timestamp,kind\n1,2,100,watch\n1,2,soon,watch\n")
    result = runner.invoke(door.app, ["data", "check", str(tmp_path)])
    assert result.exit_code == 2
    assert re.search(r"interactions\.\w+ +│ 2 +│ \w+", result.stdout)  # file, row, column
    assert "soon" in result.stdout


def test_a_home_without_releases_says_what_to_do_next(tmp_path: Path) -> None:
    result = runner.invoke(door.app, ["releases", "list", "--home", str(tmp_path)])
    assert result.exit_code == 0
    assert "nextreel train" in result.stdout


def test_a_new_key_is_printed_once_with_the_entry_that_lets_it_in() -> None:
    answer = runner.invoke(door.app, ["keys", "new", "--scope", "write", "--scope", "read", "--name", "web"])
    assert answer.exit_code == 0
    key, entry = answer.stdout.splitlines()
    (kept,) = parse(entry)
    assert (kept.name, kept.scopes, kept.digest) == ("web", frozenset({"read", "write"}), digest(key))
    assert answer.output.count(key) == 1


@pytest.mark.parametrize(("scope", "name"), [("root", "web"), ("read", "w:b")])
def test_a_key_without_meaning_is_not_made(scope: str, name: str) -> None:
    answer = runner.invoke(door.app, ["keys", "new", "--scope", scope, "--name", name])
    assert isinstance(answer.exception, WrongKey)
    assert answer.stdout == ""


def test_the_command_of_a_sagemaker_container_is_its_entry() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"]["serve"].partition(":")
    assert getattr(import_module(module), name) is sagemaker.main


def test_a_container_is_served_as_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(sagemaker, "serve", lambda *given: asked.append(given))
    assert runner.invoke(door.app, ["sagemaker"]).exit_code == 0
    given = ["--model", str(tmp_path), "--host", "127.0.0.1", "--port", "9"]
    assert runner.invoke(door.app, ["sagemaker", *given]).exit_code == 0
    assert asked == [(None, "0.0.0.0", None), (tmp_path, "127.0.0.1", 9)]  # noqa: S104  nothing listens


def test_a_release_is_packed_where_it_is_asked_for(home: Path, tmp_path: Path) -> None:
    result = runner.invoke(door.app, ["releases", "pack", "--home", str(home), "--out", str(tmp_path / "m.tar.gz")])
    assert (result.exit_code, result.output.split()[0]) == (0, "Packed")
    with tarfile.open(tmp_path / "m.tar.gz") as archive:
        assert "stages.json" in archive.getnames()
