"""From sources to one data set: loaders, schemas, validation, splits, versions and the synthetic world.

Names are imported when they are first used, so that a light part such as `splits` does not pull in the table libraries.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nextreel.data.dataset import Dataset
    from nextreel.data.errors import DataError, Problem, Report
    from nextreel.data.intake import Reading
    from nextreel.data.ratings import write_ratings
    from nextreel.data.sources import check, load
    from nextreel.data.splits import Split, leave_last_out, split_by_time
    from nextreel.data.synthetic import World
    from nextreel.data.versions import Manifest

__all__ = [
    "DataError",
    "Dataset",
    "Manifest",
    "Problem",
    "Reading",
    "Report",
    "Split",
    "World",
    "check",
    "leave_last_out",
    "load",
    "split_by_time",
    "write_ratings",
]

_HOME = {
    "DataError": "errors",
    "Dataset": "dataset",
    "Manifest": "versions",
    "Problem": "errors",
    "Reading": "intake",
    "Report": "errors",
    "Split": "splits",
    "World": "synthetic",
    "check": "sources",
    "leave_last_out": "splits",
    "load": "sources",
    "split_by_time": "splits",
    "write_ratings": "ratings",
}


def __getattr__(name: str) -> Any:
    """The public name, imported from the module it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
