"""Checkpoints of a fit: everything that the next epoch depends on, in one file of arrays."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from nextreel.folders import whole
from nextreel.retrieval.two_tower.retriever import TwoTowerError

if TYPE_CHECKING:
    from nextreel.retrieval.two_tower.loop import Training


def save(path: Path, key: str, training: Training) -> None:
    """Writes the checkpoint whole or not at all; `key` says which fit of which data it is of."""
    arrays: dict[str, NDArray[Any]] = {"torch": torch.random.get_rng_state().numpy()}
    for name, value in training.towers.state_dict().items():
        arrays[f"weights/{name}"] = value.cpu().numpy()
    for name, value in (training.best_weights or {}).items():
        arrays[f"best/{name}"] = value.cpu().numpy()
    for number, moments in training.optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            arrays[f"optimizer/{number}/{name}"] = value.cpu().numpy()
    about = {
        "key": key,
        "state": asdict(training.state),
        "metrics": training.metrics,
        "sampler": training.sampler.rng.bit_generator.state,
    }
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as half, half.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def resume(path: Path, key: str, training: Training) -> None:
    """Sets the training to where the checkpoint left it; one that is missing, or of another fit, changes nothing.

    Raises TwoTowerError for a file that is no checkpoint.
    """
    if not path.is_file():
        return
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = json.loads(arrays["about"].tobytes())
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise TwoTowerError(f"Expected a checkpoint of the towers in {path}; got: {error}. Hint: delete it.") from error
    if about["key"] != key:
        return
    training.towers.load_state_dict(_part(arrays, "weights/"))
    training.best_weights = _part(arrays, "best/") or None
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _part(arrays, "optimizer/").items():
        number, _, moment = name.partition("/")
        moments.setdefault(int(number), {})[moment] = value
    groups = training.optimizer.state_dict()["param_groups"]
    training.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    for name, value in about["state"].items():
        setattr(training.state, name, value)
    training.metrics = about["metrics"]
    training.sampler.rng.bit_generator.state = about["sampler"]
    torch.random.set_rng_state(torch.from_numpy(arrays["torch"]))


def _part(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): torch.from_numpy(a) for name, a in arrays.items() if name.startswith(prefix)}
