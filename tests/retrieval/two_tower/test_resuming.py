"""A fit that was stopped, and one that two processes share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nextreel.retrieval.two_tower import fitting
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.retriever import TwoTowerError

if TYPE_CHECKING:
    from tests.retrieval.two_tower.conftest import World


FEW = {"epochs": 4, "validate_every": 1, "dropout": 0.1}


@pytest.fixture
def few(world: World) -> TwoTowerParams:
    """A short fit that validates every epoch."""
    return world.params.model_copy(update=FEW)


class Stopped(Exception):
    """Somebody pulled the plug."""


def stop_at(epoch: float) -> Callable[[Mapping[str, float]], None]:
    def watch(found: Mapping[str, float]) -> None:
        if found["epoch"] == epoch:
            raise Stopped

    return watch


def test_a_fit_that_was_stopped_goes_on_to_what_it_would_have_been_bit_for_bit(
    world: World, few: TwoTowerParams, tmp_path: Path
) -> None:
    events, weights = world.events, world.weights
    through = fitting.fit(events, weights, world.catalogue(), few)
    file = tmp_path / "towers" / "checkpoint.npz"
    with pytest.raises(Stopped):
        fitting.fit(events, weights, world.catalogue(), few, checkpoint=file, watch=stop_at(3))
    told: list[float] = []
    resumed = fitting.fit(
        events, weights, world.catalogue(), few, checkpoint=file, watch=lambda found: told.append(found["epoch"])
    )
    assert told == [3, 4]
    assert all(np.array_equal(resumed.weights[name], through.weights[name]) for name in through.weights)
    assert resumed.vectors.tolist() == through.vectors.tolist()
    assert {**resumed.metrics, "seconds": 0.0} == {**through.metrics, "seconds": 0.0}
    assert [one.name for one in file.parent.iterdir()] == [file.name]  # no half of a file is left


def test_a_checkpoint_of_another_fit_is_not_gone_on_from(world: World, few: TwoTowerParams, tmp_path: Path) -> None:
    events, weights = world.events, world.weights
    file = tmp_path / "checkpoint.npz"
    two = few.model_copy(update={"epochs": 2})
    fitting.fit(events, weights, world.catalogue(), two, checkpoint=file)
    for changed in (two.model_copy(update={"seed": 1}), two.model_copy(update={"dropout": 0.2})):
        found = fitting.fit(events, weights, world.catalogue(), changed, checkpoint=file)
        assert found.vectors.tolist() == fitting.fit(events, weights, world.catalogue(), changed).vectors.tolist()


def test_a_file_that_is_no_checkpoint_is_refused(world: World, few: TwoTowerParams, tmp_path: Path) -> None:
    events, weights = world.events, world.weights
    file = tmp_path / "checkpoint.npz"
    file.write_text("nothing")
    with pytest.raises(TwoTowerError, match="delete it"):
        fitting.fit(events, weights, world.catalogue(), few, checkpoint=file)


TOGETHER = """
import sys
from pathlib import Path
import numpy as np
import conftest as world
from nextreel.retrieval.two_tower import fitting
from torch import distributed

FEW = {"epochs": 4, "validate_every": 1, "dropout": 0.1}
events, weights = world.parity_world()
losses = []
fitted = fitting.fit(
    events, weights, world.catalogue(), world.PARAMS.model_copy(update=FEW | {"epochs": 8, "batch": 128}),
    watch=lambda found: losses.append(found["loss"]),
)
np.savez(Path(sys.argv[1]) / f"{distributed.get_rank()}.npz", losses=losses, **fitted.weights)
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_fit_one_model_together_as_one_would(world: World, few: TwoTowerParams, tmp_path: Path) -> None:
    (tmp_path / "together.py").write_text(TOGETHER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    here = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": here, "OMP_NUM_THREADS": "1"}
    subprocess.run(  # noqa: S603
        [*launch, str(tmp_path / "together.py"), str(tmp_path)], check=True, env=environment, timeout=300
    )
    with np.load(tmp_path / "0.npz") as one, np.load(tmp_path / "1.npz") as other:
        together, losses = dict(one), [one["losses"], other["losses"]]
        for name in set(one.files) - {"losses"}:
            assert np.array_equal(one[name], other[name])  # they stay one model, bit for bit
    events, weights = world.events, world.weights
    alone = fitting.fit(events, weights, world.catalogue(), few.model_copy(update={"epochs": 8, "batch": 256}))
    assert set(together) - {"losses"} == set(alone.weights)
    for found in losses:
        assert found[-1] < found[0] - 0.3
    assert np.mean([found[-1] for found in losses]) == pytest.approx(alone.metrics["loss"], rel=0.25)
