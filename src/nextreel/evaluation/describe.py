"""Differences, stages, segments and seeds told as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nextreel.evaluation.tables import NOTHING, View, digits, title
from nextreel.ranking.ranker import RELEVANCE

if TYPE_CHECKING:
    from nextreel.evaluation.rows import Change, Comparison, Preview, Seeds
    from nextreel.evaluation.segments import Segment
    from nextreel.evaluation.stages import StageResults

ALL = "all together"


def differences(comparisons: Sequence[Comparison]) -> View:
    """How much better than the best baseline each model is, with the interval and what it lets one say."""
    lines = [
        [
            title(one.metric),
            f"{one.model} - {one.against}",
            f"{one.difference:+.4f}",
            f"{one.low:+.4f} to {one.high:+.4f}",
            one.verdict,
        ]
        for one in comparisons
    ]
    heads = ["metric", "difference", "mean", "95 % interval", "verdict"]
    return View("Differences from the best baseline", heads, lines, names=2)


def sources(stages: StageResults) -> View:
    """What each source proposed, and all of them together, with the share of the right videos among it."""
    lines = [[one.name, f"{one.proposed:.1f}", digits(one.recall), digits(one.unique)] for one in stages.sources]
    lines.append([ALL, f"{stages.candidates:.1f}", digits(stages.recall), NOTHING])
    bold = [False] * len(stages.sources) + [True]
    return View("Candidates, mean over requests", ["source", "candidates", "recall", "only it"], lines, bold)


def orders(stages: StageResults) -> View:
    """NDCG@10 of the candidates in the three orders that they pass through, with what each changes."""
    lines = [
        ["fused: by the ranks of all sources", digits(stages.fused), NOTHING],
        ["ranked: by the ranker", digits(stages.ranked), f"{stages.ranked - stages.fused:+.4f}"],
        ["final: after the final order", digits(stages.final), f"{stages.final - stages.ranked:+.4f}"],
    ]
    return View("Order of the candidates", ["order", "NDCG@10", "change"], lines)


def filters(stages: StageResults) -> View:
    """How many of the right videos each filter would remove."""
    lines = [[name, f"{lost:,}", _share(lost, stages.truths)] for name, lost in stages.lost.items()]
    return View("Right videos that filters would remove", ["filter", "right videos", "share"], lines)


def stages_in_words(stages: StageResults) -> list[str]:
    """What the ranker gains, what the final order costs and what filters lose, one sentence each."""
    lost = [f"{name} {many:,}" for name, many in stages.lost.items() if many]
    return [
        f"NDCG@10: fused {stages.fused:.4f}, ranked {stages.ranked:.4f}, final {stages.final:.4f}: the ranker gains "
        f"{stages.ranked - stages.fused:+.4f}, the final order costs {stages.ranked - stages.final:+.4f}.",
        f"Of {stages.truths:,} right videos, filters would remove {', '.join(lost) or 'none'}.",
    ]


def segments(found: Sequence[Segment], models: Sequence[str]) -> list[View]:
    """A view for everything that segments differ in: each part with one line for each of the models."""
    views = []
    for by in dict.fromkeys(one.by for one in found):
        parts = [one for one in found if one.by == by]
        metrics = list(dict.fromkeys(name for one in parts for values in one.metrics.values() for name in values))
        lines = []
        for part in parts:
            for number, model in enumerate(models):
                about = (part.name, f"{part.many:,}") if number == 0 else ("", "")
                values = part.metrics.get(model, {})
                lines.append([about[0], model, about[1], *(digits(values.get(name)) for name in metrics)])
        heads = [by, "model", counted(by), *map(title, metrics)]
        views.append(View(f"By {by}", heads, lines, names=2))
    return views


def counted(by: str) -> str:
    """What the parts of a kind of segment are parts of: the requests, or the right videos of all requests."""
    return "right videos" if by.endswith("video") else "requests"


def seeds(found: Seeds, metrics: Sequence[str]) -> View:
    """Mean and half the range over the seeds, one line for each model."""
    runs = list(dict.fromkeys(seed for of_model in found.values() for seed in of_model))
    lines = [[model, *(spread([one[name] for one in of.values()]) for name in metrics)] for model, of in found.items()]
    about = f"Mean ± half the range over {len(runs)} seeds ({', '.join(runs)})"
    return View(about, ["model", *map(title, metrics)], lines)


def spread(values: Sequence[float]) -> str:
    """The mean of the values and half their range.

    >>> spread([0.2, 0.3, 0.4])
    '0.3000 ± 0.1000'
    """
    return f"{sum(values) / len(values):.4f} ± {(max(values) - min(values)) / 2:.4f}"


def preview_in_words(found: Preview) -> str:
    """Which formulas are compared, and where."""
    return (
        f"Preview of `{found.previewed}` instead of `{found.configured}`: the same models and candidates in "
        f"{found.lists:,} lists; looked at is {found.places}."
    )


def preview(found: Preview, examples: int | None = None) -> list[View]:
    """What another formula would change, part by part; with so many examples at most."""
    moved = [
        ["places that go to other videos", f"{found.changed:.1%}"],
        ["lists with another first video", f"{found.other_first:.1%}"],
        ["lists that stay as they are", f"{found.same:.1%}"],
        ["places that a video moves, mean", f"{found.shift:.1f}"],
    ]
    views = [
        View("What would move", ["", "how much"], moved),
        View("Predicted of these places", _HEADS, [_changed(one, "relative") for one in found.predicted]),
        View(
            "Metrics under either formula",
            [*_HEADS, "95 % interval", "verdict"],
            [[*_changed(one), *_interval(one)] for one in found.metrics],
        ),
    ]
    if found.categories:
        lines = [_changed(one, "share") for one in found.categories]
        views.append(View("Share of these places, categories that change most", _HEADS, lines))
    for one in found.examples[:examples]:
        lines = [
            [str(place + 1), before, after, NOTHING if was is None else str(was)]
            for place, (before, after, was) in enumerate(zip(one.before, one.after, one.was, strict=True))
        ]
        views.append(View(f"List of {one.person}", ["place", "configured", "previewed", "was at"], lines, names=3))
    return views


_HEADS = ["", "configured", "previewed", "change"]


def _changed(one: Change, how: str = "plain") -> list[str]:
    """Name, both figures and the difference: as it is, in percent of the first ("relative"), or of shares."""
    difference = one.after - one.before
    if how == "share":
        return [one.name, f"{one.before:.1%}", f"{one.after:.1%}", f"{100 * difference:+.1f} pp"]
    told = f"{difference:+.4f}"
    if how == "relative" and one.name != RELEVANCE and one.before > 0:  # what relevance is counted in means nothing
        told = f"{difference / one.before:+.1%}"
    *of, what = one.name.split(", ")  # an objective and what is measured of it
    name = one.name if how == "relative" else ", ".join([*of, title(what)])
    return [name, digits(one.before), digits(one.after), told]


def _interval(one: Change) -> list[str]:
    """The interval of the difference and what it lets one say."""
    if one.low is None or one.high is None:
        return [NOTHING, NOTHING]
    return [f"{one.low:+.4f} to {one.high:+.4f}", "more" if one.low > 0 else "less" if one.high < 0 else "unclear"]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else NOTHING
