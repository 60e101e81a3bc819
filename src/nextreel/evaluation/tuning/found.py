"""What a study found: its trials, what the best gains over the configuration itself, and files that say so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nextreel.assembly import Config, merged
from nextreel.evaluation.tables import View
from nextreel.evaluation.tuning.space import Space, Value

if TYPE_CHECKING:
    from nextreel.evaluation.tuning.offered import Metric

SHOWN = 10  # trials in a table


@dataclass(frozen=True)
class Tried:
    """A trial that was judged with every seed."""

    number: int
    values: tuple[float, ...]  # one for each seed
    drawn: Mapping[str, Value]
    defaults: bool = False  # it is the configuration itself

    @property
    def mean(self) -> float:
        """What the trial is worth."""
        return sum(self.values) / len(self.values)

    @property
    def spread(self) -> float:
        """Half the range over the seeds: what is smaller is luck."""
        return (max(self.values) - min(self.values)) / 2


@dataclass(frozen=True)
class Failed:
    """A trial that came to nothing."""

    number: int
    drawn: Mapping[str, Value]
    reason: str


@dataclass(frozen=True)
class Found:
    """A study as it stands."""

    space: Space
    config: Config  # that the study was begun with
    metric: Metric
    tried: tuple[Tried, ...]  # best first
    pruned: int
    failed: tuple[Failed, ...]  # or interrupted, by number
    importance: Mapping[str, float]  # of each parameter, most important first; empty where too little was tried
    interrupted: bool = False

    @property
    def best(self) -> Tried:
        """The best trial, which may be the configuration itself."""
        return self.tried[0]

    @property
    def defaults(self) -> Tried:
        """The configuration itself."""
        return next(one for one in self.tried if one.defaults)

    @property
    def gain(self) -> float:
        """How much better the best is than the configuration itself; 0 where it is that."""
        return self.best.mean - self.defaults.mean

    def summary(self) -> str:
        """What was found, in a sentence or two."""
        counts = f"{len(self.tried)} trials judged with {len(self.best.values)} seeds, {self.pruned} pruned"
        counts += f", {len(self.failed)} failed or interrupted" if self.failed else ""
        if self.best.defaults:
            return f"{counts}. No trial beats the configuration itself: {self.metric} {self._cell(self.best)}."
        return (
            f"{counts}. {self.metric} {self._cell(self.best)} against {self._cell(self.defaults)} of the configuration "
            f"itself: {self.gain:+.4f}."
        )

    def view(self) -> View:
        """The best trials and the configuration itself, one line each."""
        shown = list(self.tried[:SHOWN])
        if self.defaults not in shown:
            shown.append(self.defaults)
        lines = [
            [
                f"{one.number}{' (defaults)' if one.defaults else ''}",
                self._parameters(one.drawn),
                self._cell(one),
                f"{one.mean - self.defaults.mean:+.4f}",
            ]
            for one in shown
        ]
        heads = ["trial", "parameters", self.metric, "against the defaults"]
        bold = [one.defaults for one in shown]
        return View(f"The best trials of {self.space.family}", heads, lines, bold, names=2, prose=[1])

    def failures(self) -> View | None:
        """The trials that came to nothing, and why; None where each was judged or pruned."""
        lines = [[str(one.number), self._parameters(one.drawn), one.reason] for one in self.failed[-SHOWN:]]
        heads = ["trial", "parameters", "reason"]
        return View("Trials that failed", heads, lines, names=3, prose=[1, 2]) if lines else None

    def important(self) -> View | None:
        """How much each parameter matters; None where too little was tried to say."""
        lines = [[self._short(name), f"{part:.2f}"] for name, part in self.importance.items()]
        return View("What tells good trials from others", ["parameter", "importance"], lines) if lines else None

    def to_markdown(self) -> str:
        """The summary and the tables."""
        lines = [f"`{self.space.family}`: {self.summary()}", "", "Mean over the seeds (half the range).", ""]
        lines += self.view().markdown()
        for more in (self.important(), self.failures()):
            if more is not None:
                lines += ["", f"{more.title}:", "", *more.markdown()]
        return "\n".join(lines) + "\n"

    def to_toml(self) -> str:
        """The configuration with the best trial's ranker, as a file for `--config`: what differs from the defaults."""
        differs = _difference(self.config.model_dump(mode="json"), Config().model_dump(mode="json"))
        found = merged(differs, {"ranker": self.space.tables(self.best.drawn)})
        about = f"# Trial {self.best.number} of `nextreel tune`: {self.metric} {self._cell(self.best)}.\n"
        return about + "\n".join(_toml(found)) + "\n"

    def _cell(self, one: Tried) -> str:
        return f"{one.mean:.4f} ({one.spread:.4f})"

    def _parameters(self, drawn: Mapping[str, Value]) -> str:
        return ", ".join(f"{self._short(name)} {_told(value)}" for name, value in drawn.items())

    def _short(self, name: str) -> str:
        return name.removeprefix(f"{self.space.family}.")


def _told(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _difference(own: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    """What a file must say to make the one of the other; TOML has no word for None, which no file can have said."""
    found: dict[str, Any] = {}
    for name, value in own.items():
        if value == plain[name] or value is None:
            continue
        nested = isinstance(value, dict) and isinstance(plain[name], dict)
        found[name] = _difference(value, plain[name]) if nested else value
    return found


def _toml(tables: Mapping[str, Any], above: str = "") -> list[str]:
    """The lines of the tables, values before tables; JSON writes text, numbers, truth and lists of them as TOML does.

    >>> _toml({"ranker": {"start": 0.5, "deepfm": {"hidden": (64, 32)}}})
    ['', '[ranker]', 'start = 0.5', '', '[ranker.deepfm]', 'hidden = [64, 32]']
    """
    lines = [f"{name} = {json.dumps(value)}" for name, value in tables.items() if not isinstance(value, dict)]
    if above and lines:
        lines = ["", f"[{above}]", *lines]
    for name, value in tables.items():
        if isinstance(value, dict):
            lines += _toml(value, f"{above}.{name}" if above else name)
    return lines
