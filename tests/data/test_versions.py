"""Manifests and versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nextreel.data import Manifest, load
from nextreel.types import NextreelError


def test_a_manifest_survives_json(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,video_id,timestamp\n1,2,3\n")
    manifest = load(tmp_path).manifest.with_splits({"train": (0, 1)})
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest
    assert manifest.counts["interactions"] == 1
    assert manifest.sources[0].bytes == 33


def test_the_version_changes_with_the_content_and_not_with_the_place(tmp_path: Path) -> None:
    versions = []
    for name, text in (("a", "1,2"), ("b", "1,2"), ("c", "1,3")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "interactions.csv").write_text(f"user_id,video_id\n{text}\n")
        versions.append(load(tmp_path / name).manifest.version)
    assert versions[0] == versions[1] != versions[2]


@pytest.mark.parametrize("values", [{}, {"version": "x"}, {"sources": [{"name": 1}], "splits": {}, "warnings": []}])
def test_what_is_no_manifest_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(NextreelError, match="manifest of a data set"):
        Manifest.from_json(values)
