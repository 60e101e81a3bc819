"""Protocol exposures: what is judged, from which state, beside whom, and what a report of it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from nextreel.assembly import Config, build
from nextreel.data import Dataset
from nextreel.evaluation import ExposureResults, evaluate_exposures, outcomes, report
from nextreel.evaluation.exposures import PROTOCOL, SMOOTHING, Shown, _finite, baselines, plan, score
from nextreel.evaluation.outcomes import Scored
from nextreel.evaluation.protocols import new_store
from nextreel.evaluation.seeds import over
from nextreel.evaluation.trials import EvaluationError
from nextreel.progress import silent
from nextreel.ranking.value import FormulaError
from nextreel.training.exposures import exposures
from nextreel.training.fit import Fitted, fit
from nextreel.types import Catalogue, FloatArray, Kind

Anew = Callable[[], Fitted]
PEOPLE = np.array(["ada", "bob", "eve"], object)


def scored(**parts: Any) -> Scored:
    """Eight exposures of three people in four visits, one answer, which is foretold best of all."""
    click = np.array([1, 0, 0, 1, 0, 1, 1, 0], np.float32)
    told = np.stack([np.arange(8.0), [0.9, 0.2, 0.3, 0.6, 0.7, 0.8, 0.9, 0.1]], axis=1).astype(np.float32)
    plain: dict[str, Any] = {
        "visit": np.array([0, 0, 0, 1, 1, 2, 3, 3]),
        "user": np.array([0, 0, 0, 1, 1, 2, 0, 0], np.int32),
        "people": PEOPLE,
        "video": np.array([0, 1, 2, 0, 1, 2, 1, 2], np.int32),
        "labels": {"click": click, "like": np.zeros(8, np.float32)},
        "objectives": ("relevance", "click"),
        "told": told,
        "raw": np.zeros((8, 2), np.float32),
        "values": [told[:, 0], told[:, 1]],
    }
    return Scored(**plain | parts)


def outsiders(values: list[float]) -> dict[str, dict[str, NDArray[np.float64]]]:
    return {"click": {"video_rate": np.array(values), "popular_7d": np.zeros(8)}}


def test_every_figure_of_an_answer_is_that_worked_out_by_hand() -> None:
    found = outcomes.judge(scored(), outsiders([0.5] * 8), seed=1)
    assert [one.objective for one in found] == ["click"]  # nobody liked anything, and relevance is no answer
    one = found[0]
    assert (one.positives, one.rate, one.people) == (4, 0.5, 2)
    rows = {row.model: row for row in one.rows}
    assert [row.kind for row in one.rows] == ["pipeline", "stage", "value", "baseline", "baseline"]
    # 16 pairs, of which one is wrong: 0.6 of bob against his own 0.7
    assert rows["nextreel"].metrics["auc"] == pytest.approx(15 / 16)
    # ada has five exposures in the right order, bob two in the wrong one; eve's only one says nothing
    assert rows["nextreel"].metrics["gauc"] == pytest.approx((5 * 1 + 2 * 0) / 7)
    assert rows["nextreel"].metrics["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3) + 1) / 3)
    told = [0.9, 0.8, 0.7, 0.6, 0.3, 0.8, 0.9, 0.9]  # of what came true
    assert rows["nextreel"].metrics["log_loss"] == pytest.approx(-np.log(told).mean(), abs=0.02)
    assert rows["video_rate"].metrics["gauc"] == 0.5
    assert rows["video_rate"].metrics["log_loss"] == pytest.approx(np.log(2))
    assert rows["video_rate"].metrics["ece"] == 0
    assert set(rows["popular_7d"].metrics) == set(rows["by value"].metrics) == {"auc", "gauc", "ndcg@10"}
    assert set(rows["before calibration"].metrics) == {"log_loss", "ece"}
    gauc, ndcg = one.comparisons
    assert (gauc.metric, gauc.model) == ("gauc", "nextreel")
    assert gauc.difference == pytest.approx(5 / 7 - 0.5)
    assert gauc.low <= gauc.difference <= gauc.high
    assert ndcg.metric == "ndcg@10"
    assert sum(part.rows for part in one.calibrated) == 8


def test_the_difference_is_from_the_better_outsider_by_each_metric() -> None:
    found = outcomes.judge(scored(), outsiders([1, 0, 0, 1, 0, 1, 1, 0]), seed=1)[0]
    assert {one.against for one in found.comparisons} == {"video_rate"}
    assert all(one.difference < 0 for one in found.comparisons)


def test_a_part_counts_as_answered_above_one_half_and_is_foretold_as_a_part() -> None:
    watch = np.array([0.9, 0.1, 0.2, 0.6, 0.5, 0.8, 0.7, 0.3], np.float32)
    told = np.stack([np.arange(8.0), watch], axis=1).astype(np.float32)
    one = scored(labels={"watch": watch}, objectives=("relevance", "watch"), told=told)
    found = outcomes.judge(one, {"watch": outsiders([0.5] * 8)["click"]}, seed=1)[0]
    assert found.positives == 4
    assert found.rows[0].metrics["auc"] == 1
    assert found.rows[0].metrics["ece"] == pytest.approx(0)
    entropy = -(watch * np.log(watch) + (1 - watch) * np.log(1 - watch)).mean()
    assert found.rows[0].metrics["log_loss"] == pytest.approx(entropy)


def test_a_preview_looks_at_the_first_half_of_each_visit(catalogue_of: Callable[..., Catalogue]) -> None:
    dataset = Dataset(catalogue_of([[0], [1], [2]]), cast("Any", None), (), timed=True, manifest=cast("Any", None))
    found = outcomes.preview(scored(), dataset, ("relevance", "click"), seed=1)
    assert found is not None
    assert found.lists == 3  # eve's visit has one exposure
    # ada's first visit: 2 1 before, 0 2 after; bob's: 1 both times; ada's second: 2 before, 1 after
    assert found.changed == pytest.approx((1 / 2 + 0 + 1) / 3)
    shown = {one.name: (one.before, one.after) for one in found.metrics}
    assert shown["click, answered"] == pytest.approx((0 / 4, 2 / 4))
    assert shown["click, gauc"] == pytest.approx(((5 * 1 / 3 + 2 * 0) / 7, 5 / 7))
    predicted = {one.name: (one.before, one.after) for one in found.predicted}
    assert predicted["click"] == pytest.approx(((0.3 + 0.2 + 0.7 + 0.1) / 4, (0.9 + 0.3 + 0.7 + 0.9) / 4))


def test_visits_of_one_exposure_leave_nothing_to_preview(catalogue_of: Callable[..., Catalogue]) -> None:
    dataset = Dataset(catalogue_of([[0]] * 3), cast("Any", None), (), timed=True, manifest=cast("Any", None))
    assert outcomes.preview(scored(visit=np.arange(8)), dataset, ("relevance", "click"), seed=1) is None


# --- On a small world -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown(tiny_dataset: Dataset, light: Config) -> Shown:
    return plan(tiny_dataset, light)


@pytest.fixture(scope="module")
def fitted(tiny_dataset: Dataset, light: Config, shown: Shown) -> Fitted:
    return fit(replace(tiny_dataset, events=shown.history), light)


@pytest.fixture(scope="module")
def anew(fitted: Fitted, shown: Shown, tiny_dataset: Dataset) -> Anew:
    """Makes the fitted system as it stands just after the history: to score moves its store on."""

    def anew() -> Fitted:
        store = new_store(tiny_dataset, fitted.config)
        store.apply_many(shown.history)
        models, ranker = fitted.models, fitted.ranker
        made = build(fitted.config, fitted.catalogue, store, models, ranker, timed=True, columns=ranker.names)
        return replace(fitted, store=store, recommender=made)

    return anew


@pytest.fixture(scope="module")
def results(tiny_dataset: Dataset, light: Config, anew: Anew) -> ExposureResults:
    """Of two seeds of which the second is the first again, with a preview; fitted once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("nextreel.training.fit"), "fit", lambda *_: anew())
        return over(lambda one: evaluate_exposures(tiny_dataset, one, value="click", seed=3), light, [1, 2])


