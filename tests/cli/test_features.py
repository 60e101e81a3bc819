"""`nextreel features`: the list with what a release makes of it, and features of the past."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from nextreel.cli.app import app
from nextreel.data import load, synthetic
from nextreel.features import choose
from nextreel.store.historical import HistoricalStore

runner = CliRunner()


def test_the_features_of_a_release_are_listed_with_their_weight(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.cli.features.out", Console(width=250, highlight=False))
    answer = runner.invoke(app, ["features", "list", "--home", str(home)])
    assert answer.exit_code == 0, answer.output
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in answer.output.splitlines() if "│" in line]
    weight = {line[0].rstrip("*"): line[-1] for line in cells if line[0]}
    assert weight["plays"].endswith("%")
    assert weight["mean_value"] == "not used"  # nobody rates in this world
    assert set(weight) == {feature.__name__ for feature in choose(timed=True)}


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_rows_of_a_file_come_back_with_the_features_of_their_time(name: str, tmp_path: Path) -> None:
    world = synthetic.write(tmp_path / "world", 30, 40, 600)
    dataset = load(world)
    rows = pa.table(
        {
            "user_id": dataset.events.user_ids[:3].tolist(),
            "video_id": dataset.catalogue.video_ids[:3].tolist(),
            "event_timestamp": np.floor(dataset.events.at[[100, 200, 300]]),
        }
    )
    if name.endswith(".csv"):
        (tmp_path / name).write_text(
            "user_id,video_id,event_timestamp\n"
            + "".join(f"{one['user_id']},{one['video_id']},{one['event_timestamp']}\n" for one in rows.to_pylist()),
            encoding="utf-8",
        )
    else:
        pq.write_table(rows, tmp_path / name)
    command = ["features", "history", "--data", str(world), "--rows", str(tmp_path / name), "--feature", "video:plays"]
    answer = runner.invoke(app, [*command, "--out", str(tmp_path / "found.parquet")])
    assert answer.exit_code == 0, answer.output
    found = pq.read_table(tmp_path / "found.parquet")
    expected = HistoricalStore(dataset).get_historical_features(rows, ["video:plays"]).to_arrow()
    assert found["plays"].to_pylist() == expected["plays"].to_pylist()
    assert found.column_names == [*rows.column_names, "plays"]
