"""What another formula would change, on lists whose every move is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nextreel.assembly import Config
from nextreel.data import Dataset
from nextreel.evaluation import describe, evaluate, told
from nextreel.evaluation.preview import Lists, compared, reads_more
from nextreel.evaluation.rows import Change, Preview
from nextreel.evaluation.trials import EvaluationError
from nextreel.ranking.value import FormulaError
from nextreel.types import Catalogue, Kind

# 15 videos: rows 0, 3, 6 … are news, 1, 4, 7 … sport, 2, 5, 8 … music
BEFORE = [list(range(12)), list(range(12)), [4, 2, *[-1] * 10]]
AFTER = [list(range(12)), [11, *range(9), 14, 10], [2, 4, *[-1] * 10]]


def lists(rows: list[list[int]], likes: float) -> Lists:
    """Lists whose videos are all predicted the same."""
    told = np.full((len(rows), 10, 2), np.nan, np.float32)
    shown = np.array(rows)[:, :10] >= 0
    told[shown] = (1.0, likes)
    return Lists(np.array(rows, np.int32), np.array([10, 10, 1]), told)


@pytest.fixture
def preview(catalogue_of: Callable[..., Catalogue]) -> Preview:
    return compared(
        ("relevance", "relevance + like"),
        lists(BEFORE, 0.1),
        lists(AFTER, 0.125),
        ("relevance", "like"),
        catalogue_of(
            [[row % 3] for row in range(15)], titles=["One | two", *[f"[Video] {row}" for row in range(13)], ""]
        ),
        people=["ada", "bob", "eve"],
        metrics=[Change("ndcg@10", 0.2, 0.3, 0.05, 0.15), Change("click, gauc", 0.5, 0.4, -0.2, 0.1)],
        places="their first 10 places",
        seed=1,
    )


def test_overlap_first_places_and_moves_are_those_counted_by_hand(preview: Preview) -> None:
    # bob's list loses row 9 to row 11; eve's only place looked at goes to another video
    assert preview.changed == pytest.approx((0 + 1 / 10 + 1) / 3)
    assert preview.other_first == pytest.approx(2 / 3)
    assert preview.same == pytest.approx(1 / 3)
    # bob: rows 0 to 8 move by one place each, row 9 from the tenth place to behind the twelfth; eve: by one
    assert preview.shift == pytest.approx((9 * 1 + 3 + 1) / 21)


def test_predictions_and_categories_are_means_over_the_places_looked_at(preview: Preview) -> None:
    assert [(one.name, one.before, one.after) for one in preview.predicted] == [
        ("relevance", 1.0, 1.0),
        ("like", pytest.approx(0.1), pytest.approx(0.125)),
    ]
    # of 21 places, bob's row 9 (news) goes to 11 (music), and eve's 4 (sport) to 2 (music)
    found = {one.name: (one.before * 21, one.after * 21) for one in preview.categories}
    assert found == {
        "music": pytest.approx((6, 8)),
        "news": pytest.approx((8, 7)),
        "sport": pytest.approx((7, 6)),
    }
    assert preview.categories[0].name == "music"


def test_examples_are_lists_that_change_with_where_each_video_was(preview: Preview) -> None:
    assert [one.person for one in preview.examples] == ["bob", "eve"]
    bob, eve = preview.examples
    assert bob.before[0] == "One | two"
    assert bob.was == [12, *range(1, 10)]
    assert (eve.before, eve.after, eve.was) == (["[Video] 3"], ["[Video] 1"], [2])


def test_tables_say_what_moved_and_a_title_breaks_none_of_them(preview: Preview) -> None:
    text = {view.title: view.markdown() for view in describe.preview(preview)}
    assert "| like | 0.1000 | 0.1250 | +25.0% |" in text["Predicted of these places"]
    assert "| relevance | 1.0000 | 1.0000 | +0.0000 |" in text["Predicted of these places"]
    metrics = text["Metrics under either formula"]
    assert "| NDCG@10 | 0.2000 | 0.3000 | +0.1000 | +0.0500 to +0.1500 | more |" in metrics
    assert "| click, GAUC | 0.5000 | 0.4000 | -0.1000 | -0.2000 to +0.1000 | unclear |" in metrics
    assert text["List of bob"][2].startswith("| 1 | One \\| two | [Video] 10 | 12 |")
    assert len(describe.preview(preview, examples=1)) == len(text) - 1
    assert "`relevance + like` instead of `relevance`" in describe.preview_in_words(preview)


def test_a_video_without_a_title_is_told_by_its_id(catalogue_of: Callable[..., Catalogue]) -> None:
    catalogue = catalogue_of([[0]] * 15, titles=[""] * 15)
    found = compared(
        ("a", "b"), lists(BEFORE, 0.1), lists(AFTER, 0.1), ("relevance", "like"), catalogue,
        people=["ada", "bob", "eve"], metrics=[], places="", seed=1,
    )  # fmt: skip
    assert found.examples[1].after == ["video 102"]
    assert found.categories == []


def test_formulas_are_read_before_anything_else() -> None:
    assert reads_more("relevance + like")
    assert not reads_more("2 * relevance")
    with pytest.raises(FormulaError, match="No objective 'likes'"):
        reads_more("relevance + likes")


def test_a_formula_that_the_data_cannot_answer_is_refused_before_a_fit(tiny_dataset: Dataset, quick: Config) -> None:
    def check(value: str, dataset: Dataset = tiny_dataset, source: str | None = None) -> None:
        told.check_formula(value, source, dataset.events, dataset, quick)

    check("2 * relevance")
    with pytest.raises(EvaluationError, match="no `--source`"):
        check("relevance", source="als")
    with pytest.raises(EvaluationError, match=r"100 impressions or more.*of share. Hint: a formula without"):
        check("relevance + share")
    silent = tiny_dataset.events.take(tiny_dataset.events.kind != Kind.IMPRESSION)
    with pytest.raises(EvaluationError, match="stay with `relevance`"):
        told.check_formula("click", None, silent, tiny_dataset, quick)


def test_both_formulas_are_asked_in_one_run_of_a_protocol(tiny_dataset: Dataset, light: Config) -> None:
    results = evaluate(tiny_dataset, "live", light, every=10, value="relevance + 100 * click")
    found = results.preview
    assert found is not None
    assert (found.configured, found.previewed, found.lists) == (
        "relevance",
        "relevance + 100 * click",
        results.requests,
    )
    assert [row.kind for row in results.rows if row.model == "preview"] == ["preview"]
    assert 0 < found.changed < 1
    predicted = {one.name: one for one in found.predicted}
    assert predicted["click"].after > predicted["click"].before
    assert predicted["relevance"].after < predicted["relevance"].before
    shown = {one.name: one for one in found.metrics}
    for name in ("ndcg@10", "coverage@10"):
        assert shown[name].before == results.row("nextreel").metrics[name]
        assert shown[name].after == results.row("preview").metrics[name]
    assert "**What would move**" in results.to_markdown()
    assert results.to_json()["preview"]["previewed"] == "relevance + 100 * click"