def test_models_learn_from_the_first_nine_tenths_and_the_rest_is_judged(tiny_dataset: Dataset, shown: Shown) -> None:
    events = tiny_dataset.events
    assert len(shown.history) == len(events) * 9 // 10
    assert len(shown.history) + len(shown.test) == len(events)
    assert shown.history.at[-1] <= shown.test.at[0]
    assert len(shown.exposures) == np.count_nonzero((shown.test.kind == Kind.IMPRESSION) & (shown.test.video >= 0))


def test_no_answer_after_the_cut_changes_a_score(anew: Anew, fitted: Fitted, shown: Shown) -> None:
    whole = score(anew(), shown, 1, "click", silent)
    assert len(np.unique(whole.visit)) == int(shown.exposures.visit.max()) + 1
    test = shown.test.take(shown.test.kind == Kind.IMPRESSION)  # the same exposures, none of them answered
    unanswered = replace(shown, test=test, exposures=exposures(test, fitted.catalogue, fitted.config.exposures))
    assert not any(label.any() for label in unanswered.exposures.labels.values())
    silenced = score(anew(), unanswered, 1, "click", silent)
    np.testing.assert_array_equal(whole.told, silenced.told)


def test_every_nth_visit_is_scored_as_it_is_among_all(anew: Anew, shown: Shown) -> None:
    whole = score(anew(), shown, 1, None, silent)
    some = score(anew(), shown, 3, None, silent)
    judged = (whole.visit + 1) % 3 == 0
    assert set(some.visit.tolist()) == set(whole.visit[judged].tolist())
    np.testing.assert_array_equal(some.told, whole.told[judged])
    np.testing.assert_array_equal(some.video, whole.video[judged])


