from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.encoding import text
from nextreel.encoding.files import EncodingError, write_json

TITLES = ["Cooking pasta at home", "Cooking rice", "Football final 2020", "Football highlights", "日本の料理"]


def test_texts_of_like_words_lie_close() -> None:
    encoder = text.fit("title", TITLES)
    query, *videos = encoder.encode(["cook pasta!", *TITLES])
    assert int(np.argmax(np.array(videos) @ query)) == 0


def test_case_and_punctuation_do_not_matter_but_order_does() -> None:
    one, same, other = text.fit("title", TITLES).encode(["dog bites man", "Dog, bites -- MAN", "man bites dog"])
    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()


def test_vectors_are_the_same_on_every_machine() -> None:
    vector = text.fit("title", ["red fox", "blue whale"], dim=8).encode(["red whale"])[0]
    expected = text.fit("title", ["red fox", "blue whale"], dim=8).encode(["x y z", "red whale"])[1]
    assert vector.tolist() == expected.tolist()
    assert vector.tolist() == pytest.approx([0.482, 0.241, -0.36, 0, 0.723, 0, -0.241, 0], abs=1e-3)


def test_a_saved_encoder_comes_back(tmp_path: Path) -> None:
    encoder = text.fit("title", TITLES, dim=16)
    encoder.save(tmp_path)
    assert text.load(tmp_path, "title").encode(TITLES).tolist() == encoder.encode(TITLES).tolist()


def test_a_missing_encoder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EncodingError, match="Hint"):
        text.load(tmp_path, "title")


@settings(max_examples=40)
@given(st.lists(st.text(max_size=30), max_size=5))
def test_every_text_is_a_unit_vector_or_zero_whatever_stands_beside_it(texts: list[str]) -> None:
    encoder = text.fit("title", TITLES, dim=32)
    vectors = encoder.encode(texts)
    norms = np.linalg.norm(vectors, axis=1)
    assert (np.isclose(norms, 1, atol=1e-5) | (norms == 0)).all()
    for alone, together in zip(texts, vectors, strict=True):
        assert encoder.encode([alone])[0].tolist() == together.tolist()


def test_encoders_that_give_other_vectors_have_other_fingerprints() -> None:
    first = text.fit("title", TITLES)
    assert text.fit("else", TITLES).fingerprint == first.fingerprint
    assert text.fit("title", TITLES, dim=64).fingerprint != first.fingerprint
    assert text.fit("title", TITLES[1:]).fingerprint != first.fingerprint


def test_a_choice_or_kind_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncodingError, match="auto, hashed, sentence"):
        text.choose("title", "word2vec", TITLES)  # type: ignore[arg-type] # what a caller without types may say
    write_json(tmp_path / "embeddings" / "title.json", {"name": "title", "kind": "word2vec", "dim": 3})
    with pytest.raises(EncodingError, match="upgrade"):
        text.load(tmp_path, "title")
