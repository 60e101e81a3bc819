"""One table of what was measured: reads the JSON files of benchmarks/results and writes summary.md beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nextreel.evaluation import tables

RESULTS = Path(__file__).resolve().parent / "results"
GB = 1e9


def load(name: str) -> dict[str, Any]:
    """The result of one benchmark."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def lines() -> list[tuple[str, str, str]]:
    """What was measured, the figure, and the file that holds it."""
    withheld, training, latency, cold = load("withheld"), load("training"), load("latency"), load("cold_start")
    found, whole = withheld["metrics"], latency["first_request_of_each_person"]["milliseconds"]
    start = cold["seconds_to_first_answer"]
    judged = " / ".join(f"{found[name]:.4f}" for name in ("ndcg@10", "recall@10", "hit_rate@10", "recall@100"))
    broken = sum(withheld["lists_that_break_a_promise"].values())
    return [
        (
            "`nextreel train` on MovieLens-1M: wall clock, peak memory",
            f"{training['seconds']:.0f} s, {training['peak_memory_bytes'] / GB:.2f} GB",
            "training.json",
        ),
        (
            f"Lists made from the first 90 %, judged by a script of its own on the hidden 10 % "
            f"({found['people']:,.0f} people): NDCG@10 / Recall@10 / HR@10 / Recall@100",
            judged,
            "withheld.json",
        ),
        (
            f"Of {withheld['lists']:,} lists of 100: with a repeat, a watched video or another length",
            str(broken),
            "withheld.json",
        ),
        (
            f"One recommendation in process, one thread, no cached vector ({latency['videos']:,} videos): p50 / p99",
            f"{whole['p50']:.2f} / {whole['p99']:.2f} ms",
            "latency.json",
        ),
        (
            f"The ranker alone, {latency['ranker_rows']} rows of who is here just now / of who comes back: p50",
            " / ".join(f"{spent['p50']:.2f}" for spent in latency["ranker_milliseconds"].values()) + " ms",
            "latency.json",
        ),
        (
            "Process start to first answer: `nextreel recommend` / `nextreel serve`",
            f"{start['nextreel recommend']['median']:.2f} / {start['nextreel serve']['median']:.2f} s",
            "cold_start.json",
        ),
        *_of_serving(),
        *_of_towers(),
    ]


def _of_serving() -> list[tuple[str, str, str]]:
    """What it takes to answer elsewhere, to grow and to change, while requests are answered."""
    index, uploads, swap, function = load("index"), load("uploads"), load("swap"), load("lambda")
    chosen = index["indexes"][0]
    index_of = f"A vector index of {index['rows']:,} × {index['dimensions']}, chosen by itself"
    chosen_is = (
        f"{chosen['recall@100']:.4f}, {chosen['index_bytes'] / 1e6:.0f} MB, {chosen['milliseconds_a_query']:.2f} ms"
    )
    took = uploads["milliseconds"]
    upload_is = " / ".join(f"{took[name]['median']:.0f}" for name in ("upload", "follow")) + " ms"
    return [
        (f"{index_of}: recall@100 against exact search, size, time of a query", chosen_is, "index.json"),
        (
            "The same: until a vector that was added is found, at most",
            f"{1000 * chosen['inserts']['longest_seconds_until_found']:.1f} ms",
            "index.json",
        ),
        (f"One more video among {uploads['rows']:,}: to upload it / to follow elsewhere", upload_is, "uploads.json"),
        (
            f"Requests that failed of {swap['requests']:,}, while the release changed {swap['changes']} times",
            str(swap["failed"]),
            "swap.json",
        ),
        (
            "AWS Lambda's runtime: process start to first answer",
            f"{function['first_answer_seconds']['median']:.2f} s",
            "lambda.json",
        ),
    ]


