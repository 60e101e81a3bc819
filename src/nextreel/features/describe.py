"""What is said of the features: their catalogue, read from the docstrings that stand with the code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import getdoc

from nextreel.types import Feature, NextreelError

_OF = {"user": "person", "video": "video", "cross": "both"}


@dataclass(frozen=True, slots=True)
class Description:
    """One feature as a person reads about it."""

    name: str
    of: str  # what it describes: person, video or both
    meaning: str
    unit: str
    reads: tuple[str, ...]  # parts of the moment: history, profile, request, catalogue and counters


def describe(feature: Feature) -> Description:
    """The description of a feature.

    Its docstring holds the meaning in the first line, then lines `Unit:` and `Reads:`. Raises `NextreelError` for one
    that does not.
    """
    name = feature.__name__
    lines = (getdoc(feature) or "").splitlines()
    told = {key: value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
    if not lines or not told.get("Unit") or not told.get("Reads"):
        raise NextreelError(
            f"Expected a docstring with a first line and lines 'Unit: …' and 'Reads: …' in the feature {name}, got "
            f"{lines[:1]}."
        )
    room = feature.__module__.rpartition(".")[2]
    reads = tuple(part.strip() for part in told["Reads"].split(","))
    return Description(name, _OF.get(room, room), lines[0].rstrip("."), told["Unit"], reads)


def page(features: Sequence[Feature], timed: Sequence[Feature]) -> str:
    """The catalogue as a Markdown page; `timed` are those that only data with timestamps have."""
    lines = [
        "# Features",
        "",
        "What the ranker reads of each candidate, beside the score and the rank that every source gives it",
        "(`score_NAME`, and ln(1 + rank) as `rank_NAME`). Every feature is one function of the same name in",
        "[`features/`](../src/nextreel/features), computed by the same code in training, evaluation, batch and",
        "serving. Each is a column of `ranker/*.parquet` and of `nextreel features history`; a release uses those that",
        "its data tell apart (`nextreel features list --home HOME` says which, and what each does for the ranker).",
        "Made by `nextreel features list --markdown`.",
        "",
        "| feature | of | what it is | unit | reads | data without times |",
        "|---|---|---|---|---|---|",
    ]
    for one in map(describe, features):
        left_out = "left out" if one.name in {feature.__name__ for feature in timed} else ""
        reads = ", ".join(f"`{part}`" for part in one.reads)
        lines.append(f"| `{one.name}` | {one.of} | {one.meaning} | {one.unit} | {reads} | {left_out} |")
    return "\n".join(lines) + "\n"
