"""The retrievers of a release, put over the states of a replay, for negatives that a person might have been shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nextreel import catalogue as catalogue_file
from nextreel.assembly import Config, Models, build
from nextreel.opening import CATALOGUE, CONFIG
from nextreel.pipeline import Recommender
from nextreel.processing.output import RecommenderOf
from nextreel.processing.params import ProcessingError
from nextreel.registry import Registry
from nextreel.store.memory import MemoryStore
from nextreel.types import Catalogue


def folder_of(home: Path, release: str, catalogue: Catalogue) -> Path:
    """The folder of the release. Raises `ProcessingError` for one of another catalogue: its rows are other videos."""
    folder = Registry(home).open(release)
    known = catalogue_file.load(folder / CATALOGUE)
    if not np.array_equal(known.video_ids, catalogue.video_ids):
        raise ProcessingError(
            f"Expected a release of the same {len(catalogue):,} videos, got {release} of {len(known):,}. "
            "Hint: train a release on this data set first, or leave --release out."
        )
    return folder


def recommender_of(home: Path, release: str, catalogue: Catalogue) -> RecommenderOf:
    """Makes a recommender of the release's sources and filters over a store; errors are those of `folder_of`."""
    folder = folder_of(home, release, catalogue)
    about = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config, models = Config.model_validate(about["config"]), Models.load(folder)

    def over(store: MemoryStore) -> Recommender:
        return build(config, catalogue, store, models, None, timed=about["timed"], release=release)

    return over
