"""Which settings are best, judged on the validation part of MovieLens-1M; the test part is never opened.

Models are fitted on the first 80 % of the ratings and judged on the next 10 % as protocol 1 judges the last: all that a
person newly watched is right. Each person is asked for a list of 10, as a page would ask, and for one of 100. Every
variant changes the default configuration in the named fields and is run with several seeds (of the moments and of the
ranker). Results are kept after each run in `--json`, and as a table beside it: an interrupted comparison goes on where
it stopped.

    python benchmarks/settings.py --data DIR                       (all variants: hours)
    python benchmarks/settings.py --data DIR --only default share_12
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from nextreel import data
from nextreel.assembly import MODELS, Config, Models, build, merged, only
from nextreel.data import Dataset
from nextreel.evaluation.asking import ask
from nextreel.evaluation.lineage import commit, hardware, versions
from nextreel.evaluation.measures import measure
from nextreel.evaluation.protocols import K, new_store
from nextreel.evaluation.trials import Trial, frozen
from nextreel.ranking.ranker import FittedRanker
from nextreel.ranking.rows import Rows
from nextreel.store.memory import relevance_of
from nextreel.training.fit import fit_models, fit_ranker, ranker_rows
from nextreel.types import UNKNOWN, RowArray

RESULTS = Path(__file__).resolve().parent / "results"
KNOWN, JUDGED = 0.8, 0.9  # of the ratings: what is learned from, and up to where it is judged
SHORT = ("ndcg@10", "recall@10", "hit_rate@10", "coverage@10")  # of the lists of 10
METRICS = (*SHORT, "recall@100", "ndcg@100")
KEPT = 4  # replays whose rows stay in memory

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "with_item_item": {"quotas": {"item_item": 20}},
    "with_transitions": {"quotas": {"transitions": 20}},
    "no_ease": {"quotas": {"ease": 0}},
    "no_als": {"quotas": {"als": 0}},
    "no_fresh": {"quotas": {"fresh": 0}},
    "towers_160": {"quotas": {"two_tower": 160}},
    "share_55": {"moments": {"share": 0.55}},
    "share_25": {"moments": {"share": 0.25}},
    "active_1500": {"moments": {"active": 1500}},
    "idle_half_day": {"moments": {"idle_days": 0.5}},
    "negatives_20": {"moments": {"negatives": 20}},
    "negatives_80": {"moments": {"negatives": 80}},
    "horizon_60": {"moments": {"horizon_days": 60.0}},
    "softmax": {"ranker": {"catboost": {"loss": "QuerySoftMax"}}},
    "permutations_10": {"ranker": {"catboost": {"permutations": 10}}},
    "slow_400": {"ranker": {"catboost": {"iterations": 400, "learning_rate": 0.04}}},
    "same_order": {"order": {"diversity": 0.0}},
    "ease_200": {"ease": {"neighbours": 200}},
    "ease_newest_50": {"ease": {"max_history": 50}},
    "moments_of_1": {"moments": {"k": 1}},
    "moments_of_100": {"moments": {"k": 100}},
    "length_32": {"two_tower": {"length": 32}},
    "two_blocks": {"two_tower": {"blocks": 2}},
    "next_video_alone": {"two_tower": {"horizon": 1, "return_weight": 1.0}},
    "no_trends": {"two_tower": {"trends": []}},
}


@dataclass
class Bench:
    """The data, cut, and the retrievers that were fitted so far."""

    dataset: Dataset
    known: Trial
    fitted: dict[str, tuple[Models, Models]] = field(default_factory=dict)
    rankers: dict[str, FittedRanker] = field(default_factory=dict)
    replayed: dict[str, dict[str, Rows]] = field(default_factory=dict)

    def retrievers(self, config: Config) -> tuple[Models, Models]:
        """The models of the older events alone and of all known ones; variants share what they do not change."""
        older: dict[str, Any] = {}
        final: dict[str, Any] = {}
        for name in MODELS:
            params = getattr(config, name).model_dump(mode="json")
            key = json.dumps([name, params, config.moments.share], sort_keys=True)
            if key not in self.fitted:
                self.fitted[key] = self._fit(only(config, name), config.moments.share)
            for kept, models in zip((older, final), self.fitted[key], strict=True):
                kept |= {name: getattr(models, name), "words": models.words}
        return Models(**older), Models(**final)

    def _fit(self, config: Config, share: float) -> tuple[Models, Models]:
        """The one model that the configuration has, of the older events alone and of all known ones."""
        events, catalogue = self.known.history, self.dataset.catalogue
        graded = relevance_of(events, catalogue, config.relevance)
        first = int(len(events) * (1 - share))
        on = partial(fit_models, catalogue=catalogue, config=config, profiles=self.dataset.profiles)
        older = on(events.take(slice(first)), graded[:first])
        return older, on(events, graded, warm=older)

    def rows(self, config: Config, older: Models) -> dict[str, Rows]:
        """What the ranker learns from; kept while only the ranker changes."""
        parts = {
            name: getattr(config, name).model_dump(mode="json") for name in (*MODELS, "moments", "exposures", "quotas")
        }
        key = json.dumps(parts, sort_keys=True)
        if key not in self.replayed:
            events, catalogue = self.known.history, self.dataset.catalogue
            first = int(len(events) * (1 - config.moments.share))
            profiles, timed = self.dataset.profiles, self.dataset.timed
            self.replayed[key], _ = ranker_rows(events, first, catalogue, config, older, profiles, timed=timed)
            while len(self.replayed) > KEPT:
                self.replayed.pop(next(iter(self.replayed)))
                self.rankers.clear()  # they are known by rows that may be gone
        return self.replayed[key]

    def run(self, config: Config) -> dict[str, float]:
        """The metrics on the validation part, and the seconds of the ranker's fit."""
        older, final = self.retrievers(config)
        rows = self.rows(config, older)
        started = perf_counter()
        key = json.dumps([id(rows), config.ranker.model_dump(mode="json")])
        if key not in self.rankers:
            self.rankers[key] = fit_ranker(rows, config)
        ranker = self.rankers[key]
        seconds = perf_counter() - started
        categories = self.dataset.catalogue.categories
        found = dict(measure(self.lists(config, final, ranker, K), self.known, categories).mean)
        tens = np.full((len(self.known), K), UNKNOWN, np.int32)
        tens[:, :10] = self.lists(config, final, ranker, 10)
        found |= {name: value for name, value in measure(tens, self.known, categories).mean.items() if name in SHORT}
        return {name: found[name] for name in METRICS} | {"trees": ranker.metrics["trees"], "seconds": seconds}

    def lists(self, config: Config, models: Models, ranker: FittedRanker, k: int) -> RowArray:
        """The list (people, k) that each person gets."""
        store, columns = new_store(self.dataset, config), ranker.names
        timed, catalogue = self.dataset.timed, self.dataset.catalogue
        recommender = build(config, catalogue, store, models, ranker, timed=timed, columns=columns)
        return ask(self.known, store, {"nextreel": recommender}, k)["nextreel"].lists


