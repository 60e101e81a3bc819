from __future__ import annotations

import sys

import pytest

from nextreel.retrieval.index import VectorIndexError
from nextreel.retrieval.milvus import open_milvus
from nextreel.types import NextreelError


def test_what_is_no_address_of_milvus_is_refused() -> None:
    pytest.importorskip("pymilvus")
    with pytest.raises(VectorIndexError, match=r"Expected milvus://HOST:PORT/COLLECTION or .*; got 'redis://here'"):
        open_milvus("redis://here", 8)
    for url in ("http://me:hidden@here:19530", "milvus://me:hid/den@here:x"):  # pragma: allowlist secret
        with pytest.raises(NextreelError, match=r"Expected .*got '\w+://\*\*\*@here") as caught:
            open_milvus(url, 8)
        assert "hid" not in str(caught.value)


def test_a_server_that_does_not_answer_is_named_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pymilvus")
    monkeypatch.setattr("nextreel.retrieval.milvus.TIMEOUT", 0.5)
    with pytest.raises(VectorIndexError, match=r"Expected Milvus at http://127.0.0.1:1; .*Hint") as caught:
        open_milvus("milvus://somebody:hidden@127.0.0.1:1/videos", 8)  # pragma: allowlist secret
    assert "hidden" not in str(caught.value)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(VectorIndexError, match=r"nextreel\[milvus\]"):
        open_milvus("milvus://127.0.0.1:19530", 8)
