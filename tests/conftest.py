"""What all tests share: one thread a library, a small trained home, and real data where a person has it."""

from __future__ import annotations

import fcntl
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

# Before anything imports NumPy: several test processes with many threads each only fight over the cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402  the environment above must be set first
import pytest  # noqa: E402

if TYPE_CHECKING:
    from nextreel.assembly import Config
    from nextreel.data import Dataset

TINY = {
    "two_tower": {
        "dim": 16,
        "blocks": 1,
        "hidden": (32, 16),
        "text_dim": 16,
        "id_dim": 8,
        "length": 20,
        "epochs": 1,
        "warm_epochs": 1,
        "negatives": 64,
        "validation_users": 20,
        "threads": 1,
    },
    "als": {"factors": 8, "iterations": 3, "threads": 1},
    "moments": {"active": 40, "idle": 60},
    "ranker": {"iterations": 10, "threads": 1},
}
CREATED_AT = 1_767_225_600.0  # 2026-01-01, when the tiny world ends


@pytest.fixture(scope="session")
def tiny_dataset() -> Dataset:
    """A synthetic world of 83 people, "person-1" to "person-83", and 120 videos."""
    from nextreel.data import World  # noqa: PLC0415  most tests need no table library

    dataset = World.make(83, 120, 4_000, seed=3).dataset()
    ids = np.array([f"person-{user_id[1:]}" for user_id in dataset.events.user_ids], object)
    return replace(dataset, events=replace(dataset.events, user_ids=ids))


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """All four stages, each as small as it gets."""
    from nextreel.assembly import Config  # noqa: PLC0415

    return Config.model_validate(TINY)


@pytest.fixture(scope="session")
def trained(tiny_dataset: Dataset, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one release, trained once for all test processes; never opened itself, see `home`."""
    from nextreel.training import train  # noqa: PLC0415

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "trained").is_dir():
            train(tiny_dataset, tiny_config, shared / "half", created_at=CREATED_AT)
            (shared / "half").rename(shared / "trained")
    return shared / "trained"


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    """A home of the test's own with the trained release in production."""
    return Path(shutil.copytree(trained, tmp_path / "home"))


@pytest.fixture(scope="session")
def movielens() -> Path:
    """The folder of MovieLens-1M's `.dat` files."""
    root = os.environ.get("NEXTREEL_DATA")
    if not root:
        pytest.skip("needs MovieLens-1M: set NEXTREEL_DATA to the folder that holds ml-1m/")
    folder = Path(root) / "ml-1m"
    if not (folder / "ratings.dat").is_file():
        pytest.skip(f"needs MovieLens-1M: no ratings.dat in {folder}")
    return folder
