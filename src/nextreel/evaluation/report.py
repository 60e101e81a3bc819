"""Writes results to disk: JSON for machines, a Markdown table for people."""

from __future__ import annotations

import json
from pathlib import Path

from nextreel.evaluation.results import Results


def write(results: Results, path: Path) -> tuple[Path, Path]:
    """The JSON file at `path` and the Markdown file of the same name beside it, both written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = path.with_suffix(".md")
    path.write_text(json.dumps(results.to_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    table.write_text(results.to_markdown(), encoding="utf-8")
    return path, table
