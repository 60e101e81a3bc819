"""The towers as ONNX graphs: what serving runs in place of PyTorch."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from nextreel.retrieval.two_tower.model import ServedUserTower, Towers
from nextreel.retrieval.two_tower.params import TwoTowerParams

OPSET = 17


def user_graph(towers: Towers, params: TwoTowerParams) -> bytes:
    """The user tower: vectors (1 + l, dim), weights (1 + l,), gaps (1 + l, 2), profile (1, 4) → (1, dim + trends)."""
    length = 1 + min(3, params.length)
    gaps, profile = torch.zeros(length, 2, dtype=torch.int64), torch.zeros(1, 4, dtype=torch.int64)
    example = (torch.zeros(length, params.dim), torch.ones(length), gaps, profile)
    names = ["vectors", "weights", "gaps", "profile"]
    axes = {name: {0: "length"} for name in names[:3]}
    return _graph(ServedUserTower(towers, params), example, names, "user", axes)


def video_graph(towers: Towers, features: int) -> bytes:
    """The video tower: ids, channels, languages (n,), popularity (n, 1), content (n, features) → (n, dim)."""
    codes = torch.zeros(2, dtype=torch.int64)
    example = (codes, codes, codes, torch.zeros(2, 1), torch.zeros(2, features))
    names = ["ids", "channels", "languages", "popularity", "content"]
    return _graph(towers.video, example, names, "video", {name: {0: "videos"} for name in [*names, "video"]})


def _graph(
    module: nn.Module, example: tuple[Tensor, ...], names: list[str], answer: str, axes: dict[str, dict[int, str]]
) -> bytes:
    """The module as the bytes of an ONNX file."""
    module.eval()
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated, yet 10 times quicker
        torch.onnx.export(
            module,
            example,
            path,
            input_names=names,
            output_names=[answer],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        return path.read_bytes()
