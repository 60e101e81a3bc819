"""Reading the data set that a command was given, as its options say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextreel.cli import show

if TYPE_CHECKING:
    from nextreel.data import Dataset


def load(folder: Path, **reading: Any) -> Dataset:
    """The data set in the folder; what was left out of it is printed. `reading` are the fields of `data.Reading`."""
    from nextreel import data

    dataset = data.load(folder, data.Reading(**reading))
    show.left_out(dataset)
    return dataset
