"""The two towers alone on MovieLens-1M: how good they get, and in what time.

python benchmarks/towers.py --data DIR                      leave-last-out, the default release: about ten minutes
python benchmarks/towers.py --data DIR --preset research    the large ones: most of an hour

Protocol leave-last-out: each person's last row is withheld, the one before it chooses the epoch, the rest trains. What
validation found after every epoch is kept, with the seconds of training until then. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from nextreel import data
from nextreel.assembly import Models, build, load_config, only
from nextreel.evaluation import lineage
from nextreel.evaluation.asking import ask
from nextreel.evaluation.measures import measure
from nextreel.evaluation.protocols import new_store, plan
from nextreel.evaluation.seeds import reseeded
from nextreel.retrieval.two_tower import fitting
from nextreel.store.memory import relevance_of

RESULTS = Path(__file__).resolve().parent / "results" / "towers.json"
SHOWN = ("hit_rate@10", "ndcg@10", "recall@100", "mrr", "coverage@10")
REACHED = 0.17  # NDCG@10 on validation: the time to it is told


def run(dataset: data.Dataset, preset: str, config_file: Path | None, seed: int, folder: Path) -> dict[str, Any]:
    """One fit, its curve on validation and its figures on the test rows."""
    config = only(reseeded(load_config(config_file, preset), seed), "two_tower")  # type: ignore[arg-type]
    params = config.two_tower.model_copy(update={"validation_users": None})
    trial = plan(dataset, "leave-last-out", config)
    graded = relevance_of(trial.history, dataset.catalogue, config.relevance)
    curve: list[dict[str, float]] = []

    def watch(found: Any) -> None:
        curve.append({name: round(float(value), 4) for name, value in found.items()})
        print("  ".join(f"{name} {value:g}" for name, value in curve[-1].items()), flush=True)

    kept = folder / f"{preset}-{seed}.npz"
    started = time.perf_counter()
    towers = fitting.fit(
        trial.history, graded, dataset.catalogue, params, profiles=dataset.profiles, watch=watch, checkpoint=kept
    )
    seconds = time.perf_counter() - started
    store = new_store(dataset, config)
    models = Models(two_tower=towers, als=None, ease=None, item_item=None, transitions=None, words={})
    recommender = build(config, dataset.catalogue, store, models, None, timed=dataset.timed).alone("two_tower")
    lists = ask(trial, store, {"two_tower": recommender}, 100)["two_tower"].lists
    found = measure(lists, trial, dataset.catalogue.categories).mean
    kept.unlink(missing_ok=True)
    return {
        "test": {name: round(found[name], 4) for name in SHOWN},
        "validation_ndcg@10": towers.metrics["ndcg@10"],
        "seconds": round(seconds, 1),
        "seconds_to_0.17_on_validation": next((one["seconds"] for one in curve if one["ndcg@10"] >= REACHED), None),
        "epochs": towers.metrics["epochs"],
        "best_epoch": towers.metrics["best_epoch"],
        "curve": curve,
        "params": params.model_dump(mode="json"),
        "commit": lineage.commit(),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "peak_memory_bytes": lineage.peak_memory(),
        "data": dataset.manifest.to_json(),
        "hardware": lineage.hardware(),
        "versions": lineage.versions(),
    }


def table(runs: dict[str, Any]) -> str:
    """One line for each run, as Markdown."""
    head = "| towers | seed | HitRate@10 | NDCG@10 | Recall@100 | validation NDCG@10 | minutes | until 0.17 |"
    lines = [head, "|---|---|" + "---:|" * 6]
    for name, one in runs.items():
        test, reached = one["test"], one["seconds_to_0.17_on_validation"]
        until = "-" if reached is None else f"{reached / 60:.1f}"
        preset, _, seed = name.partition(" ")
        lines.append(
            f"| {preset} | {seed} | {test['hit_rate@10']:.4f} | {test['ndcg@10']:.4f} | {test['recall@100']:.4f} | "
            f"{one['validation_ndcg@10']:.4f} | {one['seconds'] / 60:.1f} | {until} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures one preset with one seed or several, and keeps it beside what was measured before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of MovieLens-1M")
    parser.add_argument("--preset", choices=("default", "research"), default="default")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "nextreel-towers")
    given = parser.parse_args()
    dataset = data.load(given.data)
    for seed in given.seeds:
        found = run(dataset, given.preset, given.config, seed, given.checkpoints)
        runs = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"] if RESULTS.is_file() else {}
        runs[f"{given.preset} {seed}"] = found
        RESULTS.write_text(json.dumps({"benchmark": "towers", "runs": runs}, indent=2) + "\n", encoding="utf-8")
        RESULTS.with_suffix(".md").write_text(table(runs), encoding="utf-8")
    print(table(runs))


if __name__ == "__main__":
    main()
