"""What another value formula would change: the same candidates, judged by the same ranker, in two orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel.evaluation.rows import Change, Example, Preview
from nextreel.ranking.ranker import OBJECTIVES, RELEVANCE
from nextreel.ranking.value import named
from nextreel.types import UNKNOWN, BoolArray, Catalogue, FloatArray, RowArray

FIRST = 10  # places that are looked at
EXAMPLES = 3
MOVERS = 8  # categories told, those that gain or lose most


@dataclass(frozen=True)
class Lists:
    """The lists that one formula makes."""

    rows: RowArray  # (m, k) best first, padded with -1
    top: NDArray[np.int64]  # (m,) so many places at the head of each list are looked at, FIRST at most
    objectives: FloatArray  # (m, FIRST, objectives) what was predicted of the first ones, NaN where there is none

    def shown(self) -> BoolArray:
        """(m, FIRST) the places that are looked at."""
        width = min(FIRST, self.rows.shape[1])
        inside: BoolArray = (np.arange(width) < self.top[:, None]) & (self.rows[:, :width] != UNKNOWN)
        return inside


def reads_more(formula: str) -> bool:
    """Whether a formula reads more than relevance. Raises `FormulaError` for one that cannot be read."""
    return named(formula, OBJECTIVES) != {RELEVANCE}


def compared(
    formulas: tuple[str, str],
    before: Lists,
    after: Lists,
    objectives: Sequence[str],
    catalogue: Catalogue,
    *,
    people: Sequence[str],
    metrics: Sequence[Change],
    places: str,
    seed: int,
) -> Preview:
    """What moves between the lists of the configured formula and those of the previewed one.

    Both have the same number of places looked at; `people` (m,) says whose each list is.
    """
    shown, width = before.shown(), before.rows.shape[1]
    to = _places(before.rows[:, : shown.shape[1]], after.rows)  # where each of the first ones is afterwards
    kept = shown & (to < before.top[:, None])
    each = np.maximum(shown.sum(axis=1), 1)
    shift = np.abs(to - np.arange(shown.shape[1]))
    predicted = [
        Change(name, *(float(one.objectives[..., number][one.shown()].mean()) for one in (before, after)))
        for number, name in enumerate(objectives)
    ]
    return Preview(
        configured=formulas[0],
        previewed=formulas[1],
        lists=len(before.rows),
        places=places,
        changed=float(1.0 - (kept.sum(axis=1) / each).mean()),
        same=float((~shown | (shift == 0)).all(axis=1).mean()),
        other_first=float((before.rows[:, 0] != after.rows[:, 0]).mean()),
        shift=float(shift[shown].mean()),
        longest=width,
        predicted=predicted,
        metrics=list(metrics),
        categories=_categories(before, after, catalogue),
        examples=_examples(before, after, catalogue, people, ~kept & shown, seed),
    )


def _places(rows: RowArray, lists: RowArray) -> NDArray[np.int64]:
    """(m, j) the place from 0 that each of the rows (m, j) has in its list (m, k); k where it is not in it."""
    stride = 1 + max(int(rows.max(initial=0)), int(lists.max(initial=0)))
    list_of, place = np.nonzero(lists != UNKNOWN)
    keys = list_of * stride + lists[list_of, place]
    order = np.argsort(keys)
    wanted = np.arange(len(rows))[:, None] * stride + rows
    where = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    return np.where((keys[where] == wanted) & (rows != UNKNOWN), place[where], lists.shape[1])


def _categories(before: Lists, after: Lists, catalogue: Catalogue) -> list[Change]:
    """The share of the places that each main category has, of those that gain or lose most."""
    n = len(catalogue.category_names)
    parts = []
    for one in (before, after):
        shown = one.shown()
        code = catalogue.category[one.rows[:, : shown.shape[1]][shown]]
        parts.append(np.bincount(code[code != UNKNOWN], minlength=n) / max(len(code), 1))
    largest = np.argsort(-np.abs(parts[1] - parts[0]), kind="stable")[:MOVERS].tolist()
    return [
        Change(catalogue.category_names[code], float(parts[0][code]), float(parts[1][code]))
        for code in largest
        if parts[0][code] != parts[1][code]
    ]


def _examples(
    before: Lists, after: Lists, catalogue: Catalogue, people: Sequence[str], gone: BoolArray, seed: int
) -> list[Example]:
    """Some of the lists that change, drawn at random: their first places in both orders."""
    changed = np.flatnonzero(gone.any(axis=1))
    drawn = np.random.default_rng(seed).choice(changed, min(EXAMPLES, len(changed)), replace=False)
    found = []
    for number in sorted(drawn.tolist()):
        first = [one.rows[number, : int(one.top[number])] for one in (before, after)]
        was = _places(first[1][None], before.rows[[number]])[0].tolist()
        texts = [[_title(catalogue, int(row)) for row in rows if row != UNKNOWN] for rows in first]
        longest = before.rows.shape[1]
        places = [place + 1 if place < longest else None for place in was[: len(texts[1])]]
        found.append(Example(people[number], texts[0], texts[1], places))
    return found


def _title(catalogue: Catalogue, row: int) -> str:
    """The video's title, or its id where it has none."""
    return catalogue.titles[row] or f"video {catalogue.video_ids[row]}"
