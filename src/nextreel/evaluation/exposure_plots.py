"""Plots of protocol exposures: how well models order what was shown, and whether probabilities keep their word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nextreel.evaluation.found import FIGURES
from nextreel.evaluation.plots import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nextreel.evaluation.answers import Bin
    from nextreel.evaluation.exposure_results import ExposureResults, Outcome

COLUMNS = 3  # panels beside each other
_SHADES = {"pipeline": COLOURS["pipeline"], "value": COLOURS["source"]}
_GREYS = ("#777777", "#bbbbbb")


def of_exposures(results: ExposureResults) -> dict[str, Callable[[], Figure]]:
    """What draws each plot of the results, by its name in `found.FIGURES`."""
    return {"order": partial(_order, results), "reliability": partial(_reliability, results)}


def _order(results: ExposureResults) -> Figure:
    """Bars of GAUC and NDCG@10 by objective; with several seeds a line from the worst to the best of them."""
    figure = new_figure(results, FIGURES["order"], 10.0, 1.8 + 0.85 * len(results.outcomes))
    names = [row.model for row in results.outcomes[0].rows if "gauc" in row.metrics]
    height = 0.8 / len(names)
    middle = np.arange(len(results.outcomes), dtype=np.float64)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (metric, label) in zip(panels, (("gauc", "GAUC"), ("ndcg@10", "NDCG@10")), strict=True):
        outsiders = iter(_GREYS)
        for number, name in enumerate(names):
            rows = [next(row for row in one.rows if row.model == name) for one in results.outcomes]
            values = [row.metrics[metric] for row in rows]
            places = middle + (number - (len(names) - 1) / 2) * height
            colour = _SHADES.get(rows[0].kind) or next(outsiders)
            axes.barh(places, values, height, label=name, color=colour)
            seeds = _spread(axes, results, places.tolist(), metric) if rows[0].kind == "pipeline" else {}
            for place, value in zip(places.tolist(), values, strict=True):
                end = max(value, seeds.get(place, value))
                axes.annotate(f"{value:.3f}", (end, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(middle, [one.objective for one in results.outcomes])
        axes.set_xlabel(label)
        axes.grid(axis="x")
        axes.margins(x=0.12)
    panels[0].axvline(0.5, color="black", linewidth=0.8, linestyle=":")  # what chance reaches
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _spread(axes: Axes, results: ExposureResults, places: Sequence[float], metric: str) -> dict[float, float]:
    """Draws a line from the worst to the best seed of each objective; the best by place, where there are several."""
    best = {}
    for place, one in zip(places, results.outcomes, strict=True):
        values = [found[metric] for found in results.seeds.get(one.objective, {}).values()]
        if values:
            best[place] = max(values)
            label = "worst to best seed" if len(best) == 1 else None
            axes.plot([min(values), max(values)], [place, place], color="black", linewidth=2, label=label)
    return best


def _reliability(results: ExposureResults) -> Figure:
    """One panel for each objective: what was told against what came true, before and after calibration."""
    across = min(COLUMNS, len(results.outcomes))
    down = -(-len(results.outcomes) // across)
    figure = new_figure(results, FIGURES["reliability"], 4.4 * across, 1.0 + 4.2 * down)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, one in zip(panels, results.outcomes, strict=False):
        _panel(axes, one)
    for axes in panels[len(results.outcomes) :]:
        axes.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def _panel(axes: Axes, one: Outcome) -> None:
    bins = [*one.uncalibrated, *one.calibrated]
    end = 1.08 * max(max(part.predicted, part.observed) for part in bins)
    axes.plot([0, end], [0, end], color="black", linewidth=0.8, linestyle=":", label="keeps its word")
    _curve(axes, one.uncalibrated, "before calibration", "#999999", "x")
    _curve(axes, one.calibrated, "calibrated", COLOURS["pipeline"], "o")
    least, most = min(part.rows for part in bins), max(part.rows for part in bins)
    errors = {row.model: row.metrics["ece"] for row in one.rows if row.kind in ("pipeline", "stage")}
    after, before = errors.values()
    axes.set_title(f"{one.objective}: ECE {before:.4f} before, {after:.4f} after")
    axes.set_xlim(0, end)
    axes.set_ylim(0, end)
    axes.set_xlabel(f"mean told, in bins of {least:,} to {most:,} exposures")
    axes.set_ylabel("mean that came true")
    axes.grid()


def _curve(axes: Axes, bins: Sequence[Bin], label: str, colour: str, mark: str) -> None:
    """The bins as a line, each with the 95 % interval of a share of so many; for `watch` it is wider than need be."""
    true = np.array([part.observed for part in bins])
    spread = 1.96 * np.sqrt(true * (1 - true) / np.array([part.rows for part in bins]))
    axes.errorbar(
        [part.predicted for part in bins], true, spread, label=label, color=colour, marker=mark, markersize=4,
        linewidth=1.2, elinewidth=0.7,
    )  # fmt: skip
