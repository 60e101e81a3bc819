"""What every blob store promises; a new backend adds one line to BACKENDS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nextreel.backends import BlobNotFound, ClosableBlobs, InvalidKey, open_blobs

BACKENDS = {
    "disk": "file://{folder}/blobs",
}


@pytest.fixture(params=BACKENDS)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClosableBlobs]:
    blobs = open_blobs(BACKENDS[request.param].format(folder=tmp_path))
    yield blobs
    blobs.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(b"\0first\n")
    return path


def test_what_was_put_comes_back(blobs: ClosableBlobs, source: Path, tmp_path: Path) -> None:
    blobs.put("models/ranker/1.bin", source)
    target = tmp_path / "new" / "folder" / "copy.bin"
    assert blobs.get("models/ranker/1.bin", target) == target
    assert target.read_bytes() == source.read_bytes()


def test_a_second_put_replaces_the_first(blobs: ClosableBlobs, source: Path, tmp_path: Path) -> None:
    blobs.put("a", source)
    source.write_bytes(b"second")
    blobs.put("a", source)
    assert blobs.get("a", tmp_path / "copy").read_bytes() == b"second"
    assert blobs.keys("") == ["a"]


def test_keys_are_sorted_and_a_prefix_may_end_inside_a_name(blobs: ClosableBlobs, source: Path) -> None:
    for key in ("b/2", "b/1", "bc", "a"):
        blobs.put(key, source)
    assert blobs.keys("") == ["a", "b/1", "b/2", "bc"]
    assert blobs.keys("b/") == ["b/1", "b/2"]
    assert blobs.keys("b") == ["b/1", "b/2", "bc"]
    assert blobs.keys("missing") == []


def test_a_missing_key_is_named(blobs: ClosableBlobs, tmp_path: Path) -> None:
    with pytest.raises(BlobNotFound, match="'models/9'"):
        blobs.get("models/9", tmp_path / "copy")


def test_a_missing_source_is_named(blobs: ClosableBlobs, tmp_path: Path) -> None:
    with pytest.raises(BlobNotFound, match="nowhere"):
        blobs.put("a", tmp_path / "nowhere")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../../up", "a//b", "a/", "./a", "nul\0", ".uploads/x"])
def test_no_key_leaves_the_store(blobs: ClosableBlobs, source: Path, tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidKey):
        blobs.put(key, source)
    with pytest.raises(InvalidKey):
        blobs.get(key, tmp_path / "copy")
