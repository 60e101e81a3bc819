from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.encoding import cache, text
from nextreel.encoding.cache import EmbeddingCache
from nextreel.encoding.files import EncodingError
from nextreel.types import FloatArray


@dataclass
class Counting:
    """An encoder whose vectors are bytes of a hash, and which remembers what it was asked."""

    fingerprint: str = "a" * 64
    dim: int = 4
    name: str = "title"
    kind: str = "fake"
    asked: list[str] = field(default_factory=list)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        self.asked += texts
        raw = [
            hashlib.sha256(self.fingerprint.encode() + one.encode("utf-8", "surrogatepass")).digest() for one in texts
        ]
        return np.array([list(one[: self.dim]) for one in raw], np.float32).reshape(-1, self.dim)

    def save(self, folder: Path) -> None:
        raise AssertionError(f"a cache keeps vectors, and writes no encoder into {folder}")


def test_a_second_run_embeds_only_what_is_new(tmp_path: Path) -> None:
    encoder = Counting()
    first = EmbeddingCache(tmp_path).encode(encoder, ["fox", "whale", "fox"])
    assert (first.hits, first.misses, first.damaged) == (0, 2, 0)
    assert encoder.asked == ["fox", "whale"]
    second = EmbeddingCache(tmp_path).encode(encoder, ["whale", "owl", "fox"])
    assert (second.hits, second.misses) == (2, 1)
    assert encoder.asked == ["fox", "whale", "owl"]
    assert second.vectors.tolist() == Counting().encode(["whale", "owl", "fox"]).tolist()


def test_vectors_of_another_encoder_are_not_used(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path).encode(Counting("a" * 64), ["fox"])
    other = EmbeddingCache(tmp_path).encode(Counting("b" * 64, dim=2), ["fox"])
    assert (other.hits, other.misses) == (0, 1)
    assert other.vectors.shape == (1, 2)


def test_two_encoders_whose_fingerprints_begin_alike_do_not_share_vectors(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path).encode(Counting("a" * 64), ["fox"])
    other = EmbeddingCache(tmp_path).encode(Counting("a" * 63 + "b"), ["fox"])
    assert (other.hits, other.misses) == (0, 1)


@pytest.mark.parametrize("harm", [lambda b: b[:-3], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda _: b""])
def test_a_damaged_file_is_counted_and_its_texts_are_embedded_again(tmp_path: Path, harm: object) -> None:
    assert callable(harm)
    EmbeddingCache(tmp_path).encode(Counting(), ["fox", "whale"])
    (file,) = tmp_path.rglob("*.npy")
    file.write_bytes(harm(file.read_bytes()))
    again = EmbeddingCache(tmp_path).encode(Counting(), ["fox", "whale"])
    assert (again.hits, again.misses, again.damaged) == (0, 2, 1)
    assert again.vectors.tolist() == Counting().encode(["fox", "whale"]).tolist()
    whole = EmbeddingCache(tmp_path).encode(Counting(), ["fox", "whale"])
    assert (whole.hits, whole.misses, whole.damaged) == (2, 0, 0)


def test_an_interrupted_run_keeps_the_chunks_it_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Counting):
        def encode(self, texts: Sequence[str]) -> FloatArray:
            if "stop" in texts:
                raise KeyboardInterrupt
            return super().encode(texts)

    monkeypatch.setattr(cache, "CHUNK", 2)
    with pytest.raises(KeyboardInterrupt):
        EmbeddingCache(tmp_path).encode(Failing(), ["a", "b", "c", "stop"])
    resumed = EmbeddingCache(tmp_path).encode(Counting(), ["a", "b", "c", "d"])
    assert (resumed.hits, resumed.misses) == (2, 2)
    assert not list(tmp_path.rglob("half-*"))


def test_a_folder_that_is_a_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(EncodingError, match="Hint"):
        EmbeddingCache(tmp_path / "cache").encode(Counting(), ["fox"])


def test_no_text_is_no_vector(tmp_path: Path) -> None:
    cache_of = EmbeddingCache(tmp_path)
    cache_of.encode(Counting(), ["fox"])
    assert cache_of.encode(Counting(), []).vectors.shape == (0, 4)


@settings(max_examples=25)
@given(st.lists(st.lists(st.text(max_size=6), max_size=6), max_size=4))
def test_the_cache_never_changes_what_the_encoder_says(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[str]]
) -> None:
    encoder = text.fit("title", ["red fox", "blue whale"], dim=8)
    cached = EmbeddingCache(tmp_path_factory.mktemp("cache"))
    seen: set[str] = set()
    for texts in runs:
        found = cached.encode(encoder, texts)
        assert found.vectors.tolist() == encoder.encode(texts).tolist()
        assert (found.hits, found.misses) == (len(set(texts) & seen), len(set(texts) - seen))
        seen |= set(texts)
