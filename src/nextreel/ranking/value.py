"""The value formula: how objectives join into the one number that orders a list, declared as text."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nextreel.ranking.ranker import RELEVANCE
from nextreel.types import FloatArray, NextreelError

LONGEST, DEEPEST = 500, 120  # characters; brackets and operations within one another
_TRIED = 64  # rows of scores that a formula is tried with
_Part = Callable[[FloatArray], Any]
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {  # name -> how many arguments, what it does
    "log": (1, np.log),
    "exp": (1, np.exp),
    "sqrt": (1, np.sqrt),
    "abs": (1, np.abs),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
}


class FormulaError(NextreelError):
    """A formula that cannot be read, that names an objective there is none of, or that is no number of some scores."""


def formula(text: str, objectives: Sequence[str]) -> Callable[[FloatArray], FloatArray]:
    """The function that joins objectives (n, objectives) into values (n,), as the text says.

    It may hold the names of objectives, numbers, + - * / **, brackets, and log, exp, sqrt, abs, min and max. Raises
    `FormulaError` for anything else, when no objective is named, and where the value of ordinary scores is not finite.

    >>> value = formula("click + 2 * like - 5 * dislike", ["click", "like", "dislike"])
    >>> value(np.array([[0.5, 0.1, 0.0], [0.5, 0.1, 0.2]], np.float32)).astype(float).round(2).tolist()
    [0.7, -0.3]
    """
    part, _ = _read(text, objectives)

    def value(scores: FloatArray) -> FloatArray:
        return _values(part, scores)

    return value


def _values(part: _Part, scores: FloatArray) -> FloatArray:
    with np.errstate(all="ignore"):  # what is not finite, the pipeline refuses
        return np.asarray(part(scores.astype(np.float64)), np.float32)


def named(text: str, objectives: Sequence[str]) -> frozenset[str]:
    """The objectives that the formula reads, of those there are. Raises `FormulaError` as `formula` does.

    >>> sorted(named("click + 2 * like", ["relevance", "click", "like"]))
    ['click', 'like']
    """
    return _read(text, objectives)[1]


def _read(text: str, objectives: Sequence[str]) -> tuple[_Part, frozenset[str]]:
    """The function of the whole formula, and the objectives it names."""
    if len(text) > LONGEST:
        raise FormulaError(f"Expected a formula of at most {LONGEST} characters, got {len(text)}.")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormulaError(f"Expected a formula such as 'click + 2 * like', got '{text}': {error}.") from error
    if _depth(tree) > DEEPEST:
        raise FormulaError(f"Expected a formula of at most {DEEPEST} parts within one another, got {_depth(tree)}.")
    read: set[str] = set()
    part = _part(tree, {name: number for number, name in enumerate(objectives)}, read)
    if not read:
        raise FormulaError(f"Expected a formula that names one of {', '.join(objectives)}, got '{text}'.")
    _try(part, text, objectives)
    return part, frozenset(read)


def _depth(tree: ast.expr) -> int:
    """How many parts lie within one another, without recursion."""
    deepest, left = 0, [(tree, 1)]
    while left:
        node, depth = left.pop()
        deepest = max(deepest, depth)
        left += [(child, depth + 1) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return deepest


def _try(part: _Part, text: str, objectives: Sequence[str]) -> None:
    """Raises `FormulaError` where the value of scores as a ranker gives them is not finite."""
    rng = np.random.default_rng(0)
    drawn = [rng.normal(0, 3, _TRIED) if name == RELEVANCE else rng.uniform(1e-4, 1, _TRIED) for name in objectives]
    scores = np.column_stack(drawn).astype(np.float32)  # a relevance is any number, all others are probabilities
    bad = np.flatnonzero(~np.isfinite(_values(part, scores)))
    if len(bad):
        told = ", ".join(f"{name} {score:g}" for name, score in zip(objectives, scores[bad[0]].tolist(), strict=True))
        raise FormulaError(
            f"Expected a formula with a finite value for all scores, got '{text}', which has none for {told}. "
            "Hint: nothing may divide by zero, and log and sqrt take what is above 0: a relevance may be below it."
        )


def _part(node: ast.expr, places: dict[str, int], read: set[str]) -> _Part:
    """The function of one part of the formula; names of objectives go to `read`."""
    match node:
        case ast.Constant(value=float() | int() as number) if not isinstance(number, bool):
            constant = _constant(number)
            return lambda scores: constant
        case ast.Name(id=name):
            if name not in places:
                raise FormulaError(f"No objective '{name}' to value by. Hint: one of {', '.join(places)}.")
            read.add(name)
            place = places[name]
            return lambda scores: scores[:, place]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            inner = _part(operand, places, read)
            return (lambda scores: -inner(scores)) if isinstance(sign, ast.USub) else inner
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            join, first, second = _BINARY[type(op)], _part(left, places, read), _part(right, places, read)
            return lambda scores: join(first(scores), second(scores))
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if name in _FUNCTIONS:
            count, function = _FUNCTIONS[name]
            if len(given) != count:
                raise FormulaError(f"Expected {count} argument(s) of {name}, got {len(given)}.")
            parts = [_part(one, places, read) for one in given]
            return lambda scores: function(*(one(scores) for one in parts))
    raise FormulaError(
        f"Expected names of objectives, numbers, + - * / ** and {', '.join(_FUNCTIONS)} in a formula, got "
        f"'{ast.unparse(node)}'."
    )


def _constant(number: float) -> np.float64:
    """The number as NumPy's, which divides by zero and overflows to infinity instead of raising."""
    try:
        return np.float64(number)
    except OverflowError as error:
        raise FormulaError("Expected numbers below 1e308 in a formula, got a larger one.") from error
