"""One small world whose codes and scales can be told by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nextreel.encoding import sentence
from nextreel.encoding.cache import EmbeddingCache
from nextreel.encoding.encoders import EncoderParams, Encoders
from nextreel.encoding.files import EncodingError
from nextreel.encoding.tags import TagParams
from nextreel.types import DAY, Catalogue, Events, FloatArray, Kind, Profile

PARAMS = EncoderParams(min_count=2, title="hashed", title_dim=16, tags=TagParams(dim=4, min_count=1, epochs=2))
NOW = 100 * DAY
# person 2 has no event; nobody of the training part is from "US"
PROFILES = [
    Profile(country="NO", language="en", gender="f", age=20.0),
    Profile(country="NO", language="fr", gender="f", age=40.0),
    Profile(country="US", language="fr", gender="m", age=90.0),
]


def world(catalogue_of: Callable[..., Catalogue]) -> tuple[Catalogue, Events, FloatArray]:
    """Video 0 is played three times, 1 once, 2 is only shown, 3 is uploaded after the training part."""
    catalogue = catalogue_of(
        [[0], [0, 1], [1], [2]],
        titles=["red fox", "blue whale", "", "future film"],
        channel=np.array([0, 1, 0, 1], np.int32),
        language=np.array([0, 1, 1, 1], np.int32),
        duration=np.array([60, 600, 60, 60], np.float32),
        published_at=np.array([NOW - 10 * DAY, NOW - 10 * DAY, np.nan, NOW + DAY]),
        tags=[["fox", "red"], ["whale", "blue"], [], ["unborn"]],
    )
    at = NOW - DAY * np.arange(4, -1, -1.0)
    missing = np.full(5, np.nan, np.float32)
    events = Events(
        np.array(["u0", "u1", "u2"], object),
        np.array([0, 1, 0, 1, 0], np.int32),
        np.array([0, 0, 0, 1, 2], np.int32),
        at,
        np.array([Kind.WATCH] * 4 + [Kind.IMPRESSION], np.int8),
        missing,
        missing,
        device=np.array([0, 0, 1, -1, 0], np.int32),
        location=np.array([0, 0, 0, 0, 0], np.int32),
        devices=("phone", "tv"),
        locations=("oslo",),
    )
    return catalogue, events, np.array([1, 1, 1, 1, 0], np.float32)


@pytest.fixture
def fitted(catalogue_of: Callable[..., Catalogue]) -> Encoders:
    catalogue, events, weights = world(catalogue_of)
    return Encoders.fit(catalogue, PROFILES, events, weights, PARAMS)


def test_vocabularies_hold_what_the_training_part_has_often_enough(fitted: Encoders) -> None:
    assert {name: one.values for name, one in fitted.vocabularies.items()} == {
        "video": (100,),
        "channel": ("c1",),
        "category": ("news", "sport"),
        "language": ("en",),  # of two videos and one person; "de" and "fr" are of one each
        "country": ("NO",),
        "gender": ("f",),
        "device": ("phone",),
        "location": ("oslo",),
        "surface": (),
    }


def test_people_have_codes_only_when_asked(catalogue_of: Callable[..., Catalogue]) -> None:
    catalogue, events, weights = world(catalogue_of)
    params = PARAMS.model_copy(update={"user_min_count": 2})
    assert Encoders.fit(catalogue, PROFILES, events, weights, params).vocabularies["user"].values == ("u0", "u1")


def test_scales_come_from_the_people_and_plays_of_the_training_part(fitted: Encoders) -> None:
    ages = fitted.normalizers["age"].encode(np.array([20.0, 40.0, np.nan]))
    assert ages == pytest.approx([-1, 1, 0], abs=1e-5)
    assert fitted.normalizers["duration"].encode(np.array([60.0, 600.0])) == pytest.approx([-1, 1], abs=1e-5)
    assert fitted.normalizers["popularity"].encode(np.array([1, 3])) == pytest.approx([-1, 1], abs=1e-5)
    days = np.log1p([6.0, 7.0, 8.0, 9.0])  # between upload and each play
    assert fitted.normalizers["upload_age"].mean == pytest.approx(days.mean())
    assert fitted.reference_at == NOW


def test_buckets_and_categories_encode_rows(fitted: Encoders) -> None:
    assert fitted.buckets["age"].encode(np.array([20.0, 90.0])).tolist() == [2, 7]
    hot = fitted.buckets["popularity"].one_hot(np.array([0, 1, 3]))
    assert hot.sum(1).tolist() == [1, 1, 1]
    assert len(set(hot.argmax(1).tolist())) == 3
    matrix = np.array([[1, 0, 0], [0, 1, 1]], np.float32)
    assert fitted.categories.aligned(("news", "sport", "music"), matrix).tolist() == [[0, 1, 0], [1, 0, 1]]


def test_vectors_lie_in_the_order_of_the_catalogue_and_nothing_is_learned_from_the_future(fitted: Encoders) -> None:
    assert fitted.title_vectors.shape == (4, 16)
    assert fitted.title_vectors[0] == pytest.approx(fitted.titles.encode(["red fox"])[0])
    assert not fitted.title_vectors[2].any()
    assert fitted.tag_vectors.shape == (4, 4)
    assert fitted.tag_vectors.any(axis=1).tolist() == [True, True, False, False]
    assert fitted.tags.tags.code("unborn") == 0


def test_what_is_saved_comes_back(fitted: Encoders, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = Encoders.load(tmp_path)
    assert loaded.vocabularies == fitted.vocabularies
    assert loaded.normalizers == fitted.normalizers
    assert loaded.buckets == fitted.buckets
    assert loaded.titles.fingerprint == fitted.titles.fingerprint
    assert loaded.title_vectors.tolist() == fitted.title_vectors.tolist()
    assert loaded.tag_vectors.tolist() == fitted.tag_vectors.tolist()
    assert {path.name for path in tmp_path.iterdir()} == {
        "vocabularies",
        "normalizers",
        "buckets",
        "embeddings",
        "encoders.json",
    }
    assert {path.suffix for path in tmp_path.rglob("*.*")} == {".json", ".npz", ".npy"}


def test_the_same_input_gives_the_same_bytes(catalogue_of: Callable[..., Catalogue], tmp_path: Path) -> None:
    catalogue, events, weights = world(catalogue_of)
    for name in ("one", "two"):
        Encoders.fit(catalogue, PROFILES, events, weights, PARAMS).save(tmp_path / name)
    for path in (tmp_path / "one").rglob("*.json"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("encoders.json", b"{}"),
        ("encoders.json", None),
        ("vocabularies/device.json", None),
        ("embeddings/title_vectors.npy", b"short"),
        ("embeddings/tag_vectors.npy", None),
    ],
)
def test_a_bad_or_missing_file_says_what_to_do(
    fitted: Encoders, tmp_path: Path, file: str, content: bytes | None
) -> None:
    fitted.save(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(EncodingError, match="Hint"):
        Encoders.load(tmp_path)


def test_vectors_of_another_catalogue_and_another_version_are_refused(fitted: Encoders, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    np.save(tmp_path / "embeddings" / "title_vectors.npy", fitted.title_vectors[:2])
    with pytest.raises(EncodingError, match="two fits"):
        Encoders.load(tmp_path)
    about = json.loads((tmp_path / "encoders.json").read_text())
    (tmp_path / "encoders.json").write_text(json.dumps(about | {"version": 99}))
    with pytest.raises(EncodingError, match="version 1"):
        Encoders.load(tmp_path)


def test_a_second_fit_embeds_only_new_titles(catalogue_of: Callable[..., Catalogue], tmp_path: Path) -> None:
    catalogue, events, weights = world(catalogue_of)
    cache = EmbeddingCache(tmp_path)
    made = Encoders.fit(catalogue, PROFILES, events, weights, PARAMS, cache)
    assert cache.encode(made.titles, [*catalogue.titles, "a new one"]).misses == 1
    later = made.extended(replace(catalogue, titles=["a new one", *catalogue.titles[1:]]), cache)
    assert later.title_vectors[1:].tolist() == made.title_vectors[1:].tolist()
    assert later.title_vectors[0].tolist() != made.title_vectors[0].tolist()


def test_a_catalogue_without_tags_and_events_without_people_can_be_fitted(
    catalogue_of: Callable[..., Catalogue], tmp_path: Path
) -> None:
    catalogue, events, weights = world(catalogue_of)
    made = Encoders.fit(replace(catalogue, tags=()), PROFILES, events.take(slice(0)), weights[:0], PARAMS)
    made.save(tmp_path)
    assert not Encoders.load(tmp_path).tag_vectors.any()
    assert made.vocabularies["video"].values == ()


def test_parts_that_do_not_fit_together_are_refused(catalogue_of: Callable[..., Catalogue]) -> None:
    catalogue, events, weights = world(catalogue_of)
    with pytest.raises(EncodingError, match=r"one per event: expected 5, got 4.*one per user id: expected 3, got 2"):
        Encoders.fit(catalogue, PROFILES[:2], events, weights[:4], PARAMS)
    beyond = replace(events, video=events.video + 9)
    with pytest.raises(EncodingError, match="below: expected 4, got 11"):
        Encoders.fit(catalogue, PROFILES, beyond, weights, PARAMS)


def test_an_empty_catalogue_can_be_saved(catalogue_of: Callable[..., Catalogue], tmp_path: Path) -> None:
    _, events, weights = world(catalogue_of)
    made = Encoders.fit(catalogue_of([]), PROFILES, events.take(slice(0)), weights[:0], PARAMS)
    made.save(tmp_path)
    assert Encoders.load(tmp_path).title_vectors.shape == (0, 16)


@pytest.mark.skipif(not sentence.installed(), reason="needs the extra `text`")
@pytest.mark.slow
def test_titles_are_read_by_meaning_where_the_extra_is_installed(
    catalogue_of: Callable[..., Catalogue], tmp_path: Path
) -> None:
    catalogue, events, weights = world(catalogue_of)
    params = PARAMS.model_copy(update={"title": "auto"})
    made = Encoders.fit(catalogue, PROFILES, events, weights, params, EmbeddingCache(tmp_path / "cache"))
    made.save(tmp_path)
    loaded = Encoders.load(tmp_path)
    assert (loaded.titles.kind, loaded.title_vectors.shape) == ("sentence", (4, 384))
    query = loaded.titles.encode(["an animal that lives in the ocean"])[0]
    assert int(np.argmax(loaded.title_vectors @ query)) == 1
