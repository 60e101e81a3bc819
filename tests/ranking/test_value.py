"""The value formula: what it computes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nextreel.ranking.families import RankerParams
from nextreel.ranking.value import FormulaError, formula, named

OBJECTIVES = ("relevance", "click", "like")
SCORES = np.array([[2.0, 0.5, 0.1], [-1.0, 0.2, 0.0], [0.0, 0.9, 0.4]], np.float32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("relevance", SCORES[:, 0]),
        ("click + 2 * like", SCORES[:, 1] + 2 * SCORES[:, 2]),
        (" -like - -1 ", 1 - SCORES[:, 2]),
        ("click ** 0.5 / (1 + like)", SCORES[:, 1] ** 0.5 / (1 + SCORES[:, 2])),
        ("max(relevance, 0) + log(click)", np.maximum(SCORES[:, 0], 0) + np.log(SCORES[:, 1])),
        ("min(click, like) + sqrt(abs(relevance)) + exp(like)",
         np.minimum(SCORES[:, 1], SCORES[:, 2]) + np.sqrt(np.abs(SCORES[:, 0])) + np.exp(SCORES[:, 2])),
    ],
)  # fmt: skip
def test_a_formula_computes_what_it_says(text: str, expected: np.ndarray) -> None:
    value = formula(text, OBJECTIVES)(SCORES)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@given(st.floats(-10, 10, width=32), st.floats(-10, 10, width=32), st.lists(st.floats(0, 1, width=32), max_size=20))
def test_weights_are_weights(one: float, other: float, clicks: list[float]) -> None:
    scores = np.array([[0.0, click, click * click] for click in clicks], np.float32).reshape(-1, 3)
    found = formula(f"{one} * click + {other} * like", OBJECTIVES)(scores)
    assert found.shape == (len(clicks),)
    np.testing.assert_allclose(found, one * scores[:, 1] + other * scores[:, 2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Expected a formula such as"),
        ("click +", "Expected a formula such as"),
        ("love", "No objective 'love'"),
        ("3 + 4", "names one of relevance, click, like"),
        ("__import__('os').system('true')", "Expected names of objectives"),
        ("click.__class__", "Expected names of objectives"),
        ("(lambda: click)()", "Expected names of objectives"),
        ("[click for x in y]", "Expected names of objectives"),
        ("click if like else relevance", "Expected names of objectives"),
        ("click > like", "Expected names of objectives"),
        ("'click'", "Expected names of objectives"),
        ("True * click", "Expected names of objectives"),
        ("eval(click)", "Expected names of objectives"),
        ("log(click, 2)", "Expected 1 argument"),
        ("max(click)", "Expected 2 argument"),
        ("log(click, base=2)", "Expected names of objectives"),
        ("click + " * 100 + "click", "at most 500 characters"),
    ],
)
def test_anything_else_is_refused(text: str, says: str) -> None:
    with pytest.raises(FormulaError, match=says):
        formula(text, OBJECTIVES)


def test_a_formula_tells_what_it_reads() -> None:
    assert named("max(click, 0) + 2 * like", OBJECTIVES) == {"click", "like"}
    assert named("relevance", OBJECTIVES) == {"relevance"}


def test_a_configuration_with_a_formula_that_cannot_be_read_is_refused() -> None:
    assert RankerParams(value="relevance + 2 * like - dislike").value == "relevance + 2 * like - dislike"
    with pytest.raises(ValidationError, match="No objective 'likes' to value by"):
        RankerParams(value="relevance + 2 * likes")


@pytest.mark.parametrize(
    "text",
    [
        "relevance / 0",
        "1 / 0 + relevance",
        "9 ** 9 ** 9 * relevance",
        "log(relevance)",
        "log(0 - abs(relevance))",
        "sqrt(relevance - 100)",
        "(-8) ** 0.5 * relevance",
        "exp(1000 * relevance)",
    ],
)
def test_a_formula_that_is_no_number_of_some_scores_is_refused(text: str) -> None:
    with pytest.raises(FormulaError, match=r"finite value for all scores, got .* none for relevance .*, click 0\."):
        formula(text, OBJECTIVES)
    with pytest.raises(ValidationError, match="finite value"):
        RankerParams(value=text)


def test_numbers_that_no_computer_holds_are_refused() -> None:
    with pytest.raises(FormulaError, match="numbers below 1e308"):
        formula("1" * 400 + " * click", OBJECTIVES)


@pytest.mark.parametrize("text", ["-" * 480 + "click", "not " + "-" * 470 + "click"])
def test_what_lies_too_deep_is_refused(text: str) -> None:
    with pytest.raises(FormulaError, match="at most 120 parts within one another"):
        formula(text, OBJECTIVES)


def test_brackets_alone_are_no_depth() -> None:
    text = "(" * 150 + "click" + ")" * 150
    np.testing.assert_array_equal(formula(text, OBJECTIVES)(SCORES), SCORES[:, 1])


def test_values_of_any_scale_are_as_exact_as_their_result_allows() -> None:
    np.testing.assert_allclose(formula("1e30 * (1e30 * click) / 1e60", OBJECTIVES)(SCORES), SCORES[:, 1], rtol=1e-6)
