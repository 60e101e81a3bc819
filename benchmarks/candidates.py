"""How many candidates each source should propose, judged on the validation part of MovieLens-1M.

Models are fitted on the first 80 % of the ratings and judged on the next 10 % as protocol 1 judges the last: all that a
person newly watches there is right. Measured is the recall of the truth among 500 candidates of all sources: what
`Recommender.gather` collects for a list of 125, cut to the 500 that reciprocal rank fusion puts first. Every source is
asked once for everything; quotas, widths and ways of merging are then tried in NumPy, from those of the default
configuration on. Last, what was found is measured on the test part, models refitted on train + validation, and so are
the defaults through the pipeline itself.

    python benchmarks/candidates.py --data DIR                      (half an hour: the towers are fitted twice)
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nextreel import data
from nextreel.assembly import Config, Quotas, build
from nextreel.evaluation.lineage import commit, hardware, versions
from nextreel.evaluation.protocols import new_store
from nextreel.evaluation.stages import CANDIDATES
from nextreel.evaluation.trials import frozen
from nextreel.pipeline import Recommender, fused
from nextreel.store.memory import relevance_of
from nextreel.training.fit import fit_models
from nextreel.types import BoolArray, FloatArray, Moment, Request

RESULTS = Path(__file__).resolve().parent / "results"
PARTS = {"validation": (0.7 / 0.9, 0.1 / 0.9, 0.1 / 0.9), "test": (0.8, 0.1, 0.1)}
K = CANDIDATES // 4  # a list so long is asked for
STEPS = (0, 20, 60, 120, 180, 240)  # quotas that are tried
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
LEAST_GAIN = 0.0005  # of recall: smaller ones are chance, with some hundred people
ROUNDS = 2
NOWHERE = np.uint16(np.iinfo(np.uint16).max)
Fusion = Literal["rrf", "best", "log"]


@dataclass(frozen=True)
class Board:
    """What each of S sources says of n videos for each of m people."""

    sources: tuple[str, ...]
    place: Mapping[str, NDArray[np.uint16]]  # (m, n) place among the source's eligible proposals; NOWHERE elsewhere
    level: Mapping[str, NDArray[np.uint16]]  # (m, n) eligible videos that it scores higher; NOWHERE without a score
    truth: BoolArray  # (m, n)
    piped: float  # recall of the default configuration, asked through the pipeline

    def union(self, quotas: Mapping[str, int], proposals: float) -> BoolArray:
        """What is proposed (m, n), where a long list widens the quotas to so many proposals."""
        widen = max(1.0, proposals / sum(quotas.values()))
        union = np.zeros(self.truth.shape, np.bool_)
        for name, quota in quotas.items():
            union |= self.place[name] < math.ceil(quota * widen)
        return union

    def ranks(self, name: str, union: BoolArray) -> FloatArray:
        """How many of the union the source scores higher (m, n); infinite without a score and outside the union."""
        m, n = union.shape
        scored = union & (self.level[name] != NOWHERE)
        cells = (np.arange(m)[:, None] * n + self.level[name])[scored]
        counts = np.bincount(cells, minlength=m * n).reshape(m, n)
        higher = (np.cumsum(counts, axis=1) - counts).ravel()
        ranks = np.full((m, n), np.inf, np.float32)
        ranks[scored] = higher[cells]
        return ranks

    def values(
        self, union: BoolArray, weights: Mapping[str, float], fusion: Fusion = "rrf", constant: float = 60.0
    ) -> FloatArray:
        """What the candidates are cut by (m, n): the sources' ranks joined; minus infinity outside the union."""
        values = np.full(union.shape, -np.inf if fusion == "best" else 0.0, np.float32)
        for name, weight in weights.items():
            ranks = self.ranks(name, union)
            if fusion == "rrf":
                values += np.float32(weight) / (np.float32(constant) + ranks)
            elif fusion == "best":
                np.maximum(values, -np.minimum(ranks, np.float32(union.shape[1])) / np.float32(weight), out=values)
            else:
                values -= np.float32(weight) * np.log(constant + np.minimum(ranks, np.float32(union.shape[1])))
        values[~union] = -np.inf
        return values

    def recall(self, values: FloatArray, width: int = CANDIDATES) -> float:
        """Mean share of a person's right videos among the `width` candidates of the largest values (m, n)."""
        best = np.argpartition(-values, width, axis=1)[:, :width]
        kept = np.zeros(values.shape, np.bool_)
        np.put_along_axis(kept, best, True, axis=1)
        kept &= np.isfinite(values)
        return float(((kept & self.truth).sum(axis=1) / self.truth.sum(axis=1)).mean())

    def of(self, quotas: Mapping[str, int], proposals: float, **fusion: Any) -> float:
        """The recall of quotas, merged with equal weights."""
        some = {name: quota for name, quota in quotas.items() if quota}
        union = self.union(some, proposals)
        return self.recall(self.values(union, dict.fromkeys(some, 1.0), **fusion))


