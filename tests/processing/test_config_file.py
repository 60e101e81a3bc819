"""The commented file of parameters that stands in `configs/`."""

from __future__ import annotations

from pathlib import Path

import yaml

from nextreel.processing import ProcessingParams, load_params

FILE = Path(__file__).resolve().parents[2] / "configs" / "processing.yaml"


def test_the_file_holds_every_parameter_with_its_default() -> None:
    assert load_params(FILE) == ProcessingParams()
    assert yaml.safe_load(FILE.read_text(encoding="utf-8")) == ProcessingParams().model_dump(mode="json")
