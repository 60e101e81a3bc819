"""What lists that are more diverse, or of more of the catalogue, cost in accuracy, on MovieLens-1M.

The whole system is fitted once and asked with many settings of the final order. Without `--test` it is fitted on the
first 80 % of the ratings and judged on the next 10 %, where settings are chosen; with `--test` on the first 90 % and
judged on the last 10 %, as protocol `frozen` does. Each person is asked for a list of ten. What was fitted is kept in
`--models` and read from there the next time; results are kept in `--json`, with a table and a plot beside it.

    python benchmarks/curve.py --data DIR
    python benchmarks/curve.py --data DIR --test

`popularity_*` is an orderer that nextreel does not have: value less a weight times ln(1 + plays), both standardised. It
is here for comparison.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nextreel import data
from nextreel.assembly import Config, Models, build, for_lists, load_ranker, merged
from nextreel.data import Dataset
from nextreel.evaluation.asking import ask
from nextreel.evaluation.lineage import commit, hardware, versions
from nextreel.evaluation.measures import measure
from nextreel.evaluation.plots import LINES, MARKS, STYLE, require
from nextreel.evaluation.protocols import K, new_store, plan
from nextreel.evaluation.trials import Trial
from nextreel.ordering import by_value, standardised
from nextreel.pipeline import Recommender
from nextreel.ranking.ranker import FittedRanker
from nextreel.training.fit import fit
from nextreel.types import UNKNOWN, FloatArray, Moment, NextreelError, Order, Orderer
from settings import prepare

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULTS = Path(__file__).resolve().parent / "results"
METRICS = ("ndcg@10", "recall@10", "coverage@10", "diversity@10", "gini@10", "novelty@10")
MILLISECONDS = "ms a list"
DEEP = {"ranked": 2000, "quotas": {"two_tower": 600, "als": 1200}}  # chance draws from many more candidates


@dataclass(frozen=True)
class Point:
    """One setting: what it changes in the configuration, and the family it is drawn as."""

    family: str
    changes: dict[str, Any] = field(default_factory=dict)
    discount: float | None = None  # of popularity, by the orderer that is here for comparison


def _points() -> dict[str, Point]:
    found = {"default": Point("default")}
    for weight in (0.0, 0.1, 0.2, 0.4, 0.5, 0.6):
        found[f"mmr_{weight:g}"] = Point("mmr", {"order": {"diversity": weight}})
    for strength, likeness in ((4.0, 0.9), (2.0, 0.9), (1.0, 0.9), (0.5, 0.9), (1.0, 0.6), (1.0, 1.0)):
        dpp = {"diversity": 1.0, "diversifier": "dpp", "dpp": {"strength": strength, "likeness": likeness}}
        found[f"dpp_{strength:g}_{likeness:g}"] = Point("dpp", {"order": dpp})
    for cap in (1, 2, 3, 4):
        found[f"per_category_{cap}"] = Point("caps", {"order": {"caps": {"per_category": cap}}})
    for weight in (0.5, 1.0, 2.0):
        found[f"freshness_{weight:g}"] = Point("freshness", {"order": {"freshness": weight}})
    for weight in (0.1, 0.3, 0.5, 0.7, 1.0):
        found[f"popularity_{weight:g}"] = Point("popularity", {"order": {"diversity": 0.0}}, weight)
    for slots in (1, 2, 3):
        for novelty in (0.0, 1.0, 2.0):
            chance = {"order": {"explore": {"slots": slots, "temperature": 2.0, "novelty": novelty}}}
            found[f"explore_{slots}_{novelty:g}"] = Point("explore", chance)
            found[f"explore_{slots}_{novelty:g}_deep"] = Point("explore, deep", DEEP | chance)
    return found


POINTS = _points()


def _discount(point: Point) -> dict[str, float]:
    return {} if point.discount is None else {"popularity": -point.discount}


def discounted(weight: float) -> Orderer:
    """An orderer by standardised value less weight × standardised ln(1 + plays)."""

    def by_discount(moment: Moment, value: FloatArray, k: int) -> Order:
        popularity = standardised(np.log1p(moment.counters.plays[moment.rows]).astype(np.float32))
        return by_value(moment, standardised(value) - np.float32(weight) * popularity, k)

    return by_discount


def prepared(folder: Path, part: str) -> tuple[Dataset, Trial]:
    """The data and whom to ask: of the validation part, or of the last tenth."""
    if part == "validation":
        bench = prepare(folder)
        return bench.dataset, bench.known
    dataset = data.load(folder)
    return dataset, plan(dataset, "frozen", Config())


def fitted(dataset: Dataset, trial: Trial, folder: Path) -> tuple[Models, FittedRanker]:
    """What the folder keeps, or else the default system fitted on the history of the trial, now kept there."""
    if not (folder / "ranker").is_dir():
        found = fit(replace(dataset, events=trial.history), for_lists(Config()))
        found.models.save(folder)
        found.ranker.save(folder / "ranker")
    ranker = load_ranker(folder)
    if ranker is None:
        raise NextreelError(f"Expected a ranker in {folder}, found none. Hint: remove the folder to fit again.")
    return Models.load(folder), ranker


def curve(dataset: Dataset, trial: Trial, models: Models, ranker: FittedRanker) -> dict[str, dict[str, float]]:
    """The metrics of every point, all asked over one store."""
    store = new_store(dataset, Config())
    recommenders: dict[str, Recommender] = {}
    for name, point in POINTS.items():
        config = Config.model_validate(merged(Config().model_dump(), point.changes))
        one = build(config, dataset.catalogue, store, models, ranker, timed=dataset.timed, columns=ranker.names)
        discount = () if point.discount is None else (discounted(point.discount),)
        recommenders[name] = replace(one, orderers=(*one.orderers, *discount))
    found = {}
    for name, answers in ask(trial, store, recommenders, 10).items():
        lists = np.full((len(trial), K), UNKNOWN, np.int32)  # metrics are cut at up to 100
        lists[:, :10] = answers.lists
        metrics = measure(lists, trial, dataset.catalogue.categories).mean
        found[name] = {metric: metrics[metric] for metric in METRICS}
        found[name][MILLISECONDS] = 1000 * answers.seconds / len(trial)
        print(name, "  ".join(f"{metric} {one:.4f}" for metric, one in found[name].items()), flush=True)
    return found


def front(runs: Mapping[str, Mapping[str, float]], metric: str) -> list[str]:
    """The points that no other beats in both NDCG@10 and the metric, by falling NDCG@10."""
    kept: list[str] = []
    for name in sorted(runs, key=lambda one: (-runs[one]["ndcg@10"], -runs[one][metric])):
        if not kept or runs[name][metric] > runs[kept[-1]][metric]:
            kept.append(name)
    return kept


def table(parts: Mapping[str, Any]) -> str:
    """One table for each part that was judged, best NDCG@10 first, as Markdown; those that none beats in bold."""
    lines: list[str] = []
    for part, result in parts.items():
        runs = result["runs"]
        best = set(front(runs, "coverage@10")) | set(front(runs, "diversity@10"))
        lines += [
            f"{part.capitalize()} part, {result['people']:,} people; in bold what no other setting beats in NDCG@10 "
            "and in coverage or diversity. The default is asked first and encodes the history for all.",
            "",
            f"| setting | {' | '.join((*METRICS, MILLISECONDS))} | changes |",
            f"|---|{'---:|' * (len(METRICS) + 1)}---|",
        ]
        for name in sorted(runs, key=lambda one: -runs[one]["ndcg@10"]):
            cells = " | ".join(
                [f"{runs[name][metric]:.4f}" for metric in METRICS] + [f"{runs[name][MILLISECONDS]:.1f}"]
            )
            changes = json.dumps(result["changes"][name]).replace('"', "")[1:-1]
            lines.append(f"| {f'**{name}**' if name in best else name} | {cells} | {changes} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def plot(parts: Mapping[str, Any], path: Path) -> None:
    """Writes NDCG@10 against coverage and against diversity, a row for each part.

    Raises NoPlots without matplotlib.
    """
    require()
    from matplotlib import rc_context  # noqa: PLC0415  an extra
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context(STYLE):
        figure = Figure(figsize=(11, 0.8 + 4.4 * len(parts)), layout="constrained", facecolor="white")
        grid = figure.subplots(len(parts), 2, squeeze=False)
        for row, (part, result) in zip(grid, parts.items(), strict=True):
            for axes, metric in zip(row, ("coverage@10", "diversity@10"), strict=True):
                _panel(axes, result["runs"], result["families"], metric)
                axes.set_title(f"{part} part, {result['people']:,} people")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
        figure.savefig(path, metadata={"Date": None, "Creator": "nextreel", "Title": "What the final order costs"})


def _panel(axes: Axes, runs: Mapping[str, Mapping[str, float]], family_of: Mapping[str, str], metric: str) -> None:
    families: dict[str, list[str]] = {}
    for name in runs:
        families.setdefault(family_of[name], []).append(name)
    best = front(runs, metric)
    axes.plot(*_xy(runs, best, metric), color="#999999", linewidth=1, zorder=1, label="no other beats these")
    for number, (family, names) in enumerate(families.items()):
        if family == "default":
            axes.scatter(*_xy(runs, names, metric), s=150, marker="*", color="black", zorder=3, label="the default")
        else:
            colour = LINES[number % len(LINES)]
            mark = MARKS[(number + number // len(LINES)) % len(MARKS)]  # no two families have both in common
            axes.scatter(*_xy(runs, names, metric), s=28, color=colour, marker=mark, zorder=2, label=family)
    axes.set_xlabel("coverage@10" if metric == "coverage@10" else "diversity@10, of categories within a list")
    axes.set_ylabel("NDCG@10")
    axes.grid(visible=True)


def _xy(runs: Mapping[str, Mapping[str, float]], names: Sequence[str], metric: str) -> tuple[list[float], list[float]]:
    return [runs[name][metric] for name in names], [runs[name]["ndcg@10"] for name in names]


def main() -> None:
    """Measures one part, and writes what is known of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="MovieLens-1M's folder")
    parser.add_argument("--test", action="store_true", help="judge on the last tenth instead of the validation part")
    parser.add_argument("--models", type=Path, default=Path("var/curve"), help="where fitted models are kept")
    parser.add_argument("--json", type=Path, default=RESULTS / "curve.json")
    given = parser.parse_args()
    part = "test" if given.test else "validation"
    kept: dict[str, Any] = json.loads(given.json.read_text(encoding="utf-8")) if given.json.is_file() else {}
    dataset, trial = prepared(given.data, part)
    runs = curve(dataset, trial, *fitted(dataset, trial, given.models / part))
    measured = {
        "people": len(trial),
        "changes": {name: point.changes | _discount(point) for name, point in POINTS.items()},
        "families": {name: point.family for name, point in POINTS.items()},
        "runs": runs,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "data": dataset.manifest.to_json(),
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
    }
    parts = dict(sorted((kept.get("parts", {}) | {part: measured}).items(), reverse=True))  # validation first
    result = {
        "benchmark": "curve",
        "default": Config().model_dump(mode="json"),
        "parts": parts,
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    given.json.with_suffix(".md").write_text(table(parts), encoding="utf-8")
    plot(parts, given.json.with_suffix(".svg"))


if __name__ == "__main__":
    main()