def test_outsiders_know_the_history_alone(anew: Anew, shown: Shown, tiny_dataset: Dataset, light: Config) -> None:
    judged = score(anew(), shown, 1, None, silent)
    found = baselines(shown, judged, tiny_dataset, light)["click"]
    past = exposures(shown.history, tiny_dataset.catalogue, light.exposures)
    mean = past.labels["click"].mean()
    video, label = shown.history.video[past.position], past.labels["click"]
    for number in (0, len(judged) // 2, len(judged) - 1):
        own = label[video == judged.video[number]]
        assert found["video_rate"][number] == pytest.approx((own.sum() + SMOOTHING * mean) / (len(own) + SMOOTHING))


def test_a_formula_that_is_no_number_somewhere_is_refused(anew: Anew, shown: Shown) -> None:
    with pytest.raises(FormulaError, match="finite value"):
        score(anew(), shown, 1, "1 / (click - click)", silent)


def test_a_value_that_is_no_number_is_told_and_not_judged() -> None:
    values = np.array([0.5, np.inf, np.nan], np.float32)
    with pytest.raises(EvaluationError, match="each of 3 exposures, got 2 that are not"):
        _finite(values)


def test_results_tell_every_answer_that_was_learnt_and_where_they_come_from(
    results: ExposureResults, light: Config
) -> None:
    assert results.protocol == PROTOCOL
    assert {one.objective for one in results.outcomes} >= {"click", "long_view", "watch"}
    assert results.seed == 3
    assert results.config["als"]["seed"] == 1
    assert list(results.seeds["click"]) == ["1", "2"]
    assert results.seeds["click"]["1"] == results.outcome("click").rows[0].metrics
    with pytest.raises(KeyError, match="Expected one of"):
        results.outcome("share")
    assert any("Not learnt, too few positives" in note and "share" in note for note in results.notes)
    preview = results.preview
    assert preview is not None
    assert (preview.configured, preview.previewed) == (light.ranker.value, "click")


def test_a_report_has_plots_and_tables_of_every_answer(results: ExposureResults, tmp_path: Path) -> None:
    written = report.write_report(results, tmp_path)
    names = ["exposures.json", "exposures.md", "exposures_order.svg", "exposures_reliability.svg"]
    assert [path.name for path in written] == names
    found = json.loads(written[0].read_text(encoding="utf-8"))
    assert found["commit"] == results.commit
    click = next(one for one in found["outcomes"] if one["objective"] == "click")
    assert sum(part["rows"] for part in click["calibrated"]) == found["exposures"]
    text = written[1].read_text(encoding="utf-8")
    assert re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text) == names[2:]
    for part in ("Reliability of click", "nextreel less the best baseline", "Preview of `click`", "over 2 seeds"):
        assert part in text
    for path in written[2:]:
        said = " ".join(ElementTree.fromstring(path.read_bytes()).itertext())  # noqa: S314  written here
        assert "long_view" in said
        assert f"{results.exposures:,} exposures" in said
    again = report.write_report(results, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]


def test_a_terminal_of_80_columns_has_room_for_the_main_tables(results: ExposureResults) -> None:
    console = Console(width=80, record=True)
    console.print(results.table())
    short = console.export_text()
    console.print(results.full_table())
    full = console.export_text()
    for part in ("What people answered", "before calibration", "verdict", "What would move"):
        assert part in short
        assert part in full
    assert "…" not in short.split("Preview of")[0]
    assert "Reliability of watch" in full
    assert "Reliability of watch" not in short


def test_data_that_cannot_be_judged_are_refused_before_a_fit(
    tiny_dataset: Dataset, light: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("nextreel.training.fit"), "fit", lambda *_: pytest.fail("models were fitted"))
    silent_events = tiny_dataset.events.take(tiny_dataset.events.kind != Kind.IMPRESSION)
    mute = light.model_copy(update={"exposures": light.exposures.model_copy(update={"visits": 0})})
    strict = light.model_copy(update={"exposures": light.exposures.model_copy(update={"least": 10**6})})
    for dataset, config, every, said in (
        (replace(tiny_dataset, timed=False), light, 1, "time stamps"),
        (replace(tiny_dataset, events=silent_events), light, 1, "frozen, live and leave-last-out need none"),
        (tiny_dataset, light, 0, "at least 1, got 0"),
        (tiny_dataset, light, 10**6, "the last tenth of the events has, got 1,000,000. Hint: a smaller --every."),
        (tiny_dataset, mute, 1, "exposures.visits above 0"),
        (tiny_dataset, strict, 1, "lower exposures.least"),
    ):
        with pytest.raises(EvaluationError, match=re.escape(said)):
            evaluate_exposures(dataset, config, every=every)
    with pytest.raises(EvaluationError, match="of share"):
        evaluate_exposures(tiny_dataset, light, value="relevance + share")


def values_of(one: Scored, objective: str) -> FloatArray:
    return one.told[:, one.objectives.index(objective)]


def test_what_is_told_is_the_calibrated_score(anew: Anew, fitted: Fitted, shown: Shown) -> None:
    judged = score(anew(), shown, 1, "click", silent)
    calibration = fitted.ranker.head("click").calibration
    assert calibration is not None
    raw = judged.raw[:, judged.objectives.index("click")]
    np.testing.assert_allclose(calibration(raw), values_of(judged, "click"), atol=1e-6)
    np.testing.assert_array_equal(judged.values[1], values_of(judged, "click"))
    np.testing.assert_array_equal(judged.values[0], values_of(judged, "relevance"))
