"""The fitted ranker: one scorer for each objective, all over the same columns, whatever family they are of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from nextreel.features import fingerprint
from nextreel.ranking.calibration import Calibration
from nextreel.ranking.model import Model, Scorer
from nextreel.ranking.rows import SCORES_AND_RANKS
from nextreel.types import FloatArray, Matrix, NextreelError

ABOUT_FILE = "ranker.json"
RELEVANCE = "relevance"  # how much the person will want it, learnt as an order; the other objectives are probabilities
OBJECTIVES = (RELEVANCE, "click", "long_view", "watch", "like", "share", "dislike")  # all that data may tell


@dataclass(frozen=True)
class Head:
    """One objective of a ranker: what predicts it, and how its raw score becomes a probability."""

    objective: str
    model: Model
    calibration: Calibration | None = None  # None: the raw score, which orders and means nothing else

    def score(self, values: FloatArray) -> FloatArray:
        """(n,) the probability, or the raw score where there is no calibration."""
        raw = self.model.scorer.score(values)
        return raw if self.calibration is None else self.calibration(raw)


@dataclass(frozen=True)
class FittedRanker:
    """A ranker of one family; higher is better, and a relevance is comparable within one moment only."""

    family: str
    names: tuple[str, ...]
    heads: tuple[Head, ...]
    fingerprint: str  # of the columns, as they were when it was fitted

    @property
    def objectives(self) -> tuple[str, ...]:
        """What is predicted, one name per column of the scores."""
        return tuple(head.objective for head in self.heads)

    @property
    def metrics(self) -> dict[str, float]:
        """What validation said of every objective: those of relevance by their own names, others by the objective's."""
        return {
            name if head.objective == RELEVANCE else f"{head.objective}_{name}": value
            for head in self.heads
            for name, value in head.model.metrics.items()
        }

    def head(self, objective: str) -> Head:
        """The head of an objective. Raises `NextreelError` for one that is not predicted."""
        for head in self.heads:
            if head.objective == objective:
                return head
        raise NextreelError(f"No objective '{objective}'. Hint: one of {', '.join(self.objectives)}.")

    def score(self, matrix: Matrix) -> FloatArray:
        """(n, objectives) scores.

        Raises `NextreelError` when the matrix has other columns than the ranker was fitted on.
        """
        if matrix.names != self.names:
            self.check(matrix.names)
        scores = np.empty((len(matrix.values), len(self.heads)), np.float32)
        for number, head in enumerate(self.heads):
            scores[:, number] = head.score(matrix.values)
        return scores

    def contributions(self, matrix: Matrix) -> dict[str, FloatArray]:
        """For each objective (n, features + 1): what each feature adds to the raw score, and last what all begin with.

        Raises `NextreelError` for other columns than `score` takes, and where a model has no such parts.
        """
        if matrix.names != self.names:
            self.check(matrix.names)
        return {head.objective: head.model.scorer.contributions(matrix.values) for head in self.heads}

    def lean(self) -> FittedRanker:
        """The same ranker without the features that no head reads, which need not be computed; scores and ranks stay.

        The importance still names all columns that it was fitted on.
        """
        read: frozenset[int] = frozenset().union(*(head.model.scorer.reads for head in self.heads))
        kept = [n for n, name in enumerate(self.names) if n in read or name.startswith(SCORES_AND_RANKS)]
        names = tuple(self.names[n] for n in kept)
        heads = tuple(
            replace(head, model=replace(head.model, scorer=head.model.scorer.over(kept))) for head in self.heads
        )
        return replace(self, names=names, heads=heads, fingerprint=fingerprint(names))

    def check(self, names: tuple[str, ...]) -> None:
        """Raises `NextreelError` unless these are the columns the ranker was fitted on: names, order and meaning."""
        if names == self.names and fingerprint(names) == self.fingerprint:
            return
        missing, unknown = sorted(set(self.names) - set(names)), sorted(set(names) - set(self.names))
        wrong = f"missing {missing}, unknown {unknown}" if missing or unknown else "another order or meaning"
        raise NextreelError(
            f"Expected the {len(self.names)} feature columns of fingerprint {self.fingerprint}, got "
            f"{fingerprint(names)}: {wrong}. Hint: train a release with this version of nextreel."
        )

    def save(self, folder: Path) -> None:
        """Writes what is known of the ranker, and each objective's model into a folder of its name."""
        folder.mkdir(parents=True, exist_ok=True)
        heads = []
        for head in self.heads:
            (folder / head.objective).mkdir(exist_ok=True)
            head.model.scorer.save(folder / head.objective)
            heads.append({
                "objective": head.objective,
                "metrics": dict(head.model.metrics),
                "importance": dict(head.model.importance),
                "calibration": None if head.calibration is None else asdict(head.calibration),
            })  # fmt: skip
        about = {"family": self.family, "names": self.names, "fingerprint": self.fingerprint, "heads": heads}
        (folder / ABOUT_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def load(folder: Path, families: Mapping[str, Callable[[Path], Scorer]]) -> FittedRanker:
    """The ranker that `save` wrote; `families` tells how each family's scorer is read from its folder.

    Raises `NextreelError` when a file is missing or wrong, or the family is not known.
    """
    try:
        about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
        read = families[about["family"]]
        heads = []
        for one in about["heads"]:
            calibration = None if one["calibration"] is None else Calibration(**one["calibration"])
            model = Model(read(folder / one["objective"]), one["metrics"], one["importance"])
            heads.append(Head(one["objective"], model, calibration))
        return FittedRanker(about["family"], tuple(about["names"]), tuple(heads), str(about["fingerprint"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise NextreelError(
            f"Expected a saved ranker in {folder} ({ABOUT_FILE} and a folder for each objective); got: {error!r}. "
            "Hint: train and publish the release again."
        ) from error
