"""What rankers are judged on: rows to learn from and candidates with what was right, made once and kept."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nextreel import __version__, metrics
from nextreel.assembly import Config, build, for_lists
from nextreel.data.splits import part_of
from nextreel.data.versions import digest_of
from nextreel.evaluation import lineage, trials
from nextreel.evaluation.trials import FRACTIONS, EvaluationError, Trial
from nextreel.features import fingerprint
from nextreel.folders import whole, write_whole
from nextreel.pipeline import Recommender
from nextreel.progress import Progress, silent
from nextreel.ranking.ranker import RELEVANCE
from nextreel.ranking.rows import Rows
from nextreel.ranking.value import formula
from nextreel.store.memory import relevance_of
from nextreel.training.fit import fit, fit_ranker
from nextreel.types import BoolArray, Events, FloatArray, Matrix, Moment, Request, joined

if TYPE_CHECKING:
    from nextreel.data import Dataset

log = logging.getLogger(__name__)

ARRAYS_FILE, ABOUT_FILE = "judged.npz", "judged.json"
K = 100  # length of the lists
TIMES = 8  # at which everybody who comes back is asked
Metric: TypeAlias = Literal["ndcg@10", "recall@10", "hit_rate@10", "recall@100", "ndcg@100"]
METRICS: dict[Metric, partial[metrics.Values]] = {
    "ndcg@10": partial(metrics.ndcg, k=10),
    "recall@10": partial(metrics.recall, k=10),
    "hit_rate@10": partial(metrics.hit_rate, k=10),
    "recall@100": partial(metrics.recall, k=100),
    "ndcg@100": partial(metrics.ndcg, k=100),
}


@dataclass(frozen=True)
class Offered:
    """What a ranker learns from, and n candidates of m requests with what of them was right."""

    rows: dict[str, Rows]  # by objective
    names: tuple[str, ...]  # the columns of both
    values: FloatArray  # (n, columns), the candidates of a request together
    right: BoolArray  # (n,)
    groups: NDArray[np.int64]  # (n,) number of the request, ascending
    truths: NDArray[np.int64]  # (m,) how many videos were right, among the candidates or not
    times: NDArray[np.int64]  # (m,) number of the time at which was asked
    version: str  # of the data, the configuration and the code that it comes from

    def places(self, scores: FloatArray) -> metrics.Judged:
        """Which places of the lists (m, k) were right, where candidates are ordered by these scores (n,)."""
        order = np.lexsort((-scores, self.groups))  # stable, as the pipeline orders equals
        group = self.groups[order]
        place = np.arange(len(order)) - np.searchsorted(group, np.arange(len(self.truths)))[group]
        shown = place < K
        found = np.zeros((len(self.truths), K), np.bool_)
        found[group[shown], place[shown]] = self.right[order[shown]]
        return metrics.Judged(found, self.truths)

    def each(self, scores: FloatArray, metric: Metric) -> metrics.Values:
        """The metric (m,) of each request."""
        return METRICS[metric](self.places(scores))

    def judge(self, config: Config, metric: Metric) -> float:
        """The metric of the ranker that this configuration has: the mean over times of the mean over requests.

        Raises `EvaluationError` where the value of a candidate is no finite number: it would pass for the lowest.
        """
        ranker = fit_ranker(self.rows, config)
        value = formula(config.ranker.value, ranker.objectives)
        scores = value(ranker.score(Matrix(self.names, self.values)))
        wrong = int(np.count_nonzero(~np.isfinite(scores)))
        if wrong:
            raise EvaluationError(
                f"Expected a finite value of each of {len(scores):,} candidates, got {wrong:,} that are not. "
                "Hint: a ranker that converges, or a value formula that never divides by 0."
            )
        each = self.each(scores, metric)
        return float((np.bincount(self.times, each) / np.bincount(self.times)).mean())


def prepare(dataset: Dataset, config: Config, folder: Path, times: int = TIMES, progress: Progress = silent) -> Offered:
    """What rankers are judged on, as it lies in the folder, or made and kept there.

    Everything but the ranker is fitted on the first 80 % of the events, and what is right comes from the next 10 %; the
    last 10 % are not looked at. Raises `EvaluationError` when the folder is of other data, another configuration or
    another version of the code, and where nobody comes back.
    """
    if times < 1:
        raise EvaluationError(f"Expected at least one time to ask at, got {times}.")
    about = _about(dataset, config, times)
    if not (folder / ABOUT_FILE).is_file():
        offered = _made(dataset, config, times, digest_of(about), progress)
        folder.mkdir(parents=True, exist_ok=True)
        with progress("Keeping what rankers are judged on", None):
            _save(offered, folder / ARRAYS_FILE)
        kept = about | {"features": fingerprint(offered.names), "commit": lineage.commit()}
        write_whole(folder / ABOUT_FILE, json.dumps(kept, indent=2) + "\n")
        return offered
    kept = _read(folder / ABOUT_FILE)
    differs = [name for name, value in about.items() if kept.get(name) != value]
    if differs:
        raise EvaluationError(
            f"Expected {folder} to be judged with the same {' and '.join(differs)}, got another. "
            "Hint: name another --out, or go on with what the study was begun with."
        )
    offered = _load(folder / ARRAYS_FILE, digest_of(about))
    if fingerprint(offered.names) != kept["features"]:
        raise EvaluationError(f"Expected features as {folder} has them, got another meaning. Hint: another --out.")
    if kept["commit"] != lineage.commit():
        log.warning("what rankers are judged on was made by other code", extra={"commit": kept["commit"]})
    return offered


def _about(dataset: Dataset, config: Config, times: int) -> dict[str, Any]:
    """What the arrays depend on: the ranker's own parameters are what is searched."""
    plain = for_lists(config).model_dump(mode="json")
    del plain["ranker"], plain["order"]
    return {
        "data": [dataset.manifest.version, len(dataset.events)],
        "configuration": plain,
        "times": times,
        "nextreel": __version__,
    }


