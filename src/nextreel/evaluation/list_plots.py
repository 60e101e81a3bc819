"""Plots of protocols of lists: models, recall, stages and segments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from nextreel.evaluation import describe, tables
from nextreel.evaluation.found import FIGURES
from nextreel.evaluation.plots import COLOURS, LINES, MARKS, new_figure
from nextreel.types import NextreelError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nextreel.evaluation.results import Results
    from nextreel.evaluation.rows import Row
    from nextreel.evaluation.segments import Segment

LEGEND = {
    "pipeline": "the whole pipeline",
    "preview": "with the previewed formula",
    "source": "one source alone",
    "baseline": "baselines",
}


def of_lists(results: Results) -> dict[str, Callable[[], Figure]]:
    """What draws each plot of the results of a protocol of lists, by its name in `found.FIGURES`."""
    drawings = {"models": _models, "recall": _recall}
    if results.stages is not None:
        drawings["stages"] = _stages
    if results.segments:
        drawings["segments"] = _segments
    return {name: partial(draw, results) for name, draw in drawings.items()}


def _models(results: Results) -> Figure:
    """Horizontal bars, best on top; with several seeds a line from the worst to the best of them."""
    rows = sorted(results.main(), key=lambda row: row.metrics["ndcg@10"])
    figure = new_figure(results, "How good every model is", 9.5, 1.6 + 0.32 * len(rows))
    for axes, (metric, label) in zip(
        figure.subplots(1, 2, sharey=True), (("ndcg@10", "NDCG@10"), ("hit_rate@10", "HitRate@10")), strict=True
    ):
        values = [row.metrics[metric] for row in rows]
        axes.barh([row.model for row in rows], values, color=[COLOURS[row.kind] for row in rows])
        for place, (row, value) in enumerate(zip(rows, values, strict=True)):
            of_seeds = [one[metric] for one in results.seeds.get(row.model, {}).values()]
            if of_seeds:
                axes.plot([min(of_seeds), max(of_seeds)], [place, place], color="black", linewidth=2)
            end = max(value, *of_seeds) if of_seeds else value
            axes.annotate(f"{value:.4f}", (end, place), (4, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set_xlim(0, max(*values, 1e-9) * 1.2)
        axes.set_xlabel(f"{label}, mean over requests")
        axes.grid(axis="x")
    _legend_of_kinds(figure, rows, seeds=bool(results.seeds))
    return figure


def _legend_of_kinds(figure: Figure, rows: Sequence[Row], *, seeds: bool) -> None:
    from matplotlib.artist import Artist  # noqa: PLC0415  an extra
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    kinds = {row.kind for row in rows}
    handles: list[Artist] = [Patch(color=it, label=LEGEND[kind]) for kind, it in COLOURS.items() if kind in kinds]
    if seeds:
        handles.append(Line2D([], [], color="black", linewidth=2, label="worst to best seed"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def _recall(results: Results) -> Figure:
    figure = new_figure(results, "Right videos among the first k", 7.5, 4.6)
    axes = figure.subplots()
    rows = results.judged()
    cuts = sorted({int(name.partition("@")[2]) for row in rows for name in row.metrics if name.startswith("recall@")})
    for number, row in enumerate(rows):
        values = [row.metrics.get(f"recall@{k}", float("nan")) for k in cuts]
        axes.plot(range(len(cuts)), values, **_line(number, row))
    axes.set_xticks(range(len(cuts)), [str(k) for k in cuts])
    axes.set_xlabel("k, length of the list")
    axes.set_ylabel("Recall@k, mean over requests")
    _finish(axes)
    return figure


def _stages(results: Results) -> Figure:
    found = results.stages
    if found is None:
        raise NextreelError("Expected results with stages to plot; got those of one source.")
    sources = sorted(found.sources, key=lambda one: one.recall)
    names = [*(one.name for one in sources), "all together"]
    figure = new_figure(results, FIGURES["stages"], 10.5, max(3.4, 1.6 + 0.42 * len(names)))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    bars = left.barh(
        names, [*(one.recall for one in sources), found.recall], color="#56B4E9", label="any that it finds"
    )
    left.barh(
        names[:-1], [one.unique for one in sources], color="#D55E00", label="those that only it finds", height=0.4
    )
    left.bar_label(bars, fmt="%.3f", padding=3, fontsize=9)
    left.set_xlim(0, max(found.recall, *(one.recall for one in sources), 1e-9) * 1.15)
    left.set_xlabel("share of the right videos, mean over requests")
    left.set_title("Recall of the candidates")
    left.grid(axis="x")
    left.legend(loc="lower right", framealpha=1)
    steps = {"fused": found.fused, "ranked": found.ranked, "final": found.final}
    columns = right.bar(list(steps), list(steps.values()), color=["#999999", "#56B4E9", "#0072B2"], width=0.6)
    right.bar_label(columns, fmt="%.4f", padding=3, fontsize=9)
    right.set_ylim(0, max(*steps.values(), 1e-9) * 1.12)
    right.set_xlabel("by sources' ranks, by the ranker, after the final order", fontsize=9)
    right.set_ylabel("NDCG@10, mean over requests")
    right.set_title("Order of the candidates")
    right.grid(axis="y")
    return figure


def _segments(results: Results) -> Figure:
    """One panel for everything that segments differ in, one line for each model, parts from least to most."""
    by = list(dict.fromkeys(one.by for one in results.segments))
    figure = new_figure(results, FIGURES["segments"], 5.2 * len(by), 4.8)
    for axes, one in zip(figure.subplots(1, len(by), squeeze=False)[0], by, strict=True):
        parts = [part for part in results.segments if part.by == one]
        metric = "ndcg@10" if any("ndcg@10" in values for values in parts[0].metrics.values()) else "recall@100"
        _parts(axes, results, parts, metric)
    return figure


def _parts(axes: Axes, results: Results, parts: Sequence[Segment], metric: str) -> None:
    for number, row in enumerate(results.judged()):
        values = [part.metrics.get(row.model, {}).get(metric, float("nan")) for part in parts]
        axes.plot(range(len(parts)), values, **_line(number, row))
    counted = describe.counted(parts[0].by)
    axes.set_xticks(range(len(parts)), [f"{part.name.replace(' and more', '+')}\n{part.many:,}" for part in parts])
    axes.set_xlabel(f"{parts[0].by}, below it the number of {counted}")
    axes.set_ylabel(f"{tables.title(metric)}, mean over {counted}")
    _finish(axes)


def _line(number: int, row: Row) -> dict[str, Any]:
    """How the line of a model is drawn; the best baseline is grey and broken."""
    if row.kind == "baseline":
        return {"label": f"{row.model} (best baseline)", "color": "#666666", "marker": "x", "linestyle": "--"}
    at = number % len(LINES)
    return {"label": row.model, "color": LINES[at], "marker": MARKS[at], "linestyle": "-"}


def _finish(axes: Axes) -> None:
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.legend(frameon=False)
