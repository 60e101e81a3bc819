"""A world of two people whose every metric at every k is worked out by hand, and the reports that must show them all.

The lists are 100 long. The first person's holds rows 0 to 99 in order; 8 videos were right for them: those at the
places 1, 3, 7, 15, 31 and 63 and two that are in no list. The second's holds rows 5 to 104; two videos were right,
those at the places 15 and 63. At these places 1 / log2(place + 1) is 1, 1/2, 1/3, 1/4, 1/5 and 1/6.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from nextreel import data, evaluation
from nextreel.cli import app as door
from nextreel.evaluation.protocols import CUTS, measure
from nextreel.evaluation.results import Comparison, Results, Row
from nextreel.metrics import Truth
from nextreel.types import Events, FloatArray, Kind, RowArray

if TYPE_CHECKING:
    from nextreel.data import Dataset

USERS, VIDEOS = 2, 125
FIVE = 1 + 1 / math.log2(3) + 1 / 2 + 1 / math.log2(5) + 1 / math.log2(6)  # gains of five right places
EIGHT = FIVE + 1 / math.log2(7) + 1 / 3 + 1 / math.log2(9)  # of eight
TWO = 1 + 1 / math.log2(3)

BY_HAND = {
    # right among the first k: 2, 3, 4, 5, 6 of 8 for the first person, 0, 0, 1, 1, 2 of 2 for the second
    "recall@5": (2 / 8 + 0) / 2,
    "recall@10": (3 / 8 + 0) / 2,
    "recall@20": (4 / 8 + 1 / 2) / 2,
    "recall@50": (5 / 8 + 1 / 2) / 2,
    "recall@100": (6 / 8 + 2 / 2) / 2,
    "precision@5": (2 / 5 + 0) / 2,
    "precision@10": (3 / 10 + 0) / 2,
    "precision@20": (4 / 20 + 1 / 20) / 2,
    "precision@50": (5 / 50 + 1 / 50) / 2,
    "precision@100": (6 / 100 + 2 / 100) / 2,
    "hit_rate@5": 0.5,
    "hit_rate@10": 0.5,
    "hit_rate@20": 1.0,
    "hit_rate@50": 1.0,
    "hit_rate@100": 1.0,
    # gains 1 + 1/2 = 3/2, 11/6, 25/12, 137/60, 49/20 and 0, 0, 1/4, 1/4, 5/12; five places hold 5 of 8 right ones
    "ndcg@5": (3 / 2 / FIVE + 0) / 2,
    "ndcg@10": (11 / 6 / EIGHT + 0) / 2,
    "ndcg@20": (25 / 12 / EIGHT + 1 / 4 / TWO) / 2,
    "ndcg@50": (137 / 60 / EIGHT + 1 / 4 / TWO) / 2,
    "ndcg@100": (49 / 20 / EIGHT + 5 / 12 / TWO) / 2,
    "mrr": (1 + 1 / 15) / 2,
    "map@100": ((1 / 1 + 2 / 3 + 3 / 7 + 4 / 15 + 5 / 31 + 6 / 63) / 8 + (1 / 15 + 2 / 63) / 2) / 2,
    # rows 0 to 9 and 5 to 14 are shown, 15 of the 120 videos that have events
    "coverage@10": 15 / 120,
    # ascending: 105 never, 10 once (2 i - 121 sums to 1000), 5 twice (575); 20 places in all
    "gini@10": (1000 * 1 + 575 * 2) / (120 * 20),
    # 45 pairs. Tea and film: 10 + 10 at cosine 1, 25 at 0; film and both: 10 + 10 at 1, 25 at 1 / sqrt 2
    "diversity@10": ((1 - 20 / 45) + (1 - (20 + 25 / math.sqrt(2)) / 45)) / 2,
    # row 0 has (3 + 1) / 128 of the watches: 5 bits; every other row 1 / 128: 7 bits
    "novelty@10": ((5 + 9 * 7) / 10 + 7) / 2,
}


def lists() -> RowArray:
    return np.stack([np.arange(100), np.arange(5, 105)]).astype(np.int32)


def world() -> evaluation.Split:
    """What was right for the two; a third person watched row 0 three times before."""
    right = [(0, row) for row in (0, 2, 6, 14, 30, 62, 105, 106)] + [(1, row) for row in (19, 67)]
    user, row = np.array(right).T
    nothing = np.full(3, np.nan, np.float32)
    history = Events(
        user_ids=np.array(["a", "b", "c"], dtype=object),
        user=np.full(3, 2, np.int32),
        video=np.zeros(3, np.int32),
        at=np.arange(3.0),
        kind=np.full(3, Kind.WATCH, np.int8),
        value=nothing,
        watch_seconds=nothing,
    )
    return evaluation.Split(
        history=history,
        train=3,
        watched=np.ones(3, np.bool_),
        seen=np.ones(3, np.bool_),
        users=np.arange(USERS, dtype=np.int32),
        truth=Truth.of(user, row, USERS),
        at=3.0,
        videos=np.arange(VIDEOS) < 120,
    )


def categories() -> FloatArray:
    """Rows 0 to 4 are of the category tea, 5 to 9 of film, 10 to 14 of both, the rest of none."""
    belongs = np.zeros((VIDEOS, 2), np.float32)
    belongs[0:5, 0] = belongs[10:15, 0] = 1
    belongs[5:15, 1] = 1
    return belongs


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    return measure(lists(), world(), categories())[0]


@pytest.fixture(scope="module")
def results(found: dict[str, float]) -> Results:
    """Seven models as a run has them, the last with the metrics worked out by hand."""
    names = ["random", "popular", "popular_7d", "item_item", "ease", "als"]
    rows = [Row(name, "baseline", dict.fromkeys(found, 0.1), 1.0) for name in names]
    return Results(
        protocol="frozen",
        users=USERS,
        truths=5.0,
        videos=120,
        rows=[*rows, Row("nextreel", "pipeline", found, 137.1)],
        comparisons=[Comparison("ndcg@10", "nextreel", "ease", 0.1, -0.1, 0.3)],
        notes=["what the figures rest on"],
        seed=42,
        seconds=1.0,
        peak_memory=10**9,
        data={"version": "two people"},
        commit=None,
        hardware={"processor": "a processor", "cores": 2},
        versions={},
    )


def printed(what: RenderableType, width: int) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as shown:
        console.print(what)
    return shown.get()


def test_every_metric_at_every_k_is_what_a_hand_works_out(found: dict[str, float]) -> None:
    assert found == pytest.approx(BY_HAND, abs=1e-12)


def test_what_must_be_reported_is_measured(found: dict[str, float]) -> None:
    assert CUTS == (5, 10, 20, 50, 100)
    cut = {f"{stem}@{k}" for stem in ("recall", "ndcg", "hit_rate", "precision") for k in (5, 10, 20, 50, 100)}
    assert cut | {"mrr", "map@100", "coverage@10", "gini@10", "diversity@10", "novelty@10"} == set(found)


def test_the_json_file_holds_every_metric_of_every_model(results: Results, tmp_path: Path) -> None:
    path, _ = evaluation.write(results, tmp_path / "frozen.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [row["model"] for row in rows] == [row.model for row in results.rows]
    assert all(set(row["metrics"]) == set(BY_HAND) for row in rows)
    assert rows[-1]["metrics"] == pytest.approx(BY_HAND)


def test_the_markdown_file_holds_every_metric_at_every_k(results: Results, tmp_path: Path) -> None:
    _, path = evaluation.write(results, tmp_path / "frozen.json")
    text = path.read_text(encoding="utf-8")
    for title, stem in (("Recall", "recall"), ("NDCG", "ndcg"), ("HitRate", "hit_rate"), ("Precision", "precision")):
        table = text.split(f"**{title}@k**\n\n")[1].split("\n\n")[0].splitlines()
        assert table[0] == "| model | @5 | @10 | @20 | @50 | @100 |"
        assert table[1].count("|") == table[0].count("|") == 7
        assert [line.split(" | ")[0] for line in table[2:]] == [f"| {row.model}" for row in results.rows]
        cells = [f"{BY_HAND[f'{stem}@{k}']:.4f}" for k in CUTS]
        assert table[-1] == f"| nextreel | {' | '.join(cells)} |"
    assert "| model | MRR | MAP@100 | Coverage@10 | Gini@10 | Diversity@10 | Novelty@10 | seconds |" in text
    others = ("mrr", "map@100", "coverage@10", "gini@10", "diversity@10", "novelty@10")
    cells = [f"{BY_HAND[name]:.4f}" for name in others]
    assert f"| nextreel | {' | '.join(cells)} | 137.1 |" in text
    assert "- Diversity: 1 - mean cosine" in text


def test_the_markdown_file_begins_with_the_main_metrics(results: Results) -> None:
    main, fold = results.to_markdown().split("<details>")
    assert (
        "| model | Recall@10 | NDCG@10 | HitRate@10 | Recall@100 | MRR | MAP@100 | Coverage@10 | Diversity@10 |" in main
    )
    assert "Precision" not in main
    assert "- what the figures rest on" in main
    assert fold.index("</details>") < fold.index("data two people")  # the lineage is not hidden


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_full_table_is_whole_in_a_terminal(results: Results, width: int) -> None:
    text = printed(results.full_table(), width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    values = set(text.split())
    assert {f"{value:.4f}" for value in BY_HAND.values()} <= values
    assert "Precision@k" in text
    assert "137.1" in values


def test_a_hundred_columns_have_room_for_two_tables_beside_each_other(results: Results) -> None:
    lines = printed(results.full_table(), 100).splitlines()
    assert any("Recall@k" in line and "NDCG@k" in line for line in lines)
    assert any("HitRate@k" in line and "Precision@k" in line for line in lines)


def test_the_short_table_fits_eighty_columns_and_shows_no_precision(results: Results) -> None:
    text = printed(results.table(), 80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert f"{BY_HAND['diversity@10']:.4f}" in text
    assert "Precision" not in text


def test_a_metric_that_one_model_lacks_is_a_dash_there() -> None:
    rows = [
        Row("a", "baseline", {"recall@5": 0.5, "recall@10": 0.75}, 0.0),
        Row("b", "pipeline", {"recall@5": 0.5, "depth@3": 2.0}, 0.0),
    ]
    text = Results("frozen", 1, 1.0, 1, rows, [], [], 0, 0.0, 0, {}, None, {}, {}).to_markdown()
    assert "| b | 0.5000 | - |" in text
    assert "| model | Depth@3 | seconds |" in text
    assert "| a | - | 0.0 |" in text


@pytest.mark.parametrize(("options", "shown"), [([], False), (["--full"], True)])
def test_the_command_prints_every_metric_when_asked(
    results: Results,
    tiny_dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    options: list[str],
    shown: bool,
) -> None:
    monkeypatch.setattr(data, "load", lambda *_: tiny_dataset)
    monkeypatch.setattr(evaluation, "frozen", lambda *_: results)
    answer = CliRunner().invoke(door.app, ["evaluate", "--data", str(tmp_path), *options])
    assert answer.exit_code == 0, answer.output
    assert "nextreel" in answer.output
    assert ("Precision@k" in answer.output) is shown
