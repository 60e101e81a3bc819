"""MovieLens-100K and latest-small: invented files in their formats, and the real ones where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.data import DataError, check, load
from nextreel.types import Kind

DATA = Path(os.environ.get("NEXTREEL_DATA", ""))
REAL_100K = DATA / "ml-100k"
REAL_LATEST = DATA / "ml-latest-small"

FILES_100K = {
    "u.data": "1\t20\t5\t300\n2\t10\t3\t200\n1\t10\t4\t300\n",
    "u.item": (
        "10|Café of Foxes, The (1999)|04-Mar-1998||http://x|0|0|1|1\n"
        "20|Untitled (1971)|||http://y|0|0|0|1\n"
        "30|Old One (1931)|4-Feb-1932|||1|0|0|0\n"
        "40|No Year|||http://z|0|1|0|0\n"
    ),
    "u.user": "1|25|F|artist|12345\n2|53|M|writer|T8H1N\n3|7|M|student|999\n",
    "u.genre": "unknown|0\nAction|1\nComedy|2\nDrama|3\n\n",
}
FILES_LATEST = {
    "ratings.csv": "userId,movieId,rating,timestamp\n7,20,4.5,300\n8,10,0.5,200\n7,10,3.0,300\n",
    "movies.csv": (
        'movieId,title,genres\n10,"Café of Foxes, The (1999)",Comedy|Drama\n20,Untitled,(no genres listed)\n'
        "30,Nobody Saw It (2001),War\n"
    ),
    "tags.csv": 'userId,movieId,tag,timestamp\n7,10,"foxes, many",900\n8,10,slow,901\n8,10,"foxes, many",902\n',
    "links.csv": "movieId,imdbId,tmdbId\n10,0114709,862\n",
}


def write(folder: Path, files: dict[str, str], coding: str) -> Path:
    for name, text in files.items():
        (folder / name).write_bytes(text.encode(coding))
    return folder


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    return write(tmp_path, FILES_100K, "latin-1")


@pytest.fixture
def latest(tmp_path: Path) -> Path:
    return write(tmp_path, FILES_LATEST, "utf-8")


def told(path: Path) -> set[tuple[str, int | None, str | None]]:
    with pytest.raises(DataError) as error:
        load(path)
    assert check(path).total == len(error.value.problems)
    return {(one.file, one.row, one.column) for one in error.value.problems}


def day(text: str) -> float:
    return float(np.datetime64(text, "s").astype(np.int64))


def test_100k_ratings_are_watches_with_the_rating_as_value(hundred: Path) -> None:
    found = load(hundred)
    assert found.events.at.tolist() == [200, 300, 300]
    assert found.events.value.tolist() == [3, 5, 4]
    assert set(found.events.kind.tolist()) == {Kind.WATCH}
    assert found.catalogue.video_ids[found.events.video].tolist() == [10, 20, 10]
    assert found.events.user_ids[found.events.user].tolist() == [2, 1, 1]


def test_100k_genres_come_from_the_flags_and_unknown_is_none(hundred: Path) -> None:
    found = load(hundred).catalogue
    assert found.texts[0] == "Café of Foxes, The (1999) Comedy Drama"
    assert found.category_names == ("Action", "Comedy", "Drama")
    assert found.category.tolist() == [1, 2, -1, 0]
    assert found.categories.tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_100k_release_date_goes_before_the_year_of_the_title(hundred: Path) -> None:
    published = load(hundred).catalogue.published_at
    assert published[:3].tolist() == [day("1998-03-04"), day("1971-01-01"), day("1932-02-04")]
    assert np.isnan(published[3])


def test_100k_people_have_age_and_gender(hundred: Path) -> None:
    assert [(one.age, one.gender) for one in load(hundred).profiles] == [(25, "F"), (53, "M"), (7, "M")]


def test_100k_bad_lines_are_told_by_file_row_and_column(hundred: Path) -> None:
    (hundred / "u.data").write_text("1\t20\t5\t300\n1\t20\t5\nx\t20\t5\t1\n1\t20\t6\t1\n1\t99\t5\t1\n9\t20\t5\t1\n")
    assert told(hundred) == {
        ("u.data", 2, None),
        ("u.data", 3, "user_id"),
        ("u.data", 4, "value"),
        ("u.data", 5, "video_id"),
        ("u.data", 6, "user_id"),
    }
    with pytest.raises(DataError) as error:
        load(hundred)
    lines = str(error.value)
    assert "u.data, row 2: expected 4 cells divided by a tab" in lines
    assert "u.data, row 4, column 'value': expected a whole number from 1 to 5, got '6'" in lines
    assert "u.data, row 5, column 'video_id': expected an id of u.item, got 99" in lines


def test_100k_bad_movies_people_and_genres_are_told(hundred: Path) -> None:
    (hundred / "u.item").write_text("10|One|yesterday|||0|0|1|1\n20|Two||||0|0|2|1\n20|Two||||0|0|1|1\n30|Three\n")
    (hundred / "u.user").write_text("1|old|F|artist|1\n2|30|M|x\n")
    assert told(hundred) == {
        ("u.item", 1, "release date"),
        ("u.item", 2, "genre Comedy"),
        ("u.item", 3, "video_id"),
        ("u.item", 4, None),
        ("u.user", 1, "age"),
        ("u.user", 2, None),
    }
    (hundred / "u.genre").write_text("unknown|0\nAction|2\nComedy|2\nDrama|3\n")
    assert ("u.genre", 2, "number") in told(hundred)


@pytest.mark.parametrize("name", sorted(FILES_100K))
def test_100k_without_a_file_is_refused_by_its_name(hundred: Path, name: str) -> None:
    (hundred / name).unlink()
    with pytest.raises(DataError, match=rf"expected u\.data, u\.item, u\.user, u\.genre, got no {name}"):
        load(hundred)


def test_latest_ratings_are_watches_and_may_be_half_stars(latest: Path) -> None:
    found = load(latest)
    assert found.events.at.tolist() == [200, 300, 300]
    assert found.events.value.tolist() == [0.5, 4.5, 3]
    assert set(found.events.kind.tolist()) == {Kind.WATCH}
    assert found.catalogue.video_ids[found.events.video].tolist() == [10, 20, 10]
    assert sorted(found.events.user_ids.tolist()) == [7, 8]


def test_latest_movies_have_genres_and_years_but_no_words_of_another_time(latest: Path) -> None:
    found = load(latest).catalogue
    assert found.texts == ["Café of Foxes, The (1999) Comedy Drama", "Untitled", "Nobody Saw It (2001) War"]
    assert found.category_names == ("Comedy", "Drama", "War")
    assert found.category.tolist() == [0, -1, 2]
    assert found.published_at[[0, 2]].tolist() == [day("1999-01-01"), day("2001-01-01")]
    assert np.isnan(found.published_at[1])


def test_latest_names_what_it_was_read_from_and_leaves_tags_aside(latest: Path) -> None:
    assert {one.name for one in load(latest).manifest.sources} == {"ratings.csv", "movies.csv"}
    (latest / "tags.csv").unlink()
    assert len(load(latest).catalogue) == 3


def test_latest_bad_rows_are_told_by_file_row_and_column(latest: Path) -> None:
    (latest / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n7,20,4.5,300\n7,20,4.5\nx,20,4,1\n7,20,5.5,1\n7,99,5,1\n7,20,,1\n"
    )
    assert told(latest) == {
        ("ratings.csv", 2, None),
        ("ratings.csv", 3, "userId"),
        ("ratings.csv", 4, "rating"),
        ("ratings.csv", 5, "movieId"),
        ("ratings.csv", 6, "rating"),
    }
    with pytest.raises(DataError, match=r"expected an id of movies\.csv, got 99"):
        load(latest)


def test_latest_ids_that_differ_in_leading_zeros_are_refused(latest: Path) -> None:
    (latest / "movies.csv").write_text("movieId,title,genres\n10,One,War\n010,One,War\n20,Two,War\n")
    assert told(latest) == {("movies.csv", 2, "movieId")}


def test_latest_bad_movies_are_told_and_not_again_for_each_of_their_ratings(latest: Path) -> None:
    (latest / "movies.csv").write_text(
        "movieId,title,genres\n10,One,Comedy\n10,Again,War\nx,Two,War\n30,,War\n40,Four\n"
    )
    assert told(latest) == {
        ("movies.csv", 2, "movieId"),
        ("movies.csv", 3, "movieId"),
        ("movies.csv", 4, "title"),
        ("movies.csv", 5, None),
    }
    (latest / "movies.csv").write_text("id,name\n10,One\n")
    assert {one.column for one in check(latest).problems} == {"video_id", "title", "genres"}


@pytest.mark.parametrize("name", ["ratings.csv", "movies.csv"])
def test_latest_without_a_file_is_refused_by_its_name(latest: Path, name: str) -> None:
    (latest / name).unlink()
    with pytest.raises(DataError, match=rf"expected ratings\.csv, movies\.csv, got no {name}"):
        load(latest)


def test_ratings_alone_stay_a_file_of_interactions(tmp_path: Path) -> None:
    write(tmp_path, {"ratings.csv": FILES_LATEST["ratings.csv"]}, "utf-8")
    assert load(tmp_path).events.value.tolist() == [0.5, 4.5, 3]


def test_a_folder_with_interactions_is_read_as_tables(latest: Path) -> None:
    (latest / "interactions.csv").write_text("user_id,video_id,timestamp\na,b,1\n")
    assert load(latest).events.user_ids.tolist() == ["a"]


def test_files_without_rows_are_refused(tmp_path: Path) -> None:
    write(tmp_path, FILES_LATEST | {"ratings.csv": "userId,movieId,rating,timestamp\n"}, "utf-8")
    assert told(tmp_path) == {("ratings.csv", None, None)}
    write(tmp_path, FILES_100K | {"u.data": ""}, "latin-1")
    assert told(tmp_path) == {("u.data", None, None)}


JUNK = st.one_of(
    st.binary(max_size=60),
    st.text(alphabet='0123456789|\t,"\n\r.xé()-', max_size=80).map(lambda text: text.encode("utf-8")),
)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(FILES_100K) + sorted(FILES_LATEST)), junk=JUNK, after=st.booleans())
def test_no_content_of_a_file_ends_in_another_error(name: str, junk: bytes, after: bool) -> None:
    files, coding = (FILES_100K, "latin-1") if name in FILES_100K else (FILES_LATEST, "utf-8")
    with TemporaryDirectory() as there:
        folder = write(Path(there), files, coding)
        old = (folder / name).read_bytes() if after else b""
        (folder / name).write_bytes(old + junk)
        report = check(folder)
        if report.ok:
            assert len(load(folder).events) == report.rows["u.data" if "u.data" in files else "ratings.csv"]


@pytest.mark.skipif(not REAL_100K.is_dir(), reason="needs MovieLens-100K: set NEXTREEL_DATA to the folder of ml-100k/")
def test_the_real_100k_has_its_published_sizes() -> None:
    found = load(REAL_100K)
    assert (len(found.events), len(found.profiles), len(found.catalogue)) == (100_000, 943, 1_682)
    assert np.bincount(found.events.value.astype(int))[1:].tolist() == [6_110, 11_370, 27_145, 34_174, 21_201]
    assert len(found.catalogue.category_names) == 18
    assert int(np.isnan(found.catalogue.published_at).sum()) == 1  # the movie called "unknown"
    assert (np.diff(found.events.at) >= 0).all()


@pytest.mark.skipif(
    not REAL_LATEST.is_dir(), reason="needs MovieLens-latest-small: set NEXTREEL_DATA to the folder of ml-latest-small/"
)
def test_the_real_latest_small_has_its_published_sizes() -> None:
    found = load(REAL_LATEST)
    sizes = (len(found.events), len(found.profiles), len(found.catalogue))
    # the set is made anew from time to time: the editions of October 2016 and September 2018
    assert sizes in {(100_004, 671, 9_125), (100_836, 610, 9_742)}
    assert (found.events.value.min(), found.events.value.max()) == (0.5, 5.0)
    assert (np.diff(found.events.at) >= 0).all()
