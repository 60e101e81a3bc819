from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.encoding import tags
from nextreel.encoding.files import EncodingError
from nextreel.encoding.tags import TagEmbeddings, TagParams

THEMES = {
    "pets": ["cat", "kitten", "purr", "paw", "fur"],
    "cars": ["engine", "wheel", "race", "diesel", "gearbox"],
    "food": ["bake", "oven", "flour", "yeast", "bread"],
}


def themed(videos: int = 400, seed: int = 0) -> list[list[str]]:
    """Videos of three tags of one theme and, half the time, one tag that all themes share."""
    rng = np.random.default_rng(seed)
    names = list(THEMES)
    made = []
    for _ in range(videos):
        words = THEMES[names[rng.integers(len(names))]]
        made.append([words[i] for i in rng.permutation(len(words))[:3]] + (["video"] if rng.random() < 0.5 else []))
    return made


@pytest.fixture(scope="module")
def learned() -> TagEmbeddings:
    return tags.fit("tag", themed())


@pytest.mark.parametrize("theme", THEMES)
def test_the_nearest_tags_are_those_of_the_same_theme(learned: TagEmbeddings, theme: str) -> None:
    for word in THEMES[theme]:
        assert {other for other, _ in learned.nearest(word, 4)} == set(THEMES[theme]) - {word}


def test_tags_that_never_meet_end_close_when_their_company_is_the_same() -> None:
    videos = [["cat", "purr", "pet"], ["kitten", "purr", "pet"], ["car", "race", "road"], ["van", "race", "road"]] * 60
    embeddings = tags.fit("tag", videos)
    assert embeddings.similarity("cat", "kitten") > 0.8
    assert embeddings.similarity("cat", "van") < embeddings.similarity("cat", "kitten") - 0.2


def test_the_category_is_company_too() -> None:
    # no video has two tags: the category alone tells which tags go together
    words = ["cat", "dog", "car", "van"]
    videos = [[word] for word in words] * 100
    embeddings = tags.fit("tag", videos, np.array([0, 0, 1, 1] * 100))
    assert embeddings.nearest("cat", 1)[0][0] == "dog"
    assert embeddings.nearest("van", 1)[0][0] == "car"


def test_kin_that_never_meet_stay_close_however_long_the_fit() -> None:
    # a tree: every video has a theme and one word of it, so that two words of a theme never stand together
    rng = np.random.default_rng(0)
    videos = [[theme, THEMES[theme][rng.integers(5)]] for theme in rng.choice(list(THEMES), 5_000)]
    embeddings = tags.fit("tag", videos)
    for words in THEMES.values():
        for word in words:
            assert {other for other, _ in embeddings.nearest(word, 4)} <= {*words, *THEMES}


def test_a_video_is_the_mean_of_its_known_tags(learned: TagEmbeddings) -> None:
    both, one, none, empty = learned.encode([["Cat", "engine", "cat", "never heard"], [" CAT "], ["nothing"], []])
    cat, engine = (learned.vectors[learned.tags.code(word)] for word in ("cat", "engine"))
    assert both == pytest.approx((cat + engine) / 2, abs=1e-6)
    assert one == pytest.approx(cat, abs=1e-6)
    assert not none.any()
    assert not empty.any()


def test_rare_and_unknown_tags_have_no_vector() -> None:
    embeddings = tags.fit("tag", [["a", "b"], ["a", "b"], ["a", "rare"]], params=TagParams(min_count=2))
    assert set(embeddings.tags.values) == {"a", "b"}
    assert embeddings.nearest("rare") == []
    assert embeddings.similarity("a", "rare") == 0.0


def test_a_tag_said_twice_by_one_video_counts_once() -> None:
    assert tags.fit("tag", [["a", "A "], ["a"]], params=TagParams(min_count=3)).tags.values == ()


def test_the_same_seed_gives_the_same_vectors_and_another_seed_others() -> None:
    first, again = (tags.fit("tag", themed(100), params=TagParams(epochs=3)) for _ in range(2))
    other = tags.fit("tag", themed(100), params=TagParams(epochs=3, seed=7))
    assert first.vectors.tolist() == again.vectors.tolist()
    assert first.vectors.tolist() != other.vectors.tolist()


def test_large_catalogues_are_read_less_often() -> None:
    few, many = (tags.fit("tag", themed(128), params=TagParams(epochs=e, max_steps=4)) for e in (2, 40))
    assert few.vectors.tolist() == many.vectors.tolist()


def test_saved_embeddings_come_back(learned: TagEmbeddings, tmp_path: Path) -> None:
    learned.save(tmp_path)
    loaded = tags.load(tmp_path, "tag")
    assert loaded.nearest("cat") == learned.nearest("cat")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == [
        "embeddings/tag.json",
        "embeddings/tag.npz",
        "vocabularies/tag.json",
    ]


def test_files_of_two_fits_are_refused(learned: TagEmbeddings, tmp_path: Path) -> None:
    learned.save(tmp_path)
    tags.fit("tag", [["a", "b"]] * 5).tags.save(tmp_path)
    with pytest.raises(EncodingError, match="two fits"):
        tags.load(tmp_path, "tag")
    (tmp_path / "embeddings" / "tag.npz").write_bytes(b"no zip")
    with pytest.raises(EncodingError, match="Hint"):
        tags.load(tmp_path, "tag")


def test_categories_must_be_those_of_the_videos() -> None:
    with pytest.raises(EncodingError, match="one category per video"):
        tags.fit("tag", [["a"]], np.array([0, 1]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdeABC "), max_size=4), max_size=12), st.booleans())
def test_whatever_the_tags_every_vector_is_finite_and_no_longer_than_one(videos: list[list[str]], known: bool) -> None:
    categories = np.arange(len(videos)) % 3 - 1 if known else None
    embeddings = tags.fit("tag", videos, categories, TagParams(dim=4, min_count=1, epochs=2))
    lengths = np.linalg.norm(embeddings.encode(videos), axis=1)
    assert np.isfinite(lengths).all()
    assert (lengths <= 1 + 1e-5).all()
    assert np.linalg.norm(embeddings.vectors[1:], axis=1) == pytest.approx(np.ones(len(embeddings.tags) - 1), abs=1e-5)
