from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextreel.encoding import sentence, text
from nextreel.encoding.files import EncodingError
from nextreel.encoding.sentence import SentenceText
from nextreel.types import FloatArray

TITLES = ["How to bake sourdough bread", "Champions League final", "日本の料理", "Fixing a bicycle tyre"]
needs_model = pytest.mark.skipif(not sentence.installed(), reason="needs the extra `text`")


class Model:
    """Unit vectors that say how long a text is; remembers what it read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def encode(self, texts: Sequence[str], **_: Any) -> FloatArray:
        self.read += texts
        return np.eye(SentenceText.dim, dtype=np.float32)[[len(one) for one in texts]]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    fake = Model()
    monkeypatch.setattr(sentence, "installed", lambda: True)
    monkeypatch.setattr(sentence, "fingerprint", lambda: "f" * 64)
    monkeypatch.setattr(sentence, "_model", lambda: fake)
    return fake


def test_each_distinct_text_is_read_once_and_blank_ones_never(model: Model) -> None:
    vectors = sentence.fit("title").encode(["abc", " ", "a", "abc", ""])
    assert model.read == ["abc", "a"]
    assert vectors.argmax(1).tolist() == [3, 0, 1, 3, 0]
    assert np.linalg.norm(vectors, axis=1).tolist() == [1, 0, 1, 1, 0]


def test_no_text_is_no_vector(model: Model) -> None:
    assert sentence.fit("title").encode([]).shape == (0, 384)
    assert model.read == []


def test_half_a_surrogate_pair_is_no_error(model: Model) -> None:
    sentence.fit("title").encode(["cut \ud83d"])
    assert model.read == ["cut ?"]


def test_another_model_than_was_fitted_with_is_refused(model: Model, tmp_path: Path) -> None:
    del model
    SentenceText("title", "0" * 64).save(tmp_path)
    with pytest.raises(EncodingError, match="train again"):
        text.load(tmp_path, "title").encode(["fox"])


def test_auto_takes_the_best_that_is_installed_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, model: Model
) -> None:
    del model
    caplog.set_level(logging.INFO)
    assert text.choose("title", "auto", TITLES).kind == "sentence"
    assert text.choose("title", "hashed", TITLES, dim=16).dim == 16
    monkeypatch.setattr(sentence, "installed", lambda: False)
    assert text.choose("title", "auto", TITLES).kind == "hashed"
    assert [record.message for record in caplog.records] == [
        "Encoding 'title' with the sentence encoder (asked for: auto, 384 dims)",
        "Encoding 'title' with the hashed encoder (asked for: hashed, 16 dims)",
        "Encoding 'title' with the hashed encoder (asked for: auto, 128 dims)",
    ]


def test_asking_for_a_sentence_encoder_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence, "installed", lambda: False)
    sentence.fingerprint.cache_clear()
    with pytest.raises(EncodingError, match=r"nextreel\[text\]"):
        text.choose("title", "sentence", TITLES)


@needs_model
def test_choosing_saving_and_loading_loads_no_model(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from nextreel.encoding import text; "
        f"folder = pathlib.Path({str(tmp_path)!r}); "
        "text.choose('title', 'sentence', []).save(folder); "
        "assert text.load(folder, 'title') == text.choose('title', 'auto', []); "
        "print(*({'torch', 'sentence_transformers', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == []


@needs_model
@pytest.mark.slow
def test_the_model_brings_what_means_the_same_together_whatever_the_words() -> None:
    encoder = sentence.fit("title")
    vectors = encoder.encode([*TITLES, "Homemade loaves with wild yeast", "Soccer: the deciding match"])
    assert vectors.shape == (6, encoder.dim)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    assert (vectors[4:] @ vectors[:4].T).argmax(1).tolist() == [0, 1]
    assert encoder.encode(TITLES[1:2])[0] == pytest.approx(vectors[1], abs=1e-5)
