"""Releases are immutable, checked, promoted and rolled back."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from nextreel.registry import CorruptRelease, InvalidRelease, NoSuchRelease, NotInProduction, Registry

NOON = 1_795_262_400.0  # 2026-11-21 12:00:00 UTC


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def publish(registry: Registry, tmp_path: Path) -> Callable[..., str]:
    def publish(text: str = "one", created_at: float = NOON, metrics: dict[str, Any] | None = None) -> str:
        folder = tmp_path / f"built-{text}"
        (folder / "models").mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text("{}")
        (folder / "models" / "ranker.bin").write_text(text)
        return registry.publish(
            folder, metrics=metrics or {"ndcg@10": 0.3}, lineage={"data": "v1"}, created_at=created_at
        )

    return publish


def test_an_id_is_the_time_and_the_start_of_the_content(publish: Callable[..., str]) -> None:
    assert re.fullmatch(r"20261121-120000-[0-9a-f]{6}", publish())
    assert publish("one") != publish("two")


def test_a_manifest_tells_checksums_sizes_metrics_and_lineage(registry: Registry, publish: Callable[..., str]) -> None:
    shown = registry.show(publish(metrics={"auc": np.float64(0.5), "nothing": float("nan"), 10: 1}))
    assert shown["files"]["models/ranker.bin"] == {
        "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",  # pragma: allowlist secret
        "bytes": 3,
    }
    assert shown["metrics"] == {"auc": 0.5, "nothing": None, "10": 1}
    assert shown["lineage"] == {"data": "v1"}
    assert shown["stage"] == "candidate"


def test_publishing_the_same_again_returns_the_same_release(registry: Registry, publish: Callable[..., str]) -> None:
    assert publish() == publish()
    assert len(registry.list()) == 1


def test_a_release_keeps_a_read_only_copy(registry: Registry, publish: Callable[..., str], tmp_path: Path) -> None:
    release_id = publish()
    (tmp_path / "built-one" / "config.json").write_text("changed")
    kept = registry.open(release_id) / "config.json"
    assert kept.read_text() == "{}"
    assert not kept.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


def test_a_failed_publication_leaves_nothing(
    registry: Registry, publish: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(self: Path, target: Path) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full_disk)
        with pytest.raises(OSError, match="no space"):
            publish()
    assert registry.list() == []
    assert list((tmp_path / "registry" / "releases").iterdir()) == []


def test_folders_that_cannot_be_releases_are_refused(registry: Registry, tmp_path: Path) -> None:
    def refused(got: str) -> None:
        with pytest.raises(InvalidRelease, match=got):
            registry.publish(tmp_path / "folder", metrics={}, lineage={}, created_at=NOON)

    refused("no file")
    (tmp_path / "folder").mkdir()
    refused("no file")
    (tmp_path / "folder" / "link").symlink_to(tmp_path)
    refused("the link")
    (tmp_path / "folder" / "link").unlink()
    (tmp_path / "folder" / "manifest.json").write_text("{}")
    refused("a manifest.json")


def test_releases_are_listed_oldest_first_with_their_stage(registry: Registry, publish: Callable[..., str]) -> None:
    assert registry.list() == []
    third, first, second = publish("c", NOON + 9), publish("a", NOON), publish("b", NOON + 5)
    registry.promote(first)
    registry.promote(second)
    assert [(r.id, r.stage) for r in registry.list()] == [
        (first, "retired"),
        (second, "production"),
        (third, "candidate"),
    ]
    assert registry.list()[0].metrics == {"ndcg@10": 0.3}
    assert registry.list()[0].created_at == NOON


def test_rollback_walks_back_through_the_promotions(registry: Registry, publish: Callable[..., str]) -> None:
    a, b, c = publish("a"), publish("b"), publish("c")
    for release_id in (a, b, c, c):
        registry.promote(release_id, at=NOON)
    assert registry.rollback() == b
    assert registry.production() == b
    assert registry.rollback(at=NOON + 1) == a
    with pytest.raises(NoSuchRelease, match=f"No earlier release to roll back to. In production: {a}"):
        registry.rollback()
    assert registry.production() == a
    assert [entry["action"] for entry in registry.history()] == ["promote"] * 3 + ["rollback"] * 2
    registry.promote(c)
    assert registry.rollback() == a


def test_an_unknown_release_is_answered_with_the_published_ones(
    registry: Registry, publish: Callable[..., str]
) -> None:
    with pytest.raises(NoSuchRelease, match=r"No release '7' to promote\. Published: none\."):
        registry.promote("7")
    release_id = publish()
    with pytest.raises(NoSuchRelease, match=rf"No release '7' to promote\. Published: {release_id}\."):
        registry.promote("7")
    for asked in ("..", "", "../releases/" + release_id, release_id + "/"):
        with pytest.raises(NoSuchRelease):
            registry.path(asked)


def test_nothing_in_production_is_said_with_what_to_do(registry: Registry, publish: Callable[..., str]) -> None:
    assert registry.production() is None
    publish()
    with pytest.raises(NoSuchRelease, match=r"No release in production.*nextreel train"):
        registry.open()
    with pytest.raises(NoSuchRelease, match="In production: none"):
        registry.rollback()


def _replace(path: Path, text: str) -> None:
    path.chmod(0o644)
    path.write_text(text)


TAMPERINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a changed byte": (
        lambda path: _replace(path / "models" / "ranker.bin", "0ne"),
        "models/ranker.bin with sha256 7692c3ad.*got sha256 [0-9a-f]{64}",
    ),
    "another size": (lambda path: _replace(path / "models" / "ranker.bin", "longer"), "3 bytes, got 6 bytes"),
    "a missing file": (lambda path: (path / "config.json").unlink(), "config.json with 2 bytes, got no file"),
    "an added file": (lambda path: _replace_new(path / "code.py"), "code.py with no such file"),
    "a changed manifest": (
        lambda path: _replace(path / "manifest.json", (path / "manifest.json").read_text().replace("0.3", "0.9")),
        "manifest.json with sha256",
    ),
    "a manifest made up anew": (lambda path: _forge(path / "manifest.json"), "manifest.json with sha256"),
    "half a manifest": (lambda path: _replace(path / "manifest.json", "{"), "manifest.json with JSON"),
    "a manifest that is a list": (lambda path: _replace(path / "manifest.json", "[]"), "manifest.json with format 1"),
    "no manifest": (lambda path: (path / "manifest.json").unlink(), "manifest.json with a manifest, got no file"),
}


def _replace_new(path: Path) -> None:
    path.write_text("surprise")


def _forge(path: Path) -> None:
    manifest = orjson.loads(path.read_bytes())
    _replace(path, orjson.dumps(manifest | {"content_sha256": "0" * 64}).decode())


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_corrupt_release_is_neither_opened_nor_promoted(
    registry: Registry, publish: Callable[..., str], tampering: str
) -> None:
    release_id = publish()
    registry.promote(release_id)
    tamper, message = TAMPERINGS[tampering]
    tamper(registry.path(release_id))
    for use in (registry.open, lambda: registry.open(release_id), lambda: registry.promote(release_id)):
        with pytest.raises(CorruptRelease, match=message):
            use()


def test_of_many_who_roll_back_the_same_release_one_does(registry: Registry, publish: Callable[..., str]) -> None:
    a, b, c = publish("a"), publish("b"), publish("c")
    for release_id in (a, b, c):
        registry.promote(release_id)

    def roll_back(_: int) -> str:
        try:
            return registry.rollback(instead_of=c)
        except NotInProduction as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(roll_back, range(8)))
    assert sorted(told)[0] == b
    assert all(f"in production to roll back, {b}, got {c}" in one for one in sorted(told)[1:])
    assert registry.production() == b
    with pytest.raises(NoSuchRelease):
        registry.rollback(instead_of="20200101-000000-abcdef")


def test_a_corrupt_release_is_not_rolled_back_to(registry: Registry, publish: Callable[..., str]) -> None:
    first, second = publish("a"), publish("b")
    registry.promote(first)
    registry.promote(second)
    _replace(registry.path(first) / "config.json", "[]")
    with pytest.raises(CorruptRelease):
        registry.rollback()
    assert registry.production() == second


def test_a_damaged_history_is_named(registry: Registry, publish: Callable[..., str], tmp_path: Path) -> None:
    registry.promote(publish())
    (tmp_path / "registry" / "stages.json").write_text("{")
    with pytest.raises(CorruptRelease, match=r"stages\.json"):
        registry.production()


def test_concurrent_promotions_lose_none(tmp_path: Path, registry: Registry, publish: Callable[..., str]) -> None:
    releases = [publish(str(n)) for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda release_id: Registry(tmp_path / "registry").promote(release_id), releases))
    assert sorted(entry["id"] for entry in registry.history()) == sorted(releases)