def _made(dataset: Dataset, config: Config, times: int, version: str, progress: Progress) -> Offered:
    part = part_of(dataset.events, FRACTIONS, timed=dataset.timed)
    stream = joined([dataset.events.take(part == 0), dataset.events.take(part == 1)])
    first = _asked(stream, int(np.count_nonzero(part == 0)), dataset, config)
    fitted = fit(replace(dataset, events=first.history), for_lists(config), progress)
    rows = fitted.rows
    witness = _Witness(rows[RELEVANCE].names)
    recommender = build(
        config.model_copy(update={"ranker": config.ranker.model_copy(update={"value": RELEVANCE})}),
        dataset.catalogue,
        fitted.store,
        fitted.models,
        witness,
        timed=dataset.timed,
        columns=witness.names,
    )
    recommender = replace(recommender, orderers=(), promotion=None, resume=None)  # the ranker's own order is judged
    cuts = np.linspace(len(first.history), len(stream), times if dataset.timed else 1, endpoint=False).astype(np.int64)
    known = len(first.history)
    for number, cut in enumerate(np.unique(cuts).tolist()):
        trial = first if number == 0 else _asked(stream, cut, dataset, config)
        fitted.store.apply_many(trial.history.take(slice(known, len(trial.history))))
        known = len(trial.history)
        with progress(f"Asking everybody who comes back, time {number + 1}", len(trial)) as advance:
            for request in _requests(trial):
                witness.ask(recommender, request, trial, number)
                advance(1)
    return witness.offered(rows, version)


def _asked(stream: Events, cut: int, dataset: Dataset, config: Config) -> Trial:
    """Everybody who was there before event number `cut` and watches something new from it on."""
    grade = partial(relevance_of, catalogue=dataset.catalogue, rules=config.relevance)
    known = (cut + 0.5) / len(stream)  # half an event more, so that no rounding of the share can lose one
    return trials.frozen(
        stream, grade, len(dataset.catalogue), timed=dataset.timed, fractions=(known, 0.0, 1.0 - known)
    )