def board(folder: Path, part: str) -> Board:
    """All that the sources say on that part."""
    dataset = data.load(folder)
    if part == "validation":
        dataset = dataset.until(int(len(dataset.events) * 0.9 + 1e-9))
    n = len(dataset.catalogue)
    grade = partial(relevance_of, catalogue=dataset.catalogue, rules=Config().relevance)
    trial = frozen(dataset.events, grade, n, timed=dataset.timed, fractions=PARTS[part])
    config = with_quotas(dict.fromkeys(Quotas.model_fields, 1))
    models = fit_models(trial.history, grade(trial.history), dataset.catalogue, config, dataset.profiles)
    store = new_store(dataset, config)
    store.apply_many(trial.history)
    every, default = (build(one, dataset.catalogue, store, models, None, timed=True) for one in (config, Config()))
    names = tuple(source.retriever.name for source in every.sources)
    place = {name: np.full((len(trial), n), NOWHERE) for name in names}
    level = {name: np.full((len(trial), n), NOWHERE) for name in names}
    truth = np.zeros((len(trial), n), np.bool_)
    recalls = []
    for number, (user_id, at) in enumerate(
        zip(trial.history.user_ids[trial.user].tolist(), trial.at.tolist(), strict=True)
    ):
        request = Request(user_id, at, k=K)
        right = trial.truth.rows[trial.truth.offsets[number] : trial.truth.offsets[number + 1]]
        truth[number, right] = True
        _hear(every, request, {name: (place[name][number], level[name][number]) for name in names})
        moment = default.gather(request)
        cut = np.argsort(-fused(moment), kind="stable")[:CANDIDATES]
        recalls.append(float(np.isin(moment.rows[cut], right).sum() / len(right)))
    return Board(names, place, level, truth, float(np.mean(recalls)))


def _hear(
    recommender: Recommender, request: Request, said: Mapping[str, tuple[NDArray[np.uint16], NDArray[np.uint16]]]
) -> None:
    """Writes the place and the level (n,) of every video, as each source has them for one request."""
    everything = np.arange(len(recommender.catalogue), dtype=np.int32)
    user = recommender.store.user(request.user_id)
    alone = Moment.unscored(request, user, recommender.catalogue, recommender.store.counters, everything, {})
    eligible = np.logical_and.reduce([keep(alone) for keep in recommender.filters])
    for source in recommender.sources:
        place, level = said[source.retriever.name]
        rows = source.retriever.retrieve(request, user, len(everything))[0]
        rows = rows[eligible[rows]]
        place[rows] = np.arange(len(rows))
        scores = np.where(eligible, source.retriever.score(request, user, everything), np.nan)
        scored = ~np.isnan(scores)
        level[scored] = np.searchsorted(np.sort(-scores[scored]), -scores[scored], side="left")


def with_quotas(quotas: Mapping[str, int]) -> Config:
    """The default configuration with these quotas alone."""
    return Config().model_copy(update={"quotas": Quotas(**(dict.fromkeys(Quotas.model_fields, 0) | dict(quotas)))})


def climb(
    start: dict[str, float],
    steps: tuple[float, ...],
    judge: Callable[[dict[str, float]], float],
) -> tuple[dict[str, float], float]:
    """The best found when one number at a time is changed, and its value: numbers that gain little stay."""
    best, found = dict(start), judge(start)
    for _ in range(ROUNDS):
        before = found
        for name, now in list(best.items()):
            tried = {step: judge(best | {name: step}) for step in steps if step != now}
            step, value = max(tried.items(), key=lambda one: one[1])
            if value > found + LEAST_GAIN:
                best, found = best | {name: step}, value
                print(f"  {name} {step}: {found:.4f}", flush=True)
        if found == before:
            break
    return best, found