def _of_towers() -> list[tuple[str, str, str]]:
    """The same of the towers alone, as far as it was measured."""
    found = []
    if (RESULTS / "withheld_last.json").is_file():
        metrics = load("withheld_last")["metrics"]
        people = f"{metrics['people']:,.0f} people"
        what = f"The towers alone for any time, judged by the same script on each person's last rating ({people})"
        figure = " / ".join(f"{metrics[name]:.4f}" for name in ("hit_rate@10", "ndcg@10"))
        found.append((f"{what}: HR@10 / NDCG@10", figure, "withheld_last.json"))
    if (RESULTS / "cold_videos.json").is_file():
        cold = load("cold_videos")
        what = "New videos of a synthetic world by their content alone: Recall@100, times what a random list finds"
        figure = f"{cold['times_random']['mean']:.1f}, {cold['times_random']['least']:.1f}"
        found.append((f"{what} (mean and least of {len(cold['runs'])} worlds)", figure, "cold_videos.json"))
    return found


def protocols() -> str:
    """Every model under every protocol that was run, as Markdown: the figures of `nextreel evaluate --report`."""
    columns = {  # protocol -> metrics
        "frozen": ("ndcg@10", "recall@10", "hit_rate@10", "recall@100"),
        "live": ("hit_rate@10", "ndcg@10"),
        "leave-last-out": ("hit_rate@10", "ndcg@10"),
    }
    found = {name: load(f"movielens/{name}") for name in columns if (RESULTS / "movielens" / f"{name}.json").is_file()}
    models: dict[str, dict[tuple[str, str], float]] = {}
    for name, result in found.items():
        for row in result["rows"]:
            if row["kind"] != "stage":
                models.setdefault(row["model"], {}).update({(name, m): row["metrics"][m] for m in columns[name]})
    head = [f"{name} {tables.title(metric)}" for name in found for metric in columns[name]]
    keys = [(name, metric) for name in found for metric in columns[name]]
    lines = [f"| model | {' | '.join(head)} |", "|---|" + "---:|" * len(head)]
    for model, values in sorted(models.items(), key=lambda one: one[1].get(keys[0], 0.0)):
        cells = [f"{values[key]:.4f}" if key in values else "-" for key in keys]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    asked = [f"{name}: {one['requests']:,} requests of {one['users']:,} people" for name, one in found.items()]
    return "\n".join([*lines, "", "; ".join(asked) + ".", *_spread(found, columns)]) + "\n"


def _spread(found: Mapping[str, Any], columns: Mapping[str, Sequence[str]]) -> list[str]:
    """What several seeds of the models gave, where they were run."""
    lines = []
    for protocol, result in found.items():
        for model, seeds in (result.get("seeds") or {}).items():
            if result["rows"][[row["model"] for row in result["rows"]].index(model)]["kind"] == "stage":
                continue
            for metric in columns[protocol]:
                values = [one[metric] for one in seeds.values()]
                mean = sum(values) / len(values)
                lines.append(
                    f"| {model} | {protocol} | {tables.title(metric)} | {', '.join(seeds)} | {mean:.4f} | "
                    f"{min(values):.4f} to {max(values):.4f} |"
                )
    return (
        ["", "| model | protocol | metric | seeds | mean | from, to |", "|---|---|---|---|---:|---:|", *lines]
        if lines
        else []
    )


def main() -> None:
    """Writes the tables."""
    rows = []
    for what, figure, file in lines():
        commit = load(file.removesuffix(".json"))["commit"]
        rows.append(f"| {what} | {figure} | [{file}](benchmarks/results/{file}) of {commit[:7]} |")
    machine = load("training")["hardware"]
    text = "\n".join(["| what | measured | raw |", "|---|---:|---|", *rows])
    about = f"Measured on {machine.get('processor')}, {machine.get('cores')} cores, without a GPU."
    (RESULTS / "summary.md").write_text(f"{text}\n\n{about}\n", encoding="utf-8")
    (RESULTS / "protocols.md").write_text(protocols(), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