def _requests(trial: Trial) -> Iterator[Request]:
    user_ids: list[Any] = trial.stream.user_ids[trial.user].tolist()
    for number, (user_id, at) in enumerate(zip(user_ids, trial.at.tolist(), strict=True)):
        yield Request(user_id=user_id, at=at, k=K, seed=number)


class _Witness:
    """A ranker that finds everything alike and keeps the candidates that it is asked about."""

    objectives = (RELEVANCE,)

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._values: list[FloatArray] = []
        self._right: list[BoolArray] = []
        self._truths: list[int] = []
        self._times: list[int] = []

    def score(self, matrix: Matrix) -> FloatArray:
        if matrix.names != self.names:
            raise EvaluationError(f"Expected the {len(self.names)} columns that are learnt from, got {matrix.names}.")
        return np.zeros((len(matrix.values), 1), np.float32)

    def ask(self, recommender: Recommender, request: Request, trial: Trial, time: int) -> None:
        """Keeps the candidates of the trial's request of this seed, and which of them were right."""
        start, end = trial.truth.offsets[request.seed : request.seed + 2]
        truth = trial.truth.rows[start:end]
        values, right = np.empty((0, len(self.names)), np.float32), np.empty(0, np.bool_)  # of who may see nothing

        def told(moment: Moment, matrix: Matrix, scores: FloatArray) -> None:
            nonlocal values, right
            del scores
            values, right = np.ascontiguousarray(matrix.values), np.isin(moment.rows, truth)

        slate = recommender.recommend(request, told)
        if slate.trace.failures:
            raise EvaluationError(
                f"Expected an answer of every part, got failures of {slate.trace.failures}. "
                "Hint: the log holds the whole error."
            )
        self._values.append(values)
        self._right.append(right)
        self._truths.append(len(truth))
        self._times.append(time)

    def offered(self, rows: dict[str, Rows], version: str) -> Offered:
        sizes = [len(one) for one in self._right]
        return Offered(
            rows,
            self.names,
            np.concatenate(self._values),
            np.concatenate(self._right),
            np.repeat(np.arange(len(sizes)), sizes),
            np.array(self._truths, np.int64),
            np.array(self._times, np.int64),
            version,
        )


_COLUMNS = tuple(one.name for one in fields(Rows) if one.name not in {"names", "values", "start"})
_JUDGED = ("values", "right", "groups", "truths", "times")


def _save(offered: Offered, file: Path) -> None:
    """Writes all arrays; values that objectives share are written once."""
    arrays: dict[str, Any] = {"names": np.array(offered.names), "objectives": np.array(list(offered.rows))}
    arrays |= {name: getattr(offered, name) for name in _JUDGED}
    tables = {id(rows.values): rows.values for rows in offered.rows.values()}
    place = {key: number for number, key in enumerate(tables)}
    arrays |= {f"table{place[key]}": values for key, values in tables.items()}
    for objective, rows in offered.rows.items():
        arrays[f"{objective}.table"] = np.array(place[id(rows.values)])
        arrays |= {f"{objective}.{name}": getattr(rows, name) for name in _COLUMNS}
    with whole(file) as half, half.open("wb") as opened:
        np.savez(opened, **arrays)


def _load(file: Path, version: str) -> Offered:
    """The arrays that `_save` wrote."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            names = tuple(kept["names"].tolist())
            objectives: list[str] = kept["objectives"].tolist()
            tables = {number: kept[f"table{number}"] for number in {int(kept[f"{one}.table"]) for one in objectives}}
            rows = {
                one: Rows(
                    names=names,
                    values=tables[int(kept[f"{one}.table"])],
                    **{name: kept[f"{one}.{name}"] for name in _COLUMNS},
                )
                for one in objectives
            }
            return Offered(rows, names, **{name: kept[name] for name in _JUDGED}, version=version)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise EvaluationError(
            f"Expected what rankers are judged on in {file}, got {error!r}. Hint: remove the folder to make it anew."
        ) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"Expected JSON in {file}, got {error!r}. Hint: remove the folder.") from error
    return found
