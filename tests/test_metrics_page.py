"""The page of the metrics tells of exactly those that exist, and its queries are queries."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.metrics_core import Metric

from nextreel import telemetry

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
UNITS = {"histogram": ("_seconds",), "counter": ("",), "gauge": ("_seconds", "_info", "_entries", "_in_flight")}
ROW = re.compile(
    r"^\| `(?P<name>nextreel_\w+)` \|(?P<labels>[^|]*)\| (?P<meaning>[^|]+) \| `(?P<query>[^|]+)` \|$", re.M
)


def existing() -> dict[str, Metric]:
    """Every metric by the name under which Prometheus finds it."""
    ours = [one for one in REGISTRY.collect() if one.name.startswith("nextreel")]
    return {one.name + ("_total" if one.type == "counter" else ""): one for one in ours}


def labels() -> dict[str, set[str]]:
    """Names of the labels by the metric's name."""
    declared = [one for one in vars(telemetry).values() if hasattr(one, "_labelnames")]
    names = {one._name + ("_total" if one._type == "counter" else ""): set(one._labelnames) for one in declared}
    return {name: of for name, of in names.items() if name.startswith("nextreel")}


def rows() -> list[re.Match[str]]:
    return list(ROW.finditer(PAGE.read_text(encoding="utf-8")))


def test_the_table_names_exactly_the_metrics_that_exist_with_their_labels() -> None:
    told = {row["name"]: set(re.findall(r"`(\w+)`", row["labels"])) for row in rows()}
    assert told == labels()
    assert set(told) == set(existing())
    assert len(rows()) == len(told)


def test_names_have_units_and_helps_are_sentences() -> None:
    for name, metric in existing().items():
        assert re.fullmatch(r"nextreel(_[a-z]+)+", name)
        assert metric.documentation.endswith("."), name
        assert metric.name.endswith(UNITS[metric.type]), name


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_a_query_reads_its_metric_and_no_label_that_it_lacks(row: re.Match[str]) -> None:
    of = labels()[row["name"]] | {"le"}
    series = re.findall(r"nextreel_\w+", row["query"])
    known = {name + suffix for name in existing() for suffix in ("", "_bucket", "_count", "_sum")}
    assert row["name"] in {re.sub("_(bucket|count|sum)$", "", one) for one in series}
    assert set(series) <= known
    for selected in re.findall(r"\{(\w+)=", row["query"]):
        assert selected in of
    for grouped in re.findall(r"by \(([^)]*)\)", row["query"]):
        assert set(grouped.split(", ")) <= of


def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, which comes with Prometheus")
    page, command = generate_latest(REGISTRY), [promtool, "check", "metrics"]
    checked = subprocess.run(command, input=page, capture_output=True, check=False)  # noqa: S603  promtool
    assert "nextreel" not in checked.stderr.decode() + checked.stdout.decode()
    rules = [f"  - record: page:{row['name']}\n    expr: {row['query']}" for row in rows()]
    file = tmp_path / "rules.yml"
    file.write_text("groups:\n- name: page\n  rules:\n" + "\n".join(rules) + "\n")
    command = [promtool, "check", "rules", str(file)]
    checked = subprocess.run(command, capture_output=True, check=False)  # noqa: S603  promtool
    assert checked.returncode == 0, checked.stderr.decode() + checked.stdout.decode()
