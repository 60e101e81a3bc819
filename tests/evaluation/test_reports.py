"""A world of two people whose every metric at every k is worked out by hand, and the reports that must show them all.

The lists are 100 long. The first person's holds rows 0 to 99 in order; 8 videos were right for them: those at the
places 1, 3, 7, 15, 31 and 63 and two that are in no list. The second's holds rows 5 to 104; two videos were right,
those at the places 15 and 63. At these places 1 / log2(place + 1) is 1, 1/2, 1/3, 1/4, 1/5 and 1/6.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console, RenderableType

from nextreel import evaluation
from nextreel.assembly import Config
from nextreel.evaluation import plots, protocols, report
from nextreel.evaluation.measures import CUTS, measure
from nextreel.evaluation.results import Results
from nextreel.evaluation.rows import Comparison, Row
from nextreel.evaluation.seeds import evaluate_seeds, joined, reseeded
from nextreel.evaluation.segments import Segment
from nextreel.evaluation.stages import SourceShare, StageResults
from nextreel.evaluation.trials import EvaluationError, Trial
from nextreel.metrics import Truth
from nextreel.types import Events, FloatArray, Kind, RowArray

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


def world() -> Trial:
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
    return Trial(
        protocol="frozen",
        history=history,
        train=np.ones(3, np.bool_),
        watched=np.ones(3, np.bool_),
        stream=history,
        seen=np.ones(3, np.bool_),
        user=np.arange(USERS, dtype=np.int32),
        at=np.full(USERS, 3.0),
        after=np.full(USERS, 3, np.int64),
        truth=Truth.of(user, row, USERS),
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
    return dict(measure(lists(), world(), categories()).mean)


def made_up(rows: list[Row], **parts: Any) -> Results:
    """Results of two people with these rows and nothing else; other parts by name."""
    plain: dict[str, Any] = {
        "protocol": "frozen",
        "users": USERS,
        "requests": USERS,
        "truths": 5.0,
        "videos": 120,
        "rows": rows,
        "comparisons": [],
        "stages": None,
        "segments": [],
        "notes": [],
        "seed": 42,
        "seconds": 1.0,
        "peak_memory": 10**9,
        "data": {"version": "two people"},
        "commit": None,
        "hardware": {"processor": "a processor", "cores": 2},
        "versions": {},
    }
    return Results(**plain | parts)


def stage_results() -> StageResults:
    sources = [SourceShare("two_tower", 79.5, 0.41, 0.012), SourceShare("ease", 98.0, 0.52, 0.033)]
    lost = {"not_seen": 0, "suitable": 3}
    return StageResults(312.25, 0.6789, sources, lost, 1_000, fused=0.21, ranked=0.3, final=0.29)


def segment_results(models: list[str]) -> list[Segment]:
    person = {"ndcg@10": 0.25, "hit_rate@10": 0.5, "recall@100": 0.75}
    video = {"recall@10": 0.125, "recall@100": 0.375}
    return [
        Segment("events of the person", "1 to 9", 1, dict.fromkeys(models, person)),
        Segment("events of the person", "200 and more", 1, dict.fromkeys(models, person)),
        Segment("events of the right video", "0", 2, dict.fromkeys(models, video)),
        Segment("events of the right video", "1000 and more", 8, dict.fromkeys(models, video)),
    ]


@pytest.fixture(scope="module")
def results(found: dict[str, float]) -> Results:
    """Models as a run of the whole pipeline has them, the last with the metrics worked out by hand."""
    names = ["random", "popular", "popular_7d", "item_item", "ease", "als", "transitions"]
    rows = [Row(name, "baseline", dict.fromkeys(found, 0.1), 1.0) for name in names]
    rows[4] = Row("ease", "baseline", dict.fromkeys(found, 0.15), 1.0)
    rows.append(Row("two_tower", "source", dict.fromkeys(found, 0.2), 60.0))
    rows += [Row(name, "stage", dict.fromkeys(found, 0.3), 0.5) for name in ("fused", "ranked")]
    rows.append(Row("nextreel", "pipeline", found, 137.1))
    return made_up(
        rows,
        comparisons=[
            Comparison("ndcg@10", "fused", "ease", 0.05, 0.01, 0.09),
            Comparison("ndcg@10", "nextreel", "ease", 0.1, -0.1, 0.3),
        ],
        stages=stage_results(),
        segments=segment_results([row.model for row in rows]),
        notes=["what the figures rest on"],
    )


def printed(what: RenderableType, width: int) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as shown:
        console.print(what)
    return shown.get()


def table_after(text: str, title: str) -> list[list[str]]:
    """The cells of the Markdown table below a title, line by line, without the rule."""
    lines = text.split(f"**{title}**\n\n")[1].split("\n\n", maxsplit=1)[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(line) for line in cells}) == 1
    return [cells[0], *cells[2:]]


# --- Metrics --------------------------------------------------------------------------------------------------------


def test_every_metric_at_every_k_is_what_a_hand_works_out(found: dict[str, float]) -> None:
    assert found == pytest.approx(BY_HAND, abs=1e-12)


def test_what_must_be_reported_is_measured(found: dict[str, float]) -> None:
    assert CUTS == (5, 10, 20, 50, 100)
    cut = {f"{stem}@{k}" for stem in ("recall", "ndcg", "hit_rate", "precision") for k in (5, 10, 20, 50, 100)}
    assert cut | {"mrr", "map@100", "coverage@10", "gini@10", "diversity@10", "novelty@10"} == set(found)


# --- Files ----------------------------------------------------------------------------------------------------------


def test_the_json_file_holds_every_metric_of_every_model(results: Results, tmp_path: Path) -> None:
    path, _ = evaluation.write(results, tmp_path / "out" / "frozen.json")
    about = json.loads(path.read_text(encoding="utf-8"))
    rows = about["rows"]
    assert [row["model"] for row in rows] == [row.model for row in results.rows]
    assert all(set(row["metrics"]) == set(BY_HAND) for row in rows)
    assert rows[-1]["metrics"] == pytest.approx(BY_HAND)
    assert (about["seed"], about["requests"], about["seeds"]) == (42, 2, {})
    assert about["stages"]["sources"][1] == {"name": "ease", "proposed": 98.0, "recall": 0.52, "unique": 0.033}
    assert about["segments"][2]["metrics"]["ease"]["recall@100"] == 0.375


def test_the_markdown_file_holds_every_metric_at_every_k(results: Results, tmp_path: Path) -> None:
    _, path = evaluation.write(results, tmp_path / "frozen.json")
    text = path.read_text(encoding="utf-8")
    for title, stem in (("Recall", "recall"), ("NDCG", "ndcg"), ("HitRate", "hit_rate"), ("Precision", "precision")):
        table = table_after(text, f"{title}@k")
        assert table[0] == ["model", "@5", "@10", "@20", "@50", "@100"]
        assert [line[0] for line in table[1:]] == [row.model for row in results.rows]
        assert table[-1] == ["nextreel", *(f"{BY_HAND[f'{stem}@{k}']:.4f}" for k in CUTS)]
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
    assert "2 requests of 2 users, 5 right videos each, 120 videos. Mean over requests." in main
    assert "Precision" not in main
    assert "- what the figures rest on" in main
    assert fold.index("</details>") < fold.index("data two people")  # the lineage is not hidden


def test_stages_stand_in_their_own_part_and_not_in_the_main_table(results: Results) -> None:
    text = results.to_markdown()
    table = text.split("\n\n", maxsplit=2)[1]
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [f"| {row.model}" for row in results.main()]
    assert [line[1] for line in table_after(text, "Differences from the best baseline")[1:]] == ["nextreel - ease"]
    assert table_after(text, "Candidates, mean over requests")[1:] == [
        ["two_tower", "79.5", "0.4100", "0.0120"],
        ["ease", "98.0", "0.5200", "0.0330"],
        ["all together", "312.2", "0.6789", "-"],
    ]
    assert [line[1:] for line in table_after(text, "Order of the candidates")[1:]] == [
        ["0.2100", "-"],
        ["0.3000", "+0.0900"],
        ["0.2900", "-0.0100"],
    ]
    assert table_after(text, "Right videos that filters would remove")[1:] == [
        ["not_seen", "0", "0.00%"],
        ["suitable", "3", "0.30%"],
    ]


def test_segments_are_told_for_the_models_and_the_best_baseline_alone(results: Results) -> None:
    text = results.to_markdown()
    people = table_after(text, "By events of the person")
    assert people[0] == ["events of the person", "model", "requests", "NDCG@10", "HitRate@10", "Recall@100"]
    assert [line[:3] for line in people[1:]] == [
        ["1 to 9", "nextreel", "1"],
        ["", "two_tower", ""],
        ["", "ease", ""],
        ["200 and more", "nextreel", "1"],
        ["", "two_tower", ""],
        ["", "ease", ""],
    ]
    videos = table_after(text, "By events of the right video")
    assert videos[0] == ["events of the right video", "model", "right videos", "Recall@10", "Recall@100"]
    assert videos[1] == ["0", "nextreel", "2", "0.1250", "0.3750"]


def test_one_source_alone_has_no_stages() -> None:
    text = made_up([Row("als", "source", {"ndcg@10": 0.5, "hit_rate@10": 0.5}, 1.0)]).to_markdown()
    assert "Candidates" not in text
    assert "filters" not in text


def test_a_metric_that_one_model_lacks_is_a_dash_there() -> None:
    rows = [
        Row("a", "baseline", {"recall@5": 0.5, "recall@10": 0.75, "ndcg@10": 0.5}, 0.0),
        Row("b", "pipeline", {"recall@5": 0.5, "depth@3": 2.0, "ndcg@10": 0.5}, 0.0),
    ]
    text = made_up(rows).to_markdown()
    assert "| b | 0.5000 | - |" in text
    assert "| model | NDCG@10 | Depth@3 | seconds |" in text
    assert "| a | 0.5000 | - | 0.0 |" in text


def test_a_metric_that_nobody_has_is_null_in_json() -> None:
    blank = made_up([Row("m", "baseline", {"ndcg@10": 0.0, "diversity@10": float("nan")}, 0.0)])
    assert blank.to_json()["rows"][0]["metrics"]["diversity@10"] is None
    assert "| - |" in blank.to_markdown()
    with pytest.raises(KeyError, match="Expected one of"):
        blank.row("other")


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.01, 0.05, "better"), (-0.05, -0.01, "worse"), (-0.01, 0.05, "unclear")]
)
def test_a_difference_is_told_in_a_word(low: float, high: float, verdict: str) -> None:
    rows = [Row(name, kind, {"ndcg@10": 0.1}, 0.0) for name, kind in (("ease", "baseline"), ("nextreel", "pipeline"))]
    text = made_up(rows, comparisons=[Comparison("ndcg@10", "nextreel", "ease", 0.03, low, high)]).to_markdown()
    found = table_after(text, "Differences from the best baseline")[1]
    assert found == ["NDCG@10", "nextreel - ease", "+0.0300", f"{low:+.4f} to {high:+.4f}", verdict]


# --- Terminal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_full_table_is_whole_in_a_terminal(results: Results, width: int) -> None:
    text = printed(joined({42: results, 43: results}).full_table(), width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    values = set(text.split())
    assert {f"{value:.4f}" for value in BY_HAND.values()} <= values
    for part in ("Precision@k", "137.1", "Candidates", "suitable", "1000 and more", "over 2 seeds", "±"):
        assert part in text


def test_a_hundred_columns_have_room_for_two_tables_beside_each_other(results: Results) -> None:
    lines = printed(results.full_table(), 100).splitlines()
    assert any("Recall@k" in line and "NDCG@k" in line for line in lines)
    assert any("HitRate@k" in line and "Precision@k" in line for line in lines)


def test_the_short_table_fits_eighty_columns_and_shows_what_matters_first(results: Results) -> None:
    text = printed(results.table(), 80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        f"{BY_HAND['diversity@10']:.4f}",
        "Mean over requests",
        "nextreel - ease",
        "all together",
        "0.6789",
        "ranker gains +0.0900",
        "suitable 3",
    ):
        assert part in text
    for part in ("Precision", "By events", "fused - ease"):
        assert part not in text
    assert len(text.splitlines()) < 45


# --- Seeds ----------------------------------------------------------------------------------------------------------


def test_seeds_stand_side_by_side_with_mean_and_half_the_range(results: Results) -> None:
    other = replace(
        results,
        rows=[
            replace(row, metrics={name: value + 0.01 for name, value in row.metrics.items()}) for row in results.rows
        ],
    )
    both = joined({42: results, 7: other})
    assert list(both.rows) == list(results.rows)
    assert list(both.seeds) == ["two_tower", "fused", "ranked", "nextreel"]
    assert both.seeds["two_tower"]["7"]["ndcg@10"] == pytest.approx(0.21)
    assert both.seconds == 2.0
    text = both.to_markdown()
    table = table_after(text, "Mean ± half the range over 2 seeds (42, 7)")
    assert table[0][:3] == ["model", "Recall@10", "NDCG@10"]
    assert table[1][:3] == ["two_tower", "0.2050 ± 0.0050", "0.2050 ± 0.0050"]
    assert "all but the means over seeds is of seed 42" in text
    assert (
        json.loads(json.dumps(both.to_json()))["seeds"]["nextreel"]["42"]["mrr"]
        == results.row("nextreel").metrics["mrr"]
    )


def test_one_seed_has_nothing_beside_it(results: Results) -> None:
    assert joined({7: results}) is results


def test_every_part_that_draws_at_random_gets_the_seed() -> None:
    config = reseeded(Config(), 7)
    assert [config.two_tower.seed, config.als.seed, config.moments.seed] == [7] * 3
    families = (config.ranker.catboost, config.ranker.lightgbm, config.ranker.xgboost, config.ranker.deepfm)
    assert [family.seed for family in families] == [7] * 4
    assert config.two_tower == Config().two_tower.model_copy(update={"seed": 7})
    assert config.quotas == Config().quotas


def test_each_seed_is_evaluated_once_in_the_order_given(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def evaluate(dataset: object, protocol: str, config: Config, **options: Any) -> Results:
        asked.append((dataset, protocol, config.als.seed, options["source"], options["every"], options["seed"]))
        return results

    monkeypatch.setattr(protocols, "evaluate", evaluate)
    dataset: Any = "data"
    both = evaluate_seeds(dataset, "live", seeds=[9, 3], source="als", every=5)
    assert asked == [("data", "live", 9, "als", 5, 42), ("data", "live", 3, "als", 5, 42)]
    assert list(both.seeds["two_tower"]) == ["9", "3"]
    for seeds in ([], [3, 3]):
        with pytest.raises(EvaluationError, match="several different"):
            evaluate_seeds(dataset, seeds=seeds)


# --- Plots ----------------------------------------------------------------------------------------------------------


def text_of(path: Path) -> str:
    """All text of an SVG, which must be well-formed XML."""
    return " ".join("".join(part.itertext()) for part in ElementTree.fromstring(path.read_bytes()).iter() if part.text)  # noqa: S314  written here


@pytest.fixture(scope="module")
def written(results: Results, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of a report of two seeds; drawing takes a second, so it is done once."""
    return report.write_report(joined({42: results, 43: results}), tmp_path_factory.mktemp("a") / "new" / "report")


