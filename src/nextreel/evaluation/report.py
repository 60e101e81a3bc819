"""Writes results to disk: JSON for machines; Markdown, with plots where a report is asked for, for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nextreel.evaluation import exposure_plots, list_plots, plots
from nextreel.evaluation.exposure_results import ExposureResults
from nextreel.evaluation.found import Found
from nextreel.evaluation.results import Results
from nextreel.types import NextreelError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class NoFolder(NextreelError):
    """The folder that results are to be written to cannot be made."""


def prepare(folder: Path, *, with_plots: bool) -> Path:
    """The folder, made where it was not there: called before a long run, so that its results find their place.

    Raises NoFolder where the folder cannot be, and NoPlots where plots are asked for without matplotlib.
    """
    if with_plots:
        plots.require()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NoFolder(f"Expected a folder to write to, got {folder}: {error.strerror}. Hint: name another.") from error
    return folder


def write(results: Found, path: Path) -> tuple[Path, Path]:
    """The JSON file at `path` and the Markdown file of the same name beside it, both written; no plots."""
    prepare(path.parent, with_plots=False)
    return _json(results, path), _text(path.with_suffix(".md"), results.to_markdown())


def write_report(results: Found, folder: Path) -> list[Path]:
    """The files `<protocol>.json`, `<protocol>.md` and the plots that the Markdown shows, all written into the folder.

    Files of an earlier report of the protocol are replaced. Raises NoPlots without matplotlib.
    """
    prepare(folder, with_plots=True)
    figures = plots.save(drawings(results), folder, results.protocol)
    text = results.to_markdown({name: path.name for name, path in figures.items()})
    path = folder / f"{results.protocol}.json"
    return [_json(results, path), _text(path.with_suffix(".md"), text), *figures.values()]


def drawings(results: Found) -> Mapping[str, Callable[[], Figure]]:
    """What draws each plot that the results have figures for, by its name in `found.FIGURES`.

    Raises TypeError for another kind of results.
    """
    if isinstance(results, Results):
        return list_plots.of_lists(results)
    if isinstance(results, ExposureResults):
        return exposure_plots.of_exposures(results)
    raise TypeError(f"Expected Results or ExposureResults, got {type(results).__name__}.")


def _json(results: Found, path: Path) -> Path:
    return _text(path, json.dumps(results.to_json(), indent=2, allow_nan=False) + "\n")


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