def prepare(folder: Path) -> Bench:
    """The first 90 % of the ratings, of which the last ninth is judged."""
    dataset = data.load(folder)
    dataset = dataset.until(int(len(dataset.events) * JUDGED + 1e-9))
    grade = partial(relevance_of, catalogue=dataset.catalogue, rules=Config().relevance)
    parts = ((KNOWN - 0.1) / JUDGED, 0.1 / JUDGED, (JUDGED - KNOWN) / JUDGED)
    known = frozen(dataset.events, grade, len(dataset.catalogue), timed=dataset.timed, fractions=parts)
    return Bench(dataset, known)


def variant(changes: dict[str, Any], seed: int) -> Config:
    """The default configuration with the changes, and the seed in what the ranker learns from and how."""
    plain = merged(Config().model_dump(), changes)
    plain["moments"]["seed"] = plain["ranker"]["catboost"]["seed"] = seed
    return Config.model_validate(plain)


def table(result: dict[str, Any]) -> str:
    """Mean of the seeds for each variant, best NDCG@10 first, as Markdown."""
    runs: dict[str, dict[str, dict[str, float]]] = result["runs"]
    lines = [
        f"{result['people']:,} people, {' and '.join(next(iter(runs.values())))} as seeds; mean (half the range).",
        "",
        f"| variant | changes | {' | '.join(METRICS)} |",
        f"|---|---|{'---:|' * len(METRICS)}",
    ]
    for name in sorted(runs, key=lambda one: -float(np.mean([run["ndcg@10"] for run in runs[one].values()]))):
        values = [[run[metric] for run in runs[name].values()] for metric in METRICS]
        cells = [f"{np.mean(one):.4f} ({(max(one) - min(one)) / 2:.4f})" for one in values]
        changes = json.dumps(result["variants"][name]).replace('"', "")[1:-1]
        lines.append(f"| {name} | {changes} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what is missing, keeps and prints everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="MovieLens-1M's folder")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--json", type=Path, default=RESULTS / "settings.json")
    given = parser.parse_args()
    kept: dict[str, Any] = json.loads(given.json.read_text(encoding="utf-8")) if given.json.is_file() else {}
    runs: dict[str, dict[str, dict[str, float]]] = kept.get("runs", {})
    bench = prepare(given.data)
    for name in given.only:
        for seed in given.seeds:
            if str(seed) in runs.get(name, {}):
                continue
            runs.setdefault(name, {})[str(seed)] = found = bench.run(variant(VARIANTS[name], seed))
            print(f"{name} {seed}: " + "  ".join(f"{key} {value:.4f}" for key, value in found.items()), flush=True)
            result = {
                "benchmark": "settings",
                "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "people": len(bench.known),
                "default": Config().model_dump(mode="json"),
                "variants": {one: VARIANTS[one] for one in runs},
                "runs": runs,
                "data": bench.dataset.manifest.to_json(),
                "commit": commit(),
                "hardware": hardware(),
                "versions": versions(),
            }
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
            given.json.with_suffix(".md").write_text(table(result), encoding="utf-8")
    print(table(json.loads(given.json.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