def search(on: Board) -> dict[str, Any]:
    """All that was tried on the validation part, and what is best."""
    default = Config().quotas.model_dump()
    start = {name: default[name] for name in on.sources}
    alone = {name: [on.recall(_top(on, name), width) for width in (100, CANDIDATES)] for name in on.sources}
    widths = {per: on.of(start, per * K) for per in (7.5, 10.0, 12.0, 16.0, 24.0)}
    width = next(per for per in widths if widths[per] > max(widths.values()) - 2 * LEAST_GAIN)
    print("widths", widths, flush=True)

    def judge(quotas: dict[str, float]) -> float:
        return on.of({name: int(quota) for name, quota in quotas.items()}, width * K) if any(quotas.values()) else 0.0

    first = {name: float(quota) for name, quota in start.items() if (on.level[name] != NOWHERE).any()}
    quotas, found = climb(first, tuple(map(float, STEPS)), judge)
    chosen = {name: int(quota) for name, quota in quotas.items() if quota}
    union = on.union(chosen, width * K)
    equal = dict.fromkeys(chosen, 1.0)
    merging = {
        f"{fusion}, constant {constant:g}": on.recall(on.values(union, equal, fusion, constant))
        for fusion in ("rrf", "log")
        for constant in (10.0, 60.0, 200.0, 600.0)
    }
    merging["best rank"] = on.recall(on.values(union, equal, "best"))
    weights, weighted = climb(equal, WEIGHTS, lambda one: on.recall(on.values(union, one)))
    return {
        "alone": alone,
        "per_place": widths,
        "start": {"quotas": start, "recall": widths[width]},
        "chosen": {"quotas": chosen, "per_place": width, "recall": found},
        "everything": on.recall(on.values(on.union(dict.fromkeys(chosen, 10_000), 0), equal)),
        "merging": merging,
        "weights": {"weights": weights, "recall": weighted},
    }


def _top(on: Board, name: str) -> FloatArray:
    place = on.place[name]
    return np.where(place == NOWHERE, -np.inf, -place.astype(np.float32)).astype(np.float32)


def tell(result: dict[str, Any]) -> str:
    """What was found, as Markdown."""
    found, test = result["validation"], result["test"]
    lines = [
        f"Recall of the truth among {CANDIDATES} candidates: {result['people']['validation']:,} "
        f"people on the validation part, {result['people']['test']:,} on the test part.",
        "",
        "| source | default quota | quota found | alone, 100 candidates | alone, 500 candidates |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, (hundred, all_) in found["alone"].items():
        before, now = found["start"]["quotas"][name], found["chosen"]["quotas"].get(name, 0)
        lines.append(f"| {name} | {before} | {now} | {hundred:.4f} | {all_:.4f} |")
    lines += ["", "| merging of the quotas found (validation) | recall |", "|---|---:|"]
    lines += [f"| {name} | {value:.4f} |" for name, value in found["merging"].items()]
    lines.append(
        f"| weighted rrf, constant 60: {_said(found['weights']['weights'])} | {found['weights']['recall']:.4f} |"
    )
    lines.append(f"| rrf over every eligible video, not only what the quotas propose | {found['everything']:.4f} |")
    lines += ["", "| quotas | proposals for each place | validation | test |", "|---|---:|---:|---:|"]
    for name, value in found["per_place"].items():
        lines.append(f"| default | {name} | {value:.4f} | {test['per_place'][name]:.4f} |")
    chosen = found["chosen"]
    lines.append(f"| found | {chosen['per_place']} | {chosen['recall']:.4f} | {test['chosen']:.4f} |")
    lines.append(
        f"| found, weighted | {chosen['per_place']} | {found['weights']['recall']:.4f} | {test['weighted']:.4f} |"
    )
    per = result["default_per_place"]
    lines.append(f"| default, through the pipeline | {per} | {found['piped']:.4f} | {test['piped']:.4f} |")
    return "\n".join(lines) + "\n"


def _said(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {weight:g}" for name, weight in weights.items())


def main() -> None:
    """Searches on the validation part, measures once on the test part, writes both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="MovieLens-1M's folder")
    parser.add_argument("--json", type=Path, default=RESULTS / "candidates.json")
    given = parser.parse_args()
    valid = board(given.data, "validation")
    found = search(valid) | {"piped": valid.piped}
    people = {"validation": len(valid.truth)}
    print(json.dumps(found, indent=1), flush=True)
    del valid
    test = board(given.data, "test")
    chosen = found["chosen"]
    union = test.union(chosen["quotas"], chosen["per_place"] * K)
    result = {
        "benchmark": "candidates",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "people": people | {"test": len(test.truth)},
        "default_per_place": Config().per_place,
        "validation": found,
        "test": {
            "per_place": {per: test.of(found["start"]["quotas"], per * K) for per in found["per_place"]},
            "chosen": test.of(chosen["quotas"], chosen["per_place"] * K),
            "weighted": test.recall(test.values(union, found["weights"]["weights"])),
            "piped": test.piped,
        },
        "config": Config().model_dump(mode="json"),
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    given.json.with_suffix(".md").write_text(tell(result), encoding="utf-8")
    print(tell(result))


if __name__ == "__main__":
    main()