def test_a_report_is_json_markdown_and_the_plots_that_it_shows(written: list[Path]) -> None:
    names = ["frozen.json", "frozen.md", *(f"frozen_{name}.svg" for name in ("models", "recall", "stages", "segments"))]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in written[0].parent.iterdir()) == sorted(names)
    shown = written[1].read_text(encoding="utf-8").split("<details>")[0]
    files = [f"frozen_{name}.svg" for name in ("models", "stages", "segments", "recall")]
    assert re.findall(r"!\[[^\]]+\]\(([^)]+)\)", shown) == files


def test_plots_name_their_axes_and_what_they_show(written: list[Path]) -> None:
    plot = {path.stem.removeprefix("frozen_"): text_of(path) for path in written[2:]}
    said = {
        "models": (
            "NDCG@10, mean over requests",
            "the whole pipeline",
            "worst to best seed",
            "nextreel",
            "transitions",
        ),
        "recall": ("Recall@k, mean over requests", "ease (best baseline)", "two_tower"),
        "stages": ("share of the right videos, mean over requests", "those that only it finds", "all together"),
        "segments": ("events of the person", "events of the right video", "1000+"),
    }
    for name, parts in said.items():
        for part in (*parts, "protocol frozen, 2 requests"):
            assert part in plot[name]
    assert "fused" not in plot["models"]


