"""From a data set to a release in production: fit, write, publish, leave the state beside it, promote."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import nextreel
from nextreel import catalogue as catalogue_file
from nextreel.assembly import Config
from nextreel.opening import CATALOGUE, CONFIG
from nextreel.progress import Progress, silent
from nextreel.registry import Registry
from nextreel.store import state_folder, write_snapshot
from nextreel.training.fit import Fitted, fit

if TYPE_CHECKING:
    from nextreel.data import Dataset


def train(
    dataset: Dataset,
    config: Config | None,
    home: Path,
    progress: Progress = silent,
    created_at: float | None = None,
) -> str:
    """The id of a new release, fitted on all of the data set, published in the home and promoted.

    `created_at` is the time written into the release, now by default.
    """
    return publish(fit(dataset, config, progress), dataset, home, time.time() if created_at is None else created_at)


def publish(fitted: Fitted, dataset: Dataset, home: Path, created_at: float) -> str:
    """The id of the release of what was fitted; in production when it returns, its state beside it."""
    registry = Registry(home)
    with TemporaryDirectory(prefix="nextreel-release-") as temporary:
        folder = Path(temporary)
        write(fitted, folder)
        release = registry.publish(
            folder, metrics=fitted.metrics, lineage=lineage(fitted, dataset), created_at=created_at
        )
    state = state_folder(home, release)
    if not state.exists():  # the same content published twice at one time is one release
        write_snapshot(fitted.store, state)
    registry.promote(release, at=created_at)
    return release


def write(fitted: Fitted, folder: Path) -> None:
    """Writes everything that serving needs, and no row of a user, into the folder."""
    catalogue_file.save(fitted.catalogue, folder / CATALOGUE)
    fitted.models.save(folder)
    fitted.ranker.save(folder / "ranker")
    about = {"config": fitted.config.model_dump(mode="json"), "timed": fitted.timed}
    (folder / CONFIG).write_text(json.dumps(about, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def lineage(fitted: Fitted, dataset: Dataset) -> dict[str, Any]:
    """What the release was made from and with."""
    return {
        "dataset": dataset.manifest.to_json(),
        "nextreel": nextreel.__version__,
        "python": platform.python_version(),
        "seconds": fitted.seconds,
        "ranker_rows": {objective: len(rows) for objective, rows in fitted.rows.items()},
    }
