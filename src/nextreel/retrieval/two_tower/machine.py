"""Where towers are trained: which device, at which precision, and how several processes (`torchrun`) keep in step."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn

from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.retriever import TwoTowerError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Machine:
    """One process of a fit."""

    device: torch.device
    half: bool  # products in bfloat16
    rank: int = 0
    processes: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes what all of them have learnt."""
        return self.rank == 0

    def tensor(self, array: NDArray[Any]) -> Tensor:
        """The array on the device."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, non_blocking=True)

    def precision(self) -> AbstractContextManager[Any]:
        """The context that a forward pass runs in."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()

    def own(self, items: Iterable[Item]) -> Iterator[Item]:
        """Every n-th item, for n processes; all get equally many, as they wait for each other."""
        group: list[Item] = []
        for item in items:
            group.append(item)
            if len(group) == self.processes:
                yield group[self.rank]
                group.clear()

    def average(self, model: nn.Module) -> None:
        """Makes the gradients of all processes their mean."""
        if self.processes == 1:
            return
        for parameter in model.parameters():
            if parameter.grad is None:  # a part that this process's batch did not touch
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
            parameter.grad /= self.processes

    def largest(self, value: float) -> float:
        """The largest value of all processes: they stop together."""
        if self.processes == 1:
            return value
        one = torch.tensor(value, device=self.device)
        distributed.all_reduce(one, distributed.ReduceOp.MAX)
        return float(one)


def machine(params: TwoTowerParams) -> Machine:
    """The machine that the parameters and, under `torchrun`, the environment ask for.

    Raises TwoTowerError for a graphics card that is not there.
    """
    processes, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    card = torch.cuda.is_available()
    if params.device == "cuda" and not card:
        raise TwoTowerError("Expected a graphics card that PyTorch can use; got none. Hint: device = 'cpu' or 'auto'.")
    if card and params.device != "cpu":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    else:
        device = torch.device("cpu")
    if processes > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave)  # not after a fit: the next one, of the same training, needs it again
    fast = device.type == "cuda" or bool(torch.cpu._is_avx512_bf16_supported())
    half = fast if params.half == "auto" else params.half == "on"
    return Machine(device, half, rank, processes)


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
