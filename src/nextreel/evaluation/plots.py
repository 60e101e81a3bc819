"""How plots of results look and are written, as SVG: the same results give the same bytes. Needs the extra `report`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextreel.evaluation.found import FIGURES
from nextreel.types import NextreelError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nextreel.evaluation.found import Found

# Okabe & Ito, Color Universal Design (2008): told apart with every kind of colour blindness
COLOURS = {"pipeline": "#0072B2", "preview": "#009E73", "source": "#E69F00", "baseline": "#999999"}
LINES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v", "P")
# a fixed salt instead of random ids; text stays text, so that it can be searched and read aloud
STYLE: dict[Any, Any] = {  # matplotlib types its keys as some hundreds of literals
    "svg.hashsalt": "nextreel",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
}


class NoPlots(NextreelError):
    """Plots were asked for where the library that draws them is not installed."""


def require() -> None:
    """Raises NoPlots where matplotlib is not installed; nothing is imported to find out."""
    if importlib.util.find_spec("matplotlib") is None:
        raise NoPlots(
            "Expected matplotlib for the plots of a report; it is not installed. "
            "Hint: `pip install 'nextreel[report]'`, or `--json FILE` for results without plots."
        )


def save(drawings: Mapping[str, Callable[[], Figure]], folder: Path, stem: str) -> dict[str, Path]:
    """Writes `<stem>_<name>.svg` for every plot, by its name in `FIGURES`, into the folder, and tells where each is.

    Raises NoPlots without matplotlib.
    """
    require()
    from matplotlib import rc_context  # noqa: PLC0415  an extra

    found = {}
    with rc_context(STYLE):
        for name, draw in drawings.items():
            found[name] = folder / f"{stem}_{name}.svg"
            about = {"Date": None, "Creator": "nextreel", "Title": FIGURES[name]}
            draw().savefig(found[name], metadata=about)
    return found


def new_figure(results: Found, about: str, width: float, height: float) -> Figure:
    """An empty figure of so many inches below its title."""
    from matplotlib.figure import Figure  # noqa: PLC0415  an extra

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.suptitle(f"{about} (protocol {results.protocol}, {results.counted})", fontsize=12)
    return figure
