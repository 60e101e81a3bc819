"""MovieLens: invented files in its format, and the real one where it is at hand."""

from __future__ import annotations

import os
import zipfile
from hashlib import md5
from io import BytesIO
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from nextreel.data import DataError, check, load, movielens, split_by_time
from nextreel.types import Kind, NextreelError

REAL = Path(os.environ.get("NEXTREEL_DATA", "")) / "ml-1m"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ratings.dat").write_bytes(b"1::20::5::300\n2::10::3::200\n1::10::4::300\n")
    (tmp_path / "movies.dat").write_bytes(
        "10::Café of Foxes, The (1999)::Comedy|Drama\n20::Untitled::War\n30::Nobody Saw It (2001)::Drama\n".encode(
            "latin-1"
        )
    )
    (tmp_path / "users.dat").write_bytes(b"1::F::25::3::12345\n2::M::1::0::999\n3::M::56::0::999\n")
    return tmp_path


def test_ratings_are_watches_with_the_rating_as_value(folder: Path) -> None:
    found = load(folder)
    assert found.events.at.tolist() == [200, 300, 300]
    assert found.events.value.tolist() == [3, 5, 4]
    assert set(found.events.kind.tolist()) == {Kind.WATCH}
    assert np.isnan(found.events.watch_seconds).all()
    assert found.catalogue.video_ids[found.events.video].tolist() == [10, 20, 10]


def test_movies_have_titles_years_and_genres_also_those_nobody_rated(folder: Path) -> None:
    found = load(folder).catalogue
    assert list(found.titles) == ["Café of Foxes, The (1999)", "Untitled", "Nobody Saw It (2001)"]
    assert found.texts[0] == "Café of Foxes, The (1999) Comedy Drama"
    assert found.published_at[0] == 915_148_800
    assert np.isnan(found.published_at[1])
    assert found.category_names == ("Comedy", "Drama", "War")
    assert found.category.tolist() == [0, 2, 1]
    assert found.categories.tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]


def test_people_have_age_and_gender(folder: Path) -> None:
    found = load(folder).profiles
    assert [(one.age, one.gender) for one in found] == [(25, "F"), (1, "M"), (56, "M")]


def test_bad_lines_are_told_by_file_and_row(folder: Path) -> None:
    (folder / "ratings.dat").write_bytes(b"1::20::5::300\nx::10::3::200\n1::10::4\n1::10::9::5\n")
    (folder / "movies.dat").write_bytes(b"10::One\n20::Two::War\n20::Again::War\n")
    with pytest.raises(DataError) as error:
        load(folder)
    told = {(one.file, one.row, one.column) for one in error.value.problems}
    assert told == {
        ("ratings.dat", 2, "user_id"),
        ("ratings.dat", 3, None),
        ("ratings.dat", 4, "value"),
        ("movies.dat", 1, None),
        ("movies.dat", 3, "video_id"),
    }
    assert check(folder).total == 5


def test_a_folder_without_the_movies_is_refused(folder: Path) -> None:
    (folder / "movies.dat").unlink()
    with pytest.raises(DataError, match=r"no movies\.dat"):
        load(folder)


def test_without_a_network_fetch_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(movielens, "urlopen", offline)
    with pytest.raises(NextreelError, match=r"no route to host.*download ml-1m\.zip .* with a browser"):
        movielens.fetch(tmp_path)


def test_an_archive_with_the_wrong_checksum_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(NextreelError, match="nothing was written"):
        movielens.unpack(b"not the archive", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_unpacking_writes_the_known_files_only_and_only_inside_the_folder(tmp_path: Path) -> None:
    data = BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in ("ml-1m/ratings.dat", "../../users.dat", "/etc/passwd", "ml-1m/script.sh"):
            archive.writestr(name, name)
    right = md5(data.getvalue(), usedforsecurity=False).hexdigest()
    movielens.unpack(data.getvalue(), tmp_path / "to", right)
    written = sorted(one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*") if one.is_file())
    assert written == ["to/ratings.dat", "to/users.dat"]


@pytest.mark.skipif(not REAL.is_dir(), reason="needs MovieLens-1M: set NEXTREEL_DATA to the folder that holds ml-1m/")
def test_the_real_movielens_has_its_published_sizes_and_splits() -> None:
    found = load(REAL)
    split = split_by_time(found.events)
    assert (len(found.events), len(found.profiles), len(found.catalogue)) == (1_000_209, 6_040, 3_883)
    assert [len(part) for part in (split.train, split.valid, split.test)] == [800_167, 100_021, 100_021]
    assert [len(np.unique(part.user)) for part in (split.train, split.valid, split.test)] == [5_400, 1_134, 1_209]
    assert np.bincount(found.events.value.astype(int))[1:].tolist() == [56_174, 107_557, 261_197, 348_971, 226_310]
    assert (np.diff(found.events.at) >= 0).all()
