"""What may be chosen about processed data sets, and how a YAML or TOML file says it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from nextreel.encoding.encoders import EncoderParams
from nextreel.params import Params
from nextreel.relevance import Relevance
from nextreel.types import NextreelError


class ProcessingError(NextreelError):
    """A data set that cannot be processed as asked, or an output folder that holds something else."""


class ProcessingParams(Params):
    """How interactions become rows to train on; every default is what the project recommends."""

    model_config = ConfigDict(allow_inf_nan=False)

    relevance: Relevance = Relevance()
    encoders: EncoderParams = EncoderParams()
    train: float = Field(default=0.8, gt=0, lt=1)  # oldest part of the events
    val: float = Field(default=0.1, gt=0, lt=1)  # the part after it; the rest is the test part
    negative_ratio: int = Field(default=3, ge=0)  # negatives for each positive of the ranker's rows
    history: int = Field(default=50, ge=1)  # liked videos before a pair that stand in its row
    visit_minutes: float = Field(default=30.0, gt=0)  # a longer silence ends a visit
    visit_events: int = Field(default=30, ge=1)  # a longer visit is cut in pieces
    taken_within_hours: float = Field(default=24.0, gt=0)  # an impression that is played so soon was taken
    counters_every: float = Field(default=3600.0, gt=0)  # seconds; rows see the counters of the last full step
    parts: int = Field(default=4, ge=1)  # files of each table at least: what is done again after an interruption
    shard_events: int = Field(default=2_500_000, ge=1)  # there are more where a part would hold more events
    seed: int = 42

    @model_validator(mode="after")
    def _parts(self) -> ProcessingParams:
        if self.train + self.val >= 1:
            raise ValueError(f"train + val must leave something for the test part, got {self.train} + {self.val}")
        return self


def load_params(path: Path | None, **given: Any) -> ProcessingParams:
    """The parameters of a YAML or TOML file (the defaults without one), with those given put in their place.

    Raises `ProcessingError` that names every problem.
    """
    content: Any = {}
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
            content = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
        except OSError as error:
            raise ProcessingError(f"Expected a readable file of parameters, got {path}: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise ProcessingError(f"Expected YAML or TOML in {path}, got: {error}.") from error
    if not isinstance(content, dict | None):
        raise ProcessingError(f"Expected names and values in {path}, got a {type(content).__name__}.")
    try:
        return ProcessingParams.model_validate((content or {}) | {k: v for k, v in given.items() if v is not None})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors())
        raise ProcessingError(f"{path or 'Parameters'}: {problems}.") from error
