"""The towers read text by n-grams or by meaning; nothing but the text tells the videos of this world apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextreel.encoding import sentence
from nextreel.encoding.cache import EmbeddingCache
from nextreel.history import History
from nextreel.retrieval.two_tower import fitting, retriever
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.retriever import TwoTowerError
from nextreel.types import UNKNOWN, Catalogue, Events, FloatArray, Kind, Request, UserState

PARAMS = TwoTowerParams(
    dim=8,
    length=8,
    hidden=(16, 16),
    text_dim=8,
    epochs=2,
    batch=256,
    negatives=32,
    min_count=1,
    validation_users=0,
    threads=1,
)
VIDEOS = 20


def catalogue() -> Catalogue:
    texts = [f"sport match {i}" if i % 2 else f"music song {i}" for i in range(VIDEOS)]
    return Catalogue(
        video_ids=np.arange(VIDEOS),
        titles=texts,
        category=np.full(VIDEOS, UNKNOWN, np.int32),
        categories=np.zeros((VIDEOS, 0), np.float32),
        channel=np.full(VIDEOS, UNKNOWN, np.int32),
        language=np.full(VIDEOS, UNKNOWN, np.int32),
        duration=np.full(VIDEOS, np.nan, np.float32),
        published_at=np.full(VIDEOS, np.nan),
        maturity=np.zeros(VIDEOS, np.int8),
        available=np.ones(VIDEOS, bool),
        texts=texts,
        category_names=(),
        channel_ids=(),
        language_names=(),
        row_of={i: i for i in range(VIDEOS)},
    )


def plays(users: int = 40, each: int = 6) -> tuple[Events, FloatArray]:
    """Even people play even videos in any order, and odd people odd ones."""
    n = users * each
    user = np.tile(np.arange(users), each).astype(np.int32)
    video = ((np.random.default_rng(0).integers(0, VIDEOS // 2, n) * 2 + user) % VIDEOS).astype(np.int32)
    missing = np.full(n, np.nan, np.float32)
    events = Events(
        np.arange(users),
        user,
        video,
        60.0 * np.arange(n, dtype=np.float64),
        np.full(n, Kind.WATCH, np.int8),
        missing,
        missing,
    )
    return events, np.ones(n, np.float32)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a sentence encoder read that tells sport from music and no more."""
    read: list[str] = []

    class Model:
        def encode(self, texts: Sequence[str], **_: Any) -> FloatArray:
            read.extend(texts)
            return np.eye(384, dtype=np.float32)[[int("sport" in one) for one in texts]]

    monkeypatch.setattr(sentence, "installed", lambda: True)
    monkeypatch.setattr(sentence, "fingerprint", lambda: "f" * 64)
    monkeypatch.setattr(sentence, "_model", Model)
    return read


def test_what_auto_came_to_is_kept_with_the_towers_and_serving_them_reads_no_text(
    read: list[str], tmp_path: Path
) -> None:
    events, weights = plays()
    fitted = fitting.fit(events, weights, catalogue(), PARAMS.model_copy(update={"text": "auto"}))
    fitted.save(tmp_path)
    read.clear()
    loaded = retriever.load(tmp_path)
    assert (loaded.params.text, loaded.videos.text.kind, loaded.videos.text.dim) == ("sentence", "sentence", 384)
    assert read == []
    assert loaded.encode_videos(catalogue()) == pytest.approx(fitted.vectors, abs=1e-5)
    assert len(read) == VIDEOS


def test_a_second_fit_with_a_cache_encodes_no_text(read: list[str], tmp_path: Path) -> None:
    events, weights = plays()
    params = PARAMS.model_copy(update={"text": "sentence", "epochs": 0})
    first = fitting.fit(events, weights, catalogue(), params, cache=EmbeddingCache(tmp_path))
    read.clear()
    second = fitting.fit(events, weights, catalogue(), params, cache=EmbeddingCache(tmp_path))
    assert read == []
    assert second.vectors.tolist() == first.vectors.tolist()


def test_towers_that_read_other_text_cannot_be_started_from(read: list[str]) -> None:
    del read
    events, weights = plays()
    hashed = fitting.fit(events, weights, catalogue(), PARAMS.model_copy(update={"epochs": 0, "text_dim": 384}))
    assert hashed.params.text == "hashed"
    with pytest.raises(TwoTowerError, match="set `text` to 'hashed'"):
        fitting.fit(events, weights, catalogue(), PARAMS.model_copy(update={"text": "sentence"}), warm=hashed)


@pytest.mark.skipif(not sentence.installed(), reason="needs the extra `text`")
@pytest.mark.slow
def test_the_towers_can_be_fitted_on_sentences() -> None:
    events, weights = plays(120, 12)
    changed = {"text": "sentence", "dim": 16, "hidden": (32, 32), "epochs": 20, "negatives": 128, "temperature": 0.1}
    params = PARAMS.model_copy(update=changed | {"dropout": 0.0, "learning_rate": 5e-3, "id_dropout": 0.5})
    fitted = fitting.fit(events, weights, catalogue(), params)
    cosines = fitted.vectors @ fitted.vectors.T
    parity = np.arange(VIDEOS) % 2
    same = parity[:, None] == parity
    # how far apart the two kinds come to lie is the luck of the first weights; that they never mix is not
    assert cosines[same].min() > cosines[~same].max() + 0.2
    for first in range(VIDEOS):
        history = History()
        for step, video in enumerate((first, (first + 4) % VIDEOS, (first + 10) % VIDEOS)):
            history.append(video, 1e6 + 60.0 * step, int(Kind.WATCH), 1.0)
        person = UserState(7, history=history, version=3, known=True)
        rows, _ = fitted.retrieve(Request(7, 1e6 + 300.0), person, VIDEOS // 2 - 3)
        assert (rows % 2 == first % 2).all()
