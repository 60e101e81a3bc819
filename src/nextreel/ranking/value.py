"""The value formula: how objectives join into the one number that orders a list, declared as text."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nextreel.types import FloatArray, NextreelError

LONGEST = 500  # characters
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
    """A formula that cannot be read, or that names an objective there is none of."""


def formula(text: str, objectives: Sequence[str]) -> Callable[[FloatArray], FloatArray]:
    """The function that joins objectives (n, objectives) into values (n,), as the text says.

    It may hold the names of objectives, numbers, + - * / **, brackets, and log, exp, sqrt, abs, min and max. Raises
    `FormulaError` for anything else, and when no objective is named.

    >>> value = formula("click + 2 * like - 5 * dislike", ["click", "like", "dislike"])
    >>> value(np.array([[0.5, 0.1, 0.0], [0.5, 0.1, 0.2]], np.float32)).astype(float).round(2).tolist()
    [0.7, -0.3]
    """
    part, _ = _read(text, objectives)

    def value(scores: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):  # what is not finite, the pipeline refuses
            return np.asarray(part(scores), np.float32)

    return value


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
    read: set[str] = set()
    part = _part(tree, {name: number for number, name in enumerate(objectives)}, read)
    if not read:
        raise FormulaError(f"Expected a formula that names one of {', '.join(objectives)}, got '{text}'.")
    return part, frozenset(read)


def _part(node: ast.expr, places: dict[str, int], read: set[str]) -> _Part:
    """The function of one part of the formula; names of objectives go to `read`."""
    match node:
        case ast.Constant(value=float() | int() as number) if not isinstance(number, bool):
            return lambda scores: float(number)
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
