"""The spaces that are searched: what each parameter of a ranker may be, declared here or in a TOML file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

from pydantic import Field, ValidationError, model_validator

from nextreel.assembly import Config, merged
from nextreel.params import Params
from nextreel.ranking.families import Family
from nextreel.types import NextreelError

Value: TypeAlias = bool | int | float | str


class SpaceError(NextreelError):
    """A search space that cannot be read, or that the configuration does not fit into."""


class Range(Params):
    """Every number from `low` to `high`; whole ones where the parameter is a whole number."""

    low: float
    high: float
    log: bool = False  # drawn evenly over the logarithm: what is tried is as dense between 1 and 2 as between 10 and 20

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"expected low below high, got {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"expected low above 0 where log is true, got {self.low:g}")
        return self

    def holds(self, value: Any) -> bool:
        """Whether the value may be drawn."""
        return bool(self.low <= value <= self.high)

    def stretched(self, value: Any) -> Range:
        """The same, as far as the value; a logarithm reaches no number that is not above 0."""
        return self.model_copy(update={"low": min(self.low, value), "high": max(self.high, value)})

    def ends(self) -> tuple[Any, ...]:
        """What must be allowed for all of it to be."""
        return self.low, self.high


class Choice(Params):
    """One of some values, between which nothing lies."""

    choices: tuple[Any, ...] = Field(min_length=1)

    def holds(self, value: Any) -> bool:
        """Whether the value may be drawn."""
        return coded(value) in self.coded()

    def stretched(self, value: Any) -> Choice:
        """The same with the value among them."""
        return self if self.holds(value) else Choice(choices=(*self.choices, value))

    def ends(self) -> tuple[Any, ...]:
        """What must be allowed for all of it to be."""
        return self.choices

    def coded(self) -> tuple[Value, ...]:
        """The values as a study keeps them."""
        return tuple(coded(one) for one in self.choices)


Dimension: TypeAlias = Range | Choice

SHARED: Mapping[str, Dimension] = {"start": Range(low=0.0, high=3.0)}
_TREES = "order_iterations"  # where a configuration says nothing of it, `iterations` is searched in its place
_BOOSTING: Mapping[str, Dimension] = {
    _TREES: Range(low=30, high=600, log=True),
    "learning_rate": Range(low=0.02, high=0.3, log=True),
    "l2": Range(low=0.3, high=100.0, log=True),
    "columns": Range(low=0.1, high=1.0),
    "rows": Range(low=0.5, high=1.0),
}
FAMILIES: Mapping[Family, Mapping[str, Dimension]] = {
    "catboost": {
        **_BOOSTING,
        "loss": Choice(choices=("YetiRank", "QuerySoftMax", "QueryRMSE")),  # YetiRankPairwise takes ten times as long
        "permutations": Range(low=1, high=6),
        "depth": Range(low=2, high=8),
    },
    "lightgbm": {
        **_BOOSTING,
        "leaves": Range(low=4, high=128, log=True),
        "least": Range(low=5, high=300, log=True),
    },
    "xgboost": {
        **_BOOSTING,
        "depth": Range(low=2, high=8),
        "least": Range(low=0.1, high=100.0, log=True),
    },
    "deepfm": {
        "dim": Range(low=4, high=32, log=True),
        "hidden": Choice(choices=((32, 16), (64, 32), (128, 64), (256, 128))),
        "buckets": Range(low=8, high=64, log=True),
        "dropout": Range(low=0.0, high=0.5),
        "learning_rate": Range(low=3e-4, high=1e-2, log=True),
        "weight_decay": Range(low=1e-4, high=0.3, log=True),
        "batch": Range(low=512, high=8192, log=True),
    },
}


@dataclass(frozen=True)
class Space:
    """What is searched of one family: each dimension by its place below `ranker`, such as "catboost.depth"."""

    family: Family
    dimensions: Mapping[str, Dimension]

    def defaults(self, config: Config) -> dict[str, Value]:
        """What the configuration itself says of each, as a trial tells it."""
        return {name: coded(_value(config, name)) for name in self.dimensions}

    def config(self, config: Config, drawn: Mapping[str, Value]) -> Config:
        """The configuration with the ranker of this family and the values drawn."""
        return Config.model_validate(merged(config.model_dump(), {"ranker": self.tables(drawn)}))

    def tables(self, drawn: Mapping[str, Value]) -> dict[str, Any]:
        """The values drawn as the tables of a configuration have them, below `ranker`."""
        found: dict[str, Any] = {"family": self.family}
        for name, value in drawn.items():
            found = merged(found, _nested(name, self.decoded(name, value)))
        return found

    def decoded(self, name: str, value: Value) -> Any:
        """What the value of a trial stands for."""
        one = self.dimensions[name]
        return next(own for own in one.choices if coded(own) == value) if isinstance(one, Choice) else value

    def whole(self, name: str, config: Config) -> bool:
        """Whether the parameter is a whole number."""
        return isinstance(_value(config, name), int)

    def to_json(self) -> dict[str, Any]:
        """Plain values that are the same for the same space."""
        return {name: one.model_dump(mode="json") for name, one in self.dimensions.items()}


def coded(value: Any) -> Value:
    """The value as a study keeps it: as it is, or as text where it is several in one.

    >>> coded(0.5), coded((64, 32))
    (0.5, '[64, 32]')
    """
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def space_of(config: Config, family: Family, file: Path | None = None) -> Space:
    """The declared space of the family with what a TOML file puts in its place.

    A declared dimension reaches as far as the configuration's own value. Raises `SpaceError` for a file that cannot be
    read, names something that is no parameter or cannot be so, or does not hold what the configuration says.
    """
    dimensions = {name: one.stretched(_value(config, name)) for name, one in _declared(config, family).items()}
    told = {} if file is None else _read(file, config, family)
    for name, one in told.items():
        if one is None:
            dimensions.pop(name, None)
            continue
        own = _value(config, name)
        if own is None:
            raise SpaceError(
                f"{file}: expected a configuration that says where the search of ranker.{name} begins, got none. "
                "Hint: --config."
            )
        if not one.holds(own):
            raise SpaceError(
                f"Expected a space that holds the configuration's own value of ranker.{name}, {own}; got "
                f"{_told(one)} in {file}. Hint: widen it, or set another value with --config."
            )
        dimensions[name] = one
    if not dimensions:
        raise SpaceError(f"Expected something to search, got {file}, which leaves all out.")
    _check(config, dimensions)
    return Space(family, dimensions)


def _declared(config: Config, family: Family) -> dict[str, Dimension]:
    """What is searched where no file says otherwise."""
    found: dict[str, Dimension] = {**SHARED}
    for name, one in FAMILIES[family].items():
        unsaid = name == _TREES and _value(config, f"{family}.{name}") is None
        found[f"{family}.{'iterations' if unsaid else name}"] = one
    return found


def _read(file: Path, config: Config, family: Family) -> dict[str, Dimension | None]:
    """What the file says of each parameter; None where it is not to be searched."""
    try:
        tables: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpaceError(f"Expected a readable file for --space, got {file}: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise SpaceError(f"Expected TOML in {file}: {error}.") from error
    if set(tables) - {"ranker"} or not isinstance(tables.get("ranker"), dict):
        got = ", ".join(tables) or "nothing"
        raise SpaceError(f"{file}: expected a table [ranker] and no other, got {got}. Hint: [ranker.{family}].")
    told = tables["ranker"]
    own = told.pop(family, {})
    if not isinstance(own, dict):
        raise SpaceError(f"{file}: expected a table [ranker.{family}], got {own!r}. Hint: leave it out to search all.")
    entries = told | {f"{family}.{name}": entry for name, entry in own.items()}
    return {name: _entry(file, name, entry, config, family) for name, entry in entries.items()}


def _entry(file: Path, name: str, entry: Any, config: Config, family: Family) -> Dimension | None:
    if name not in SHARED and not _known(config, name, family):
        names = ", ".join((*SHARED, *(f"{family}.{one}" for one in FAMILIES[family])))
        raise SpaceError(f"{file}: expected parameters of {family}, got ranker.{name}. Hint: one of {names}.")
    if entry is False:
        return None
    if not isinstance(entry, dict):
        raise SpaceError(
            f"{file}: expected a table for ranker.{name}, got {entry!r}. Hint: {{ low = 1, high = 9, log = true }}, "
            "{ choices = [...] }, or false for one that is not searched."
        )
    try:
        return Choice.model_validate(entry) if "choices" in entry else Range.model_validate(entry)
    except ValidationError as error:
        raise SpaceError(f"{file}: ranker.{name}: {_problems(error)}.") from error


def _known(config: Config, name: str, family: Family) -> bool:
    """Whether it is a parameter of the family that changes what is learnt."""
    table, _, field = name.partition(".")
    fields = type(getattr(config.ranker, family)).model_fields
    return table == family and field not in {"seed", "threads"} and field in fields


def _check(config: Config, dimensions: Mapping[str, Dimension]) -> None:
    """Raises `SpaceError` where an end of a dimension is no value that a configuration may have."""
    for name, one in dimensions.items():
        if isinstance(one, Range) and isinstance(_value(config, name), bool | str | tuple):
            raise SpaceError(f"Expected choices for ranker.{name}, got {_told(one)}. Hint: {{ choices = [...] }}.")
        if isinstance(one, Range) and one.log and one.low <= 0:
            raise SpaceError(
                f"Expected numbers above 0 for ranker.{name}, which is drawn over its logarithm; the configuration "
                f"says {_value(config, name)}. Hint: another value, or a space without log (--space)."
            )
        for end in one.ends():
            try:
                Config.model_validate(merged(config.model_dump(), {"ranker": _nested(name, end)}))
            except ValidationError as error:
                raise SpaceError(
                    f"Expected values of ranker.{name} that a configuration may have, got {_told(one)}: "
                    f"{_problems(error)}."
                ) from error


def _value(config: Config, name: str) -> Any:
    """What the configuration says below `ranker`."""
    found: Any = config.ranker
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _nested(name: str, value: Any) -> dict[str, Any]:
    table, _, field = name.rpartition(".")
    return {table: {field: value}} if table else {field: value}


def _told(one: Dimension) -> str:
    if isinstance(one, Range):
        return f"{one.low:g} to {one.high:g}"
    return f"one of {', '.join(str(coded(choice)) for choice in one.choices)}"


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ") for one in error.errors())
