"""The base of every hyper-parameter class: frozen, finite, unknown keys forbidden, each parameter written once."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """A frozen set of hyper-parameters; an unknown key, a wrong type, infinity or NaN is an error that names it.

    >>> class Example(Params):
    ...     factors: int = 20
    >>> Example(factors=8).factors
    8
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
