"""The version of a data set: a hash of its content, and the manifest that says what is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any

from nextreel.types import NextreelError


@dataclass(frozen=True, slots=True)
class Source:
    """One file that was read."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a data set was made from; `version` changes when a byte of a source does."""

    version: str
    sources: tuple[Source, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    schema: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # file -> column -> type
    timed: bool = True
    start: float | None = None  # time of the first and the last event; None without timestamps
    end: float | None = None
    splits: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # part -> first row, row after the last
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Manifest:
        """The manifest that `to_json` gave; raises `NextreelError` for anything else.

        >>> Manifest.from_json(Manifest("abc").to_json()) == Manifest("abc")
        True
        """
        try:
            return cls(
                **{
                    **values,
                    "sources": tuple(Source(**one) for one in values["sources"]),
                    "splits": {name: (int(a), int(b)) for name, (a, b) in values["splits"].items()},
                    "warnings": tuple(values["warnings"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NextreelError(f"Expected the manifest of a data set, got one that does not fit: {error}.") from error

    def with_splits(self, splits: Mapping[str, tuple[int, int]]) -> Manifest:
        """The manifest of the same data with the bounds of its parts."""
        return replace(self, splits=dict(splits))

    def derived(self, how: str, counts: Mapping[str, int], start: float | None, end: float | None) -> Manifest:
        """The manifest of data made from these; `how` enters the version."""
        digest = digest_of({"from": self.version, "how": how})
        return replace(self, version=digest, counts={**self.counts, **counts}, start=start, end=end, splits={})


@dataclass(frozen=True, slots=True)
class Change:
    """One thing in which two versions of a data set differ; None where one of them has no such thing."""

    what: str
    before: str | int | float | None
    after: str | int | float | None


def diff(before: Manifest, after: Manifest) -> list[Change]:
    """Everything in which two manifests differ: version, files, counts, columns and span of time; empty for the same.

    >>> diff(Manifest("a", counts={"users": 1}), Manifest("b", counts={"users": 3}))[1:]
    [Change(what='users', before=1, after=3)]
    """
    old, new = _facts(before), _facts(after)
    names = [*old, *(name for name in new if name not in old)]
    return [Change(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def _facts(manifest: Manifest) -> dict[str, str | int | float | None]:
    """Everything that may differ, by its name."""
    columns = {
        f"column {table}.{column}": dtype for table, of in manifest.schema.items() for column, dtype in of.items()
    }
    return {
        "version": manifest.version,
        **{f"file {one.name}": f"{one.bytes:,} bytes, {one.sha256[:12]}" for one in manifest.sources},
        **manifest.counts,
        **columns,
        "timestamps": str(manifest.timed),
        "first event": manifest.start,
        "last event": manifest.end,
    }


def digest_of(values: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of plain values.

    >>> digest_of({"a": 1}) == digest_of({"a": 1})
    True
    """
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def version_of(sources: Sequence[Source]) -> str:
    """The version of a data set made from these files: the same for the same names and bytes."""
    return digest_of(sorted((source.name, source.sha256) for source in sources))
