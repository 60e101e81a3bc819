"""What all tests share: one thread a library, and real data where a person has it."""

from __future__ import annotations

import os
from pathlib import Path

# Before anything imports NumPy: several test processes with many threads each only fight over the cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "1")

import pytest  # noqa: E402  the environment above must be set first


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
