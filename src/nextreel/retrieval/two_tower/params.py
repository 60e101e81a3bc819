"""Hyper-parameters of the two towers, each written once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from nextreel.encoding.text import Choice
from nextreel.params import Params
from nextreel.retrieval.index import IndexParams


class TwoTowerParams(Params):
    """Shape, training and serving of the two towers; the defaults fit MovieLens-1M in minutes on two cores."""

    # Shape
    dim: int = Field(default=64, ge=2)  # of both unit vectors, and the width of the transformer
    blocks: int = Field(default=1, ge=1)
    heads: int = Field(default=2, ge=1)
    feed_forward: int = Field(default=4, ge=1)  # inner width of a block's network, times dim
    length: int = Field(default=64, ge=1)  # newest positive events of a history that are read
    hidden: tuple[int, int] = (256, 128)  # layers of the video tower before its vector
    id_dim: int = Field(default=32, ge=1)
    text: Choice = "hashed"  # "sentence": by meaning, 384 wide, with the extra `text`; "auto": by what is installed
    text_dim: int = Field(default=128, ge=1)  # of the hashed text
    min_count: int = Field(default=5, ge=1)  # events a video needs for an embedding of its own
    request_gap: bool = True  # the time since the last event is an input; off where data have no times
    trends: tuple[str, ...] = ("1d", "7d", "30d", "all")  # windows of popularity that are weighed; () for none
    profile: bool = True  # country, language, gender and age are inputs

    # Training
    epochs: int = Field(default=12, ge=0)
    warm_epochs: int = Field(default=3, ge=0)  # of a fit that starts from fitted towers
    max_seconds: float | None = Field(default=None, gt=0)  # a guard; a fit it cuts short cannot be repeated exactly
    batch: int = Field(default=1024, ge=1)  # positions of histories per step
    learning_rate: float = Field(default=2e-3, gt=0)
    warm_learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)  # share of the steps in which the learning rate grows
    dropout: float = Field(default=0.1, ge=0, lt=1)
    id_dropout: float = Field(default=0.1, ge=0, lt=1)  # share of videos a step knows by their content alone
    hidden_gaps: float = Field(default=0.3, ge=0, le=1)  # share of events after which nobody knows when one asks
    profile_dropout: float = Field(default=0.2, ge=0, lt=1)
    temperature: float = Field(default=0.05, gt=0)
    half_life_days: float | None = Field(default=None, gt=0)  # events this much older count half in the loss
    weigh_loss: bool = False  # relevance weights scale the loss of their event
    # Whoever comes back after so long gets a list for weeks: the target is one of the next `horizon` events, and such
    # targets weigh `return_weight` times as much. Within a visit the target is the very next event.
    return_hours: float = Field(default=12.0, gt=0)
    horizon: int = Field(default=50, ge=1)
    return_weight: float = Field(default=5.0, gt=0)

    # Negatives
    negatives: int = Field(default=512, ge=1)  # shared by all positions of a step
    uniform_share: float = Field(default=0.2, ge=0, le=1)  # drawn from all videos alike; the rest by popularity
    popularity_power: float = Field(default=0.75, ge=0)  # smooths popularity before drawing; 1 = in-batch negatives
    spare_window: bool = False  # a person's other positives in the window are no negatives; else the target alone
    log_q: bool = True  # corrects each sampled negative by how likely it was drawn
    explicit_negatives: int = Field(default=8, ge=0)  # per window: videos this person disliked, or saw and left
    explicit_weight: float = Field(default=1.0, gt=0)  # how many sampled negatives an explicit one counts for

    # Validation
    # Whose last positive is held out: 0 nobody's, None everybody's; so many of them are judged.
    validation_users: int | None = Field(default=1000, ge=0)
    validation_judged: int = Field(default=1500, ge=1)
    validate_every: int = Field(default=1, ge=1)  # epochs
    patience: int = Field(default=5, ge=1)  # validations without a better NDCG@10 before the fit stops

    seed: int = Field(default=42, ge=0)
    threads: int = Field(default=0, ge=0)  # 0: as PyTorch finds best
    device: Literal["auto", "cpu", "cuda"] = "auto"
    half: Literal["auto", "on", "off"] = "auto"  # products in bfloat16: where the processor or the card has them

    # Serving
    cached_users: int = Field(default=4096, ge=1)
    index: IndexParams = IndexParams()

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> TwoTowerParams:
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads; got dim {self.dim} and {self.heads} heads")
        return self

    def untimed(self) -> TwoTowerParams:
        """The same for data without time stamps: no gaps between events, and no popularity but that of all time."""
        return self.model_copy(update={"request_gap": False, "trends": ("all",) if self.trends else ()})
