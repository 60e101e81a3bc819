"""The loader: every row of a source becomes an event, or is named in the error."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextreel.data import DataError, Dataset, check, load
from nextreel.types import UNKNOWN, Kind

NEW_YEAR = 1_704_067_200.0  # 2024-01-01 UTC


def write(folder: Path, **tables: str) -> Path:
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def test_interactions_alone_make_a_data_set(tmp_path: Path) -> None:
    write(tmp_path, interactions="user_id,video_id,kind,timestamp\n1,10,watch,5\n2,11,like,3\n1,11,click,5\n")
    found = load(tmp_path)
    assert found.timed
    assert found.events.at.tolist() == [3, 5, 5]
    assert found.events.kind.tolist() == [Kind.LIKE, Kind.WATCH, Kind.CLICK]
    assert found.events.user_ids[found.events.user].tolist() == [2, 1, 1]
    assert found.catalogue.video_ids[found.events.video].tolist() == [11, 10, 11]
    assert found.catalogue.video_ids.dtype == np.int64
    assert list(found.catalogue.titles) == ["10", "11"]
    assert len(found.profiles) == len(found.events.user_ids) == 2


def test_events_of_one_moment_keep_the_order_of_the_file(tmp_path: Path) -> None:
    rows = "".join(f"1,{video},{video // 50}\n" for video in range(200))
    found = load(write(tmp_path, interactions="user_id,video_id,timestamp\n" + rows))
    assert found.catalogue.video_ids[found.events.video].tolist() == list(range(200))


def test_rows_without_timestamps_keep_their_order_and_the_manifest_says_so(tmp_path: Path) -> None:
    found = load(write(tmp_path, interactions="user_id,item_id,event,value\nb,y,like,2\na,x,watch,1\n"))
    assert not found.timed
    assert not found.manifest.timed
    assert found.manifest.start is None
    assert found.events.at.tolist() == [0, 1]
    assert found.events.value.tolist() == [2, 1]
    assert found.events.user_ids.tolist() == ["b", "a"]


def test_people_of_the_users_table_come_first_and_all_have_a_profile(tmp_path: Path) -> None:
    write(
        tmp_path,
        users="user_id,country,age,created_at\n7,DE,30,2020-01-01\n8,,,\n",
        interactions="user_id,video_id\n9,1\n7,1\n",
    )
    found = load(tmp_path)
    assert found.events.user_ids.tolist() == [7, 8, 9]
    assert found.profiles[0].country == "DE"
    assert found.profiles[0].age == 30
    assert found.profiles[0].created_at == 1_577_836_800
    assert found.profiles[1].country is found.profiles[2].country is None
    assert found.manifest.counts["users_without_profile"] == 1


def test_videos_keep_their_metadata_and_unknown_ones_are_added_and_counted(tmp_path: Path) -> None:
    write(
        tmp_path,
        videos=(
            "video_id,channel_id,title,category,child_categories,language,duration,tags,published_at,is_available,"
            "maturity_rating,description\n"
            "v1,c1,Bread,Cooking,Baking|Slow,en,60,rye|oven,2024-01-01T00:00:00Z,yes,PG-13,Good.\n"
            "v2,,,,,,,,,false,,\n"
        ),
        interactions="user_id,video_id\nu,v3\nu,v1\n",
    )
    found = load(tmp_path).catalogue
    assert found.video_ids.tolist() == ["v1", "v2", "v3"]
    assert list(found.titles) == ["Bread", "v2", "v3"]
    assert found.texts[0] == "Bread Cooking Baking Slow rye oven Good."
    assert found.category_names == ("Baking", "Cooking", "Slow")
    assert found.categories.tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert found.category.tolist() == [1, UNKNOWN, UNKNOWN]
    assert found.channel.tolist() == [0, UNKNOWN, UNKNOWN]
    assert found.channel_ids == ("c1",)
    assert found.maturity.tolist() == [13, 0, 0]
    assert found.available.tolist() == [True, False, True]
    assert found.published_at[0] == NEW_YEAR
    assert np.isnan(found.duration[1:]).all()
    assert found.rows(["v3", "nothing"]).tolist() == [2, UNKNOWN]
    assert load(tmp_path).manifest.counts["videos_without_metadata"] == 1
    assert "1 videos join the catalogue" in str(check(tmp_path))


def test_series_and_episodes_of_videos_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        videos="video_id,series,episode\nv1,show,2\nv2,,\nv3,show,1\nv4,other,\n",
        interactions="user_id,video_id\nu,v9\n",
    )
    found = load(tmp_path).catalogue
    assert found.series_ids == ("other", "show")
    assert found.series.tolist() == [1, UNKNOWN, 1, 0, UNKNOWN]
    assert found.episode.tolist() == [2, UNKNOWN, 1, UNKNOWN, UNKNOWN]
    assert found.episodes.rows.tolist() == [2, 0]
    assert found.rights is None


def test_rights_come_from_the_videos_and_from_a_table_of_their_own(tmp_path: Path) -> None:
    write(
        tmp_path,
        videos=("video_id,regions,available_from,available_until\n1,DE|at,,\n2,,2024-01-01,\n3,FR,,2024-01-01\n4,,,\n"),
        rights="video_id,region,available_from,available_until\n3,CH,2024-01-01,\n5,DE,,\n6,,,\n99,DE,,\n",
        interactions="user_id,video_id\n7,5\n7,6\n",
    )
    found = load(tmp_path)
    rows = np.arange(6)  # videos 1 to 6
    rights = found.catalogue.rights
    assert rights is not None
    assert rights.region_names == ("AT", "CH", "DE", "FR")

    def allowed(country: str | None, at: float) -> list[int]:
        return (np.flatnonzero(rights.allow(rows, country, at)) + 1).tolist()

    assert allowed(None, NEW_YEAR - 1) == [4, 6]
    assert allowed(None, NEW_YEAR) == [2, 4, 6]
    assert allowed("DE", NEW_YEAR - 1) == [1, 4, 5, 6]
    assert allowed("FR", NEW_YEAR - 1) == [3, 4, 6]
    assert allowed("FR", NEW_YEAR) == [2, 4, 6]
    assert allowed("CH", NEW_YEAR) == [2, 3, 4, 6]
    assert "1 rights are to videos that no other table names" in str(check(tmp_path))
    assert {one.name for one in found.manifest.sources} >= {"rights.csv"}
    assert found.manifest.schema["rights"]["region"] == "String"


@pytest.mark.parametrize("table", ["videos", "rights"])
def test_a_right_that_ends_before_it_begins_is_refused(table: str, tmp_path: Path) -> None:
    tables = {"interactions": "user_id,video_id\n7,1\n"}
    tables[table] = "video_id,available_from,available_until\n1,2024-01-02,2024-01-03\n2,2024-01-02,2024-01-02\n"
    with pytest.raises(DataError, match=rf"{table}.csv, row 2, column 'available_until'.*a time after available_from"):
        load(write(tmp_path, **tables))


def test_parquet_and_csv_of_one_table_make_the_same_data_set(tmp_path: Path) -> None:
    one = write(tmp_path, interactions="user_id,video_id,timestamp,watch_time\n1,2,100,7.5\n1,3,90,\n")
    (tmp_path / "p").mkdir()
    pl.read_csv(one / "interactions.csv").write_parquet(tmp_path / "p" / "interactions.parquet")
    a, b = load(one), load(tmp_path / "p")
    for name in ("user_ids", "user", "video", "at", "kind", "watch_seconds"):
        np.testing.assert_array_equal(getattr(a.events, name), getattr(b.events, name))
    assert a.manifest.version != b.manifest.version


@pytest.mark.parametrize(
    "text",
    [
        "1704067200",
        "1704067200.0",
        "1704067200000",
        "1704067200000000",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-01-01 00:00",
        "2024-01-01T00:00:00.000Z",
        "2024-01-01T02:00:00+02:00",
        "2023-12-31 19:30:00-0430",
    ],
)
def test_every_way_to_write_a_time_means_the_same_second(tmp_path: Path, text: str) -> None:
    found = load(write(tmp_path, interactions=f"user_id,video_id,timestamp\n1,2,{text}\n"))
    assert found.events.at.tolist() == [NEW_YEAR]


@pytest.mark.parametrize(
    "value",
    [
        datetime(2024, 1, 1),  # a time without a zone is what is tested
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, 5, tzinfo=timezone(timedelta(hours=5))),
        date(2024, 1, 1),
        1_704_067_200,
        1_704_067_200_000,
    ],
)  # fmt: skip
def test_typed_times_mean_the_same_second(tmp_path: Path, value: object) -> None:
    pl.DataFrame({"user_id": [1], "video_id": [2], "timestamp": [value]}).write_parquet(tmp_path / "x.parquet")
    assert load(tmp_path / "x.parquet").events.at.tolist() == [NEW_YEAR]


def test_ids_with_leading_zeros_stay_apart(tmp_path: Path) -> None:
    found = load(write(tmp_path, interactions="user_id,video_id\n007,1\n7,1\n"))
    assert found.events.user_ids.tolist() == ["007", "7"]


def test_ids_are_text_in_every_table_once_one_is_text(tmp_path: Path) -> None:
    found = load(write(tmp_path, users="user_id\n1\n", interactions="user_id,video_id\n1,5\nx,5\n"))
    assert found.events.user_ids.tolist() == ["1", "x"]
    assert found.events.user.tolist() == [0, 1]


def test_an_event_about_a_channel_has_no_video(tmp_path: Path) -> None:
    found = load(write(tmp_path, interactions="user_id,video_id,channel_id,kind\n1,,c,subscribe\n1,5,,watch\n"))
    assert found.events.video.tolist() == [UNKNOWN, 0]
    assert found.catalogue.channel_ids == ("c",)


def test_each_bad_cell_is_told_with_file_row_column_expected_and_got(tmp_path: Path) -> None:
    write(
        tmp_path,
        interactions=(
            "user_id,item_id,event,timestamp,watch_time\n1,10,watch,1,5\n2,11,liked,yesterday,5\n,12,like,2,-1\n\n"
            "3,,watch,,5\n4,13,watch,4\n5,14,watch,nan,5\n"
        ),
        users="user_id,age\n1,400\n1,20\n",
    )
    with pytest.raises(DataError) as error:
        load(tmp_path)
    told = {(one.file, one.row, one.column, one.got) for one in error.value.problems}
    assert told == {
        ("interactions.csv", 2, "event", "'liked'"),
        ("interactions.csv", 2, "timestamp", "'yesterday'"),
        ("interactions.csv", 3, "user_id", "nothing"),
        ("interactions.csv", 3, "watch_time", "'-1'"),
        ("interactions.csv", 4, "timestamp", "nothing"),
        ("interactions.csv", 4, "item_id", "nothing"),
        ("interactions.csv", 5, None, "4: '4,13,watch,4'"),
        ("interactions.csv", 6, "timestamp", "'nan'"),
        ("users.csv", 1, "age", "'400'"),
        ("users.csv", 2, "user_id", "'1'"),
    }
    report = check(tmp_path)
    assert not report.ok
    assert report.total == 10
    assert report.rows == {"users.csv": 2, "interactions.csv": 6}


def test_the_first_problems_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"{row},1,nonsense\n" for row in range(1_000))
    with pytest.raises(DataError, match="1,000 problems") as error:
        load(write(tmp_path, interactions="user_id,video_id,kind\n" + rows))
    assert [one.row for one in error.value.problems] == list(range(1, 21))
    assert "and 980 more" in str(error.value)


def test_a_missing_column_is_told_with_a_guess(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'userid'"):
        load(write(tmp_path, interactions="userid,video_id\n1,2\n"))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "header line"),
        (b"user_id,video_id\n", "at least one interaction"),
        (b"user_id,video_id\n1,\xff\n", "row 1, column 'video_id': expected text in UTF-8"),
        (b'user_id,video_id\n1,"2\n3,4\n', "quotation mark"),
        (b"user_id,user_id,video_id\n1,1,1\n", "every column once"),
        (b"user_id,video_id,item_id\n1,1,1\n", "this column once"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "interactions.csv").write_bytes(content)
    with pytest.raises(DataError, match=match):
        load(tmp_path)
    assert not check(tmp_path).ok


def test_what_is_no_source_is_refused_with_what_was_looked_for_and_found(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.parquet").write_text("hello")
    with pytest.raises(DataError, match=r"interactions.parquet, .csv or .csv.gz.*got a file that ends in '.txt'"):
        load(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="no such file or folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="a Parquet file"):
        load(tmp_path)
    (tmp_path / "broken.parquet").unlink()
    with pytest.raises(DataError, match=r"folder with notes\.txt"):
        load(tmp_path)
    (tmp_path / "interactions.csv").write_text("")
    (tmp_path / "interactions.parquet").write_text("")
    with pytest.raises(DataError, match="one file of interactions"):
        load(tmp_path)


def test_a_cut_data_set_keeps_catalogue_and_people(tmp_path: Path) -> None:
    found = load(write(tmp_path, interactions="user_id,video_id,timestamp\n1,10,1\n2,11,2\n3,12,3\n"))
    cut = found.until(2)
    assert len(cut.events) == 2
    assert cut.catalogue is found.catalogue
    assert len(cut.profiles) == 3
    assert cut.manifest.end == 2
    assert cut.manifest.version != found.manifest.version
    assert cut.manifest.version == found.until(2).manifest.version


CELLS = st.one_of(
    st.sampled_from(["1", "2", "a", "", "watch", "LIKE", "block", "2024-02-30", "2024-01-01T25:00Z", "1e400", "-1"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6),
)
NAMES = st.lists(
    st.sampled_from(["user_id", "video_id", "kind", "timestamp", "value", "watch_time", "channel_id", "junk"]),
    min_size=2,
    max_size=8,
    unique=True,
)
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def read_or_refused(path: Path) -> Dataset | None:
    """The data set, or None where a `DataError` told what is wrong; any other error passes through."""
    try:
        return load(path)
    except DataError as error:
        report = error.report
    assert report.total > 0
    assert report.problems
    return None


@QUICK
@given(NAMES, st.lists(st.lists(CELLS, min_size=2, max_size=8), max_size=8), st.booleans())
def test_no_row_of_a_csv_vanishes_uncounted(names: list[str], rows: list[list[str]], square: bool) -> None:
    if square:
        rows = [(row * 4)[: len(names)] for row in rows]
    text = io.StringIO()
    csv.writer(text).writerows([names, *rows])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "interactions.csv"
        path.write_bytes(text.getvalue().encode())
        found = read_or_refused(path)
    if found is not None:
        assert len(found.events) == len(rows)
        assert np.isfinite(found.events.at).all()
        assert found.events.video.max() < len(found.catalogue)


@QUICK
@given(st.binary(max_size=200))
def test_no_bytes_bring_the_loader_down(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        for name in ("a.csv", "a.parquet", "ratings.dat", "movies.dat", "users.dat"):
            (Path(folder) / name).write_bytes(b"user_id,video_id\n" * (name == "a.csv") + data)
        for path in (Path(folder), Path(folder) / "a.csv", Path(folder) / "a.parquet"):
            read_or_refused(path)


COLUMNS = st.sampled_from(
    [
        pl.Series([1, 2, None]),
        pl.Series([1.5, float("nan"), float("inf")]),
        pl.Series([1.0, 2.0, 3.0]),
        pl.Series([True, False, None]),
        pl.Series([[1], [2], []]),
        pl.Series([{"a": 1}, {"a": 2}, {"a": 3}]),
        pl.Series([None, None, None]),
        pl.Series([b"a", b"\xff", None]),
        pl.Series(["watch", "like", "x"], dtype=pl.Categorical),
        pl.Series([date(2024, 1, 1), None, date(1900, 1, 1)]),
        pl.Series([timedelta(1), timedelta(2), None]),
        pl.Series([2**63, 1, 2], dtype=pl.UInt64),
        pl.Series(["1", "watch", "2024-01-01"]),
        pl.Series([], dtype=pl.String).extend_constant(None, 3),
        pl.Series(["1.5", "2", None]).cast(pl.Decimal(10, 2)),
    ]
)


@QUICK
@given(st.dictionaries(st.sampled_from(["user_id", "video_id", "kind", "timestamp", "value"]), COLUMNS, min_size=1))
def test_columns_of_any_type_are_read_or_refused(columns: dict[str, pl.Series]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.parquet"
        pl.DataFrame(columns).write_parquet(path)
        found = read_or_refused(path)
    assert found is None or len(found.events) == 3


@QUICK
@given(
    st.dictionaries(
        st.sampled_from(["title", "child_categories", "tags", "duration", "is_available", "maturity_rating", "age"]),
        COLUMNS,
    )
)
def test_metadata_of_any_type_is_read_or_refused(columns: dict[str, pl.Series]) -> None:
    with TemporaryDirectory() as folder:
        pl.DataFrame({"video_id": [1, 2, 3], **columns}).write_parquet(Path(folder) / "videos.parquet")
        pl.DataFrame({"user_id": [1], "video_id": [9]}).write_parquet(Path(folder) / "interactions.parquet")
        found = read_or_refused(Path(folder))
    assert found is None or len(found.catalogue) == 4