def test_the_same_results_give_the_same_plots_without_a_date(
    results: Results, written: list[Path], tmp_path: Path
) -> None:
    again = plots.save(report.drawings(joined({42: results, 43: results})), tmp_path, "frozen")
    for first, second in zip(written[2:], again.values(), strict=True):
        assert first.read_bytes() == second.read_bytes()
        assert b"<dc:date>" not in first.read_bytes()


def test_plots_of_one_source_have_neither_stages_nor_empty_panels(tmp_path: Path) -> None:
    one = made_up([Row("als", "source", {"ndcg@10": 0.5, "hit_rate@10": 0.5, "recall@10": 0.5}, 1.0)])
    assert list(plots.save(report.drawings(one), tmp_path, "x")) == ["models", "recall"]


def test_without_matplotlib_the_extra_is_named_and_nothing_is_written(
    results: Results, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "matplotlib" else find(name, *more)
    )
    with pytest.raises(plots.NoPlots, match=r"pip install 'nextreel\[report\]'"):
        report.write_report(results, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_results_need_a_folder_that_can_be_made(results: Results, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(report.NoFolder, match="Expected a folder to write to"):
        report.prepare(tmp_path / "file", with_plots=True)
    with pytest.raises(report.NoFolder, match="Hint: name another"):
        evaluation.write(results, tmp_path / "file" / "frozen.json")
