"""Real short-video logs: how well each ranker orders what people were shown on the last day of KuaiRand-Pure.

25 to 29 April train, the exposures of the 30th are judged. The files of the earlier days are written into a folder of
their own; `nextreel data import`, `nextreel train` and `nextreel score` see nothing else of the logs than the columns
user_id, video_id, time and tab of the last day. What people saw before the log is read too (`--history`). Their scores
are judged here, by lines that share no code with nextreel, beside two outsiders: LightGBM on the raw columns of the log
and both files of features, ids among them (its number of trees chosen on the 29th, then fitted on all five days), and
the smoothed rate of each video in training.

GAUC is the mean AUC of the people whose answers differ, weighted by their exposures; NDCG@10 the mean over the people
with at least one positive. The intervals are of differences from the better outsider, by a bootstrap over people.

    python benchmarks/kuairand.py --data DIR                         (about half an hour on two cores)
    python benchmarks/kuairand.py --data DIR --family lightgbm --seed 42
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess  # nextreel itself, with fixed arguments
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata

from nextreel.evaluation.lineage import commit, hardware, versions

RESULTS = Path(__file__).resolve().parent / "results" / "kuairand.json"
NEXTREEL = str(Path(sys.executable).with_name("nextreel"))
LAST = 20_220_430
LOG, USERS, VIDEOS = "interactions_0425_0430.csv.gz", "user_features_pure.csv.gz", "video_features_basic_pure.csv"
HISTORY = "user_history_to_0424.jsonl.gz"
OUTCOMES = {"click": "is_click", "long_view": "long_view", "like": "is_like"}
KNOWN_AFTER = {  # what nobody knows before the exposure, or that names the row
    *OUTCOMES.values(), "is_follow", "is_comment", "is_forward", "is_hate", "play_time_ms", "profile_stay_time",
    "comment_stay_time", "is_profile_enter", "time_ms", "date", "hourmin", "duration_ms",
}  # fmt: skip
FAMILIES = ("catboost", "lightgbm", "xgboost", "deepfm")
DRAWS = 1_000
CONFIG = """[quotas]
two_tower = 0  # they triple the time and move GAUC by less than a seed does
"""
Array = NDArray[np.float64]


def main() -> None:
    """Measures, prints and writes after each family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of KuaiRand-Pure")
    parser.add_argument("--family", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--seed", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--config", type=Path, help="for `nextreel train`, instead of one without towers")
    parser.add_argument(
        "--json", type=Path, default=RESULTS, help="families that stand in it, of this commit, are kept"
    )
    given = parser.parse_args()
    log = pl.read_csv(given.data / LOG)
    last = (log["date"] == LAST).to_numpy()
    judged = Judged(log.filter(last))
    config = given.config.read_text(encoding="utf-8") if given.config else CONFIG
    about = {"commit": commit(), "config": config, "seeds": given.seed}
    result = kept(given.json, about)
    outsiders = {"video rate": rates(log, last), "raw LightGBM": raw_lightgbm(given.data, log, last)}
    result |= about | {
        "benchmark": "kuairand",
        "exposures": {"train": int((~last).sum()), "test": int(last.sum())},
        "draws": DRAWS,
        "hardware": hardware(),
        "versions": versions(),
    }
    result["figures"] |= {name: [judged.all_figures(scores)] for name, scores in outsiders.items()}
    for family in given.family:
        if family in result["figures"]:
            continue
        runs, seconds = [], []
        for seed in given.seed:
            scores, took = nextreel(given.data, log, last, family, seed, config)
            runs.append(scores)
            seconds.append(took)
            print(f"{family} {seed}: {took:.0f} s", flush=True)
        result["figures"][family] = [judged.all_figures(scores) for scores in runs]
        result["seconds"][family] = seconds
        result["difference_from_best_outsider"][family] = judged.gains(runs, outsiders)
        result["measured_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        given.json.with_suffix(".md").write_text(table(result), encoding="utf-8")
    print(table(result))


def kept(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """What an interrupted run of the same commit, configuration and seeds has measured; nothing of any other."""
    empty: dict[str, Any] = {"figures": {}, "difference_from_best_outsider": {}, "seconds": {}}
    if not path.is_file():
        return empty
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found if all(found.get(name) == value for name, value in about.items()) else empty


class Judged:
    """The exposures of the last day, by person, and what became of them."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self.people, self.person = np.unique(rows["user_id"].to_numpy(), return_inverse=True)
        self.truth = {name: rows[column].to_numpy().astype(float) for name, column in OUTCOMES.items()}

    def by_person(self, outcome: str, scores: Array) -> tuple[Array, Array, Array]:
        """AUC and NDCG@10 (people,) of each person, NaN where there is none, and their exposures."""
        truth, n = self.truth[outcome], len(self.people)
        auc, ndcg, count = np.full(n, np.nan), np.full(n, np.nan), np.bincount(self.person, minlength=n).astype(float)
        order = np.argsort(self.person, kind="stable")
        starts = np.searchsorted(self.person[order], np.arange(n + 1))
        for one in range(n):
            rows = order[starts[one] : starts[one + 1]]
            y, s = truth[rows], scores[rows]
            good, bad = s[y == 1], s[y == 0]
            if len(good) == 0:
                continue
            best = y[np.lexsort((np.arange(len(s)), -s))][:10]
            discount = 1.0 / np.log2(np.arange(2, 12))
            ndcg[one] = (best * discount[: len(best)]).sum() / discount[: min(len(good), 10)].sum()
            if len(bad):
                wins = (good[:, None] > bad).sum() + 0.5 * (good[:, None] == bad).sum()
                auc[one] = wins / (len(good) * len(bad))
        return auc, ndcg, count

    def figures(self, outcome: str, scores: Array) -> dict[str, float]:
        """AUC, GAUC, NDCG@10, log loss and calibration error of probabilities."""
        truth = self.truth[outcome]
        auc, ndcg, count = self.by_person(outcome, scores)
        rank = rankdata(scores)
        good = truth.sum()
        whole = (rank[truth == 1].sum() - good * (good + 1) / 2) / (good * (len(truth) - good))
        chance = np.clip(scores, 1e-7, 1 - 1e-7)
        loss = -np.mean(truth * np.log(chance) + (1 - truth) * np.log(1 - chance))
        return {
            "auc": float(whole), "gauc": _mean(auc, count), "ndcg@10": float(np.nanmean(ndcg)), "log_loss": float(loss),
            "ece": calibration_error(truth, scores),
        }  # fmt: skip

    def all_figures(self, scores: dict[str, Array]) -> dict[str, dict[str, float]]:
        """The figures of every outcome that was foretold."""
        return {outcome: self.figures(outcome, scores[outcome]) for outcome in OUTCOMES if outcome in scores}

    def gains(self, runs: list[dict[str, Array]], outsiders: dict[str, dict[str, Array]]) -> dict[str, Any]:
        """Of GAUC and NDCG@10 of each outcome: the difference from the better outsider, and its 95 % interval.

        What a person's exposures are worth is the mean over the runs, which differ by their seed.
        """
        rng = np.random.default_rng(42)
        draws = rng.integers(0, len(self.people), (DRAWS, len(self.people)))
        found: dict[str, dict[str, Any]] = {}
        for outcome in OUTCOMES:
            if not all(outcome in scores for scores in runs):
                continue
            own = [self.by_person(outcome, scores[outcome]) for scores in runs]
            others = {name: self.by_person(outcome, scores[outcome]) for name, scores in outsiders.items()}
            for metric, column in (("gauc", 0), ("ndcg@10", 1)):
                weight = own[0][2] if metric == "gauc" else np.ones(len(self.people))
                best = max(others, key=lambda other: _mean(others[other][column], weight))
                mine, theirs = np.mean([one[column] for one in own], axis=0), others[best][column]
                drawn = [_mean(mine[some], weight[some]) - _mean(theirs[some], weight[some]) for some in draws]
                low, high = np.quantile(drawn, [0.025, 0.975])
                found.setdefault(outcome, {})[metric] = {
                    "from": best,
                    "difference": _mean(mine, weight) - _mean(theirs, weight),
                    "interval": [float(low), float(high)],
                }
        return found


def _mean(values: Array, weight: Array) -> float:
    there = ~np.isnan(values)
    return float((values[there] * weight[there]).sum() / weight[there].sum())


def calibration_error(truth: Array, chance: Array, bins: int = 15) -> float:
    """Mean distance of the mean probability from what came true, over bins of equally many rows, weighted by rows."""
    order = np.argsort(chance, kind="stable")
    parts = np.array_split(order, bins)
    return float(sum(len(part) * abs(chance[part].mean() - truth[part].mean()) for part in parts) / len(chance))


def rates(log: pl.DataFrame, last: NDArray[np.bool_]) -> dict[str, Array]:
    """The part of each video's exposures in training with the outcome, drawn to the mean by 20 more exposures."""
    video = log["video_id"].to_numpy()
    shown = np.bincount(video[~last], minlength=video.max() + 1)
    found = {}
    for outcome, column in OUTCOMES.items():
        truth = log[column].to_numpy()[~last].astype(float)
        rate = (np.bincount(video[~last], truth, len(shown)) + 20 * truth.mean()) / (shown + 20)
        found[outcome] = rate[video[last]]
    return found


def raw_lightgbm(folder: Path, log: pl.DataFrame, last: NDArray[np.bool_]) -> dict[str, Array]:
    """What LightGBM makes of the columns of all files as they are: texts as numbers, of several tags the first."""
    import lightgbm  # noqa: PLC0415

    users, videos = pl.read_csv(folder / USERS), pl.read_csv(folder / VIDEOS)
    videos = videos.with_columns(pl.col("tag").str.split(",").list.first().cast(pl.Float64, strict=False))
    rows = log.with_columns(hour=pl.col("hourmin") // 100)
    for other, key in ((users, "user_id"), (videos, "video_id")):
        rows = rows.join(other, on=key, how="left", maintain_order="left")
    rows = rows.select(pl.exclude(KNOWN_AFTER))
    rows = rows.with_columns(pl.col(pl.String).cast(pl.Categorical).to_physical())
    values = rows.cast(pl.Float64).to_numpy()
    newest = (log["date"] == LAST - 1).to_numpy()
    given = {"objective": "binary", "learning_rate": 0.05, "verbose": -1, "seed": 42}
    found = {}
    for outcome, column in OUTCOMES.items():
        truth = log[column].to_numpy().astype(float)

        def part(mask: NDArray[np.bool_], truth: Array = truth) -> Any:
            return lightgbm.Dataset(values[mask], truth[mask])

        stop = lightgbm.early_stopping(50, verbose=False)
        tried = lightgbm.train(given, part(~last & ~newest), 2_000, [part(newest)], callbacks=[stop])
        model = lightgbm.train(given, part(~last), tried.best_iteration)
        found[outcome] = np.asarray(model.predict(values[last]))
    return found


def nextreel(
    folder: Path, log: pl.DataFrame, last: NDArray[np.bool_], family: str, seed: int, config: str
) -> tuple[dict[str, Array], float]:
    """What a release that knows the earlier days says of the exposures of the last, and the seconds of training."""
    with TemporaryDirectory(prefix="kuairand-") as temporary:
        raw, data, home = (Path(temporary) / name for name in ("raw", "data", "home"))
        raw.mkdir()
        log.filter(~last).write_csv(raw / LOG.removesuffix(".gz"))
        for name in (USERS, VIDEOS, HISTORY):
            (raw / name).write_bytes((folder / name).read_bytes())
        asked = log.filter(last).select(
            "user_id", "video_id", (pl.col("time_ms") / 1e3).alias("timestamp"),
            pl.concat_str(pl.lit("tab "), pl.col("tab")).alias("surface"),
        )  # fmt: skip
        asked.write_parquet(Path(temporary) / "pairs.parquet")
        call("data", "import", "kuairand-pure", str(raw), "--out", str(data), "--history")
        chosen = Path(temporary) / "config.toml"
        text = f"{config}\n[moments]\nshare = {in_the_log(data, log)}\n"
        text += f'[ranker]\nfamily = "{family}"\n[ranker.{family}]\nseed = {seed}\n'
        chosen.write_text(text, encoding="utf-8")
        started = time.perf_counter()
        call("train", "--data", str(data), "--home", str(home), "--config", str(chosen))
        seconds = time.perf_counter() - started
        out = Path(temporary) / "scores.parquet"
        call("score", "--pairs", str(Path(temporary) / "pairs.parquet"), "--home", str(home), "--out", str(out))
        scores = pl.read_parquet(out)
    return {name: scores[name].to_numpy().astype(float) for name in OUTCOMES if name in scores.columns}, seconds


def in_the_log(data: Path, log: pl.DataFrame) -> float:
    """The part of all events that the log tells: what came before has no answers that a ranker could learn."""
    at = pl.col("timestamp").dt.epoch("ms")
    return float(pl.read_parquet(data / "interactions.parquet").select((at >= log["time_ms"].min()).mean()).item())


def call(*arguments: str) -> None:
    """Runs nextreel; what it says is shown when it fails."""
    done = subprocess.run(  # noqa: S603
        [NEXTREEL, *arguments], check=False, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}
    )
    if done.returncode:
        raise SystemExit(f"nextreel {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown, means over the seeds, and the differences with their intervals."""
    seeds = ", ".join(map(str, result["seeds"]))
    lines = [
        f"{result['exposures']['train']:,} exposures to train on, {result['exposures']['test']:,} judged. Rankers: "
        f"means of the seeds {seeds} (± their standard deviation); differences with 95 % intervals, people drawn anew.",
        "",
        "| outcome | model | AUC | GAUC | NDCG@10 | log loss | ECE | GAUC over the better outsider | NDCG@10 over it |",
        "|---|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for outcome in OUTCOMES:
        for model, runs in result["figures"].items():
            if not all(outcome in run for run in runs):
                continue
            cells = [
                _spread([run[outcome][name] for run in runs]) for name in ("auc", "gauc", "ndcg@10", "log_loss", "ece")
            ]
            gain = result["difference_from_best_outsider"].get(model, {}).get(outcome, {})
            cells.extend(_told(gain.get(metric)) for metric in ("gauc", "ndcg@10"))
            lines.append(f"| {outcome} | {model} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.4f}" + (f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else "")


def _told(gain: dict[str, Any] | None) -> str:
    if gain is None:
        return ""
    return f"{gain['difference']:+.4f} ({gain['interval'][0]:+.4f} to {gain['interval'][1]:+.4f})"


if __name__ == "__main__":
    main()
