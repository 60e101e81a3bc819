"""Faults planted on purpose: each is told by row and column, set aside with its reason, and no row vanishes."""

from __future__ import annotations

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from nextreel.cli.app import app
from nextreel.data import DataError, Reading, Report, check, load
from nextreel.types import NextreelError

ASIDE = Reading(on_error="quarantine")
STRICT = Reading(unknown_videos="refuse", unknown_users="refuse", unknown_channels="refuse")

USERS = b"""user_id,age,created_at
u1,30,2020-01-01
u2,200,2020-01-01
u1,20,2020-01-01
,20,2020-01-01
"""
VIDEOS = b"""video_id,duration,is_available,published_at
v1,60,yes,2024-01-01
v2,-5,yes,2024-01-01
v3,60,perhaps,2024-01-01
v4,60,yes,soon
v5,inf,yes,2024-01-01
"""
EVENTS = b"""event_id,user_id,video_id,channel_id,kind,timestamp,watch_time,position
e1,u1,v1,,watch,2024-01-01T00:00:00Z,5,0
e2,u1,v1,,stare,2024-01-01T00:00:01Z,5,0
e3,,v1,,watch,2024-01-01T00:00:02Z,5,0
e4,u1,v1,,watch,the 2nd of May,5,0
e5,u1,v1,,watch,1850-01-01,5,0
e6,u1,v1,,watch,2024-01-01T00:00:05Z
e7,u1,v\xff,,watch,2024-01-01T00:00:06Z,5,0
e8,u1,v99,,watch,2024-01-01T00:00:07Z,5,0
e9,u1,v1,,subscribe,2024-01-01T00:00:08Z,,0
e1,u1,v1,,like,2024-01-01T00:00:09Z,,0
e11,u1,v1,,watch,2024-01-01T00:00:10Z,-3,0
e12,u1,v1,,watch,2024-01-01T00:00:11Z,inf,0
e13,u1,v1,,watch,2024-01-01T00:00:12Z,5,1.5
e14,u1,,,like,2024-01-01T00:00:13Z,,0
e15,u7,v1,,watch,nan,many,0
,u1,v1,,watch,2024-01-01T00:00:15+01:00,nan,3
"""


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    for name, text in (("users", USERS), ("videos", VIDEOS), ("interactions", EVENTS)):
        (tmp_path / f"{name}.csv").write_bytes(text)
    return tmp_path


def test_every_kind_of_fault_is_told_by_row_and_column(faulty: Path) -> None:
    report = check(faulty, ASIDE)
    told = {(one.file.removesuffix(".csv"), one.row, one.column) for one in report.kept}
    assert told >= {
        ("users", 2, "age"),
        ("users", 3, "user_id"),  # an id that is there twice
        ("users", 4, "user_id"),  # none at all
        ("videos", 2, "duration"),
        ("videos", 3, "is_available"),
        ("videos", 4, "published_at"),
        ("videos", 5, "duration"),
        ("interactions", 2, "kind"),
        ("interactions", 3, "user_id"),
        ("interactions", 4, "timestamp"),
        ("interactions", 5, "timestamp"),
        ("interactions", 6, None),  # too few cells
        ("interactions", 7, "video_id"),  # not UTF-8
        ("interactions", 9, "channel_id"),  # subscribed to nothing
        ("interactions", 11, "watch_time"),
        ("interactions", 12, "watch_time"),
        ("interactions", 13, "position"),
        ("interactions", 14, "video_id"),
        ("interactions", 15, "timestamp"),
        ("interactions", 15, "watch_time"),
    }
    assert report.total == 20
    assert report.repeated == {"interactions.csv": 1}
    refused = check(faulty)
    assert not refused.ok
    assert refused.total == 20
    assert not check(faulty, STRICT).ok


def test_strangers_are_faults_when_asked(faulty: Path) -> None:
    told = check(faulty, Reading(on_error="quarantine", unknown_videos="refuse", unknown_users="refuse"))
    strangers = {(one.row, one.column) for one in told.kept if one.expected.startswith("an id of")}
    assert strangers == {(7, "video_id"), (8, "video_id"), (15, "user_id")}


def test_refused_rows_are_written_with_all_reasons_and_the_rest_is_loaded(faulty: Path) -> None:
    found = load(faulty, ASIDE)
    assert len(found.events) == 3  # rows 1, 8 and 16
    assert found.manifest.counts["rows_quarantined"] == 3 + 4 + 12
    assert found.manifest.counts["repeated_events"] == 1
    assert found.catalogue.video_ids.tolist() == ["v1", "v99"]
    aside = pl.read_parquet(faulty / "quarantine" / "interactions.csv.parquet")
    assert aside["row"].to_list() == [2, 3, 4, 5, 6, 7, 9, 11, 12, 13, 14, 15]
    both = aside.row(by_predicate=pl.col("row") == 15, named=True)
    assert both["column"] == "timestamp, watch_time"
    assert both["reason"].startswith("timestamp: expected a time between 1970 and 2100")
    assert both["reason"].endswith("watch_time: expected a number of at least 0 seconds, got 'many'")
    assert both["user_id"] == "u7"
    assert aside.row(by_predicate=pl.col("row") == 6, named=True)["line"] == "e6,u1,v1,,watch,2024-01-01T00:00:05Z"
    assert aside.row(by_predicate=pl.col("row") == 7, named=True)["video_id"] == "v\\xff"
    assert any("set aside in" in warning for warning in found.manifest.warnings)


def test_mended_data_leave_no_old_quarantine(faulty: Path) -> None:
    version = load(faulty, ASIDE).manifest.version
    (faulty / "interactions.csv").write_text("user_id,video_id\nu1,v1\n")
    assert load(faulty, ASIDE).manifest.version != version
    assert sorted(one.name for one in (faulty / "quarantine").iterdir()) == ["users.csv.parquet", "videos.csv.parquet"]


def test_a_fault_of_a_whole_file_is_refused_and_nothing_is_set_aside(faulty: Path) -> None:
    (faulty / "interactions.csv").write_text("user,video_id\nu1,v1\n")
    with pytest.raises(DataError, match="column 'user_id': expected this column"):
        load(faulty, ASIDE)
    assert not any((faulty / "quarantine").glob("*"))


def test_a_folder_that_cannot_be_written_is_told(faulty: Path) -> None:
    (faulty / "quarantine").write_text("a file")
    with pytest.raises(NextreelError, match="choose another one with --quarantine"):
        load(faulty, ASIDE)
    found = load(faulty, Reading(on_error="quarantine", quarantine=faulty / "elsewhere"))
    assert len(found.events) == 3
    assert (faulty / "elsewhere" / "users.csv.parquet").is_file()


def test_rows_that_are_all_bad_make_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,video_id\n,1\n,2\n")
    with pytest.raises(DataError, match="at least one interaction, got none that could be read"):
        load(tmp_path, ASIDE)


def test_the_command_names_each_fault_and_ends_as_the_option_says(faulty: Path) -> None:
    refused = CliRunner().invoke(app, ["data", "check", str(faulty)])
    assert refused.exit_code == 2
    assert "20 problems" in refused.output
    assert "The first 20" in refused.output or "All of them" in refused.output
    aside = CliRunner().invoke(app, ["data", "check", str(faulty), "--on-error", "quarantine"])
    assert aside.exit_code == 0
    assert "12 rows quarantined" in aside.output


PARTS = ["user_id,video_id,event_id\n1,10,a\n2,10,b\n", "user_id,video_id,event_id\n1,11,b\nx,10,c\n,12,d\n"]


@pytest.mark.parametrize("end", [".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("name", ["interactions", "interactions.parquet"])
def test_parts_are_read_as_one_table_and_each_joins_the_version(tmp_path: Path, end: str, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for number, text in enumerate(PARTS):
        path = folder / f"part-{number}{end}"
        if end == ".parquet":
            pl.read_csv(text.encode(), schema_overrides={"user_id": pl.String}).write_parquet(path)
        else:
            path.write_bytes(gzip.compress(text.encode(), mtime=0) if end == ".csv.gz" else text.encode())
    (folder / "_SUCCESS").write_bytes(b"")
    (folder / ".part-0.crc").write_bytes(b"x")
    (folder / "part-2.csv").write_bytes(b"")
    found = load(tmp_path, ASIDE)
    assert found.events.user_ids[found.events.user].tolist() == ["1", "2", "x"]
    assert found.catalogue.video_ids[found.events.video].tolist() == [10, 10, 10]
    assert found.manifest.counts["rows_quarantined"] == 1
    assert found.manifest.counts["repeated_events"] == 1
    assert len(found.manifest.sources) == 3
    report = check(tmp_path)
    assert [(one.file, one.row, one.column) for one in report.problems] == [(f"{name}/part-1{end}", 3, "user_id")]


def test_parts_with_other_columns_or_folders_among_them_are_refused(tmp_path: Path) -> None:
    (tmp_path / "interactions").mkdir()
    (tmp_path / "interactions" / "a.csv").write_text("user_id,video_id,timestamp\n1,2,3\n")
    (tmp_path / "interactions" / "b.csv").write_text("user_id,video_id\n1,2\n")
    with pytest.raises(DataError, match=r"expected the columns of interactions/a\.csv"):
        load(tmp_path)
    (tmp_path / "interactions" / "day=1").mkdir()
    with pytest.raises(DataError, match="no folders, got day=1"):
        load(tmp_path)


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"user_id,video_id\n" + b"1,2\n" * 1_000)
    (tmp_path / "interactions.csv.gz").write_bytes(packed[:-12])
    with pytest.raises(DataError, match="read to its end"):
        load(tmp_path)


def test_row_numbers_hold_in_a_file_of_many_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.data.tables.PIECE", 1_000)
    monkeypatch.setattr("nextreel.data.tables._BLOCK", 2_000)
    rows = [f"{row},{row % 7},{row}" for row in range(1, 20_001)]
    rows[4_999], rows[9_999], rows[19_999] = "5000,1", ",1,10000", "20000"
    (tmp_path / "interactions.csv").write_text("user_id,video_id,timestamp\n" + "\n".join(rows) + "\n")
    report = check(tmp_path)
    assert [(one.row, one.column) for one in report.problems] == [(5_000, None), (10_000, "user_id"), (20_000, None)]
    found = load(tmp_path, ASIDE)
    assert len(found.events) == 19_997
    assert pl.read_parquet(tmp_path / "quarantine" / "*.parquet")["row"].to_list() == [5_000, 10_000, 20_000]


CELLS = st.one_of(
    st.sampled_from([b"1", b"7", b"x", b"", b"watch", b"block", b"2024-01-01", b"-1", b"nan", b"inf", b"\xff", b'"q"']),
    st.binary(max_size=5),
)
NAMES = st.permutations(["user_id", "video_id", "kind", "timestamp", "watch_time", "event_id", "position", "junk"])
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def counted(folder: Path) -> Report:
    """The report, after seeing that every row read was loaded, set aside or counted as a repetition."""
    report = check(folder, ASIDE)
    if report.ok:
        found = load(folder, ASIDE)
        names = [file for file in report.rows if file.startswith(("interactions", "ratings", "u.data"))]
        aside = sum(report.quarantined.get(name, 0) for name in names)
        repeated = sum(report.repeated.get(name, 0) for name in names)
        assert len(found.events) + aside + repeated == sum(report.rows[name] for name in names)
        assert np.isfinite(found.events.at).all()
        for file, n in report.quarantined.items():
            written = pl.read_parquet(folder / "quarantine" / f"{file}.parquet")
            assert written.height == n
            assert written["row"].is_unique().all()
            assert (written["reason"].str.len_chars() > 0).all()
    else:
        assert report.problems
    return report


@QUICK
@given(NAMES, st.integers(2, 8), st.lists(st.lists(CELLS, min_size=1, max_size=8), max_size=10), st.booleans())
def test_random_tables_lose_no_row(names: list[str], width: int, rows: list[list[bytes]], packed: bool) -> None:
    text = b"\n".join([",".join(names[:width]).encode(), *(b",".join((row * 8)[:width]) for row in rows)])
    with TemporaryDirectory() as there:
        path = Path(there) / ("interactions.csv.gz" if packed else "interactions.csv")
        path.write_bytes(gzip.compress(text) if packed else text)
        counted(Path(there))


def good(folder: Path, form: str) -> Path:
    """A file of a good data set in each of the forms that are read."""
    rows = ["user_id,video_id,kind,timestamp", *(f"u{i},{i % 5},like,{i}" for i in range(30))]
    text = ("\n".join(rows) + "\n").encode()
    if form == "parts":
        (folder / "interactions").mkdir()
        (folder / "interactions" / "a.csv").write_bytes(text)
        (folder / "interactions" / "b.csv").write_bytes(text)
        return folder / "interactions" / "b.csv"
    path = folder / f"interactions.{form}"
    if form == "parquet":
        pl.read_csv(text).write_parquet(path)
    else:
        path.write_bytes(gzip.compress(text) if form == "csv.gz" else text)
    return path


@QUICK
@given(
    st.sampled_from(["csv", "csv.gz", "parquet", "parts"]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=5),
)
def test_mutated_files_are_read_or_refused_and_lose_no_row(form: str, cuts: list[tuple[float, bytes, int]]) -> None:
    with TemporaryDirectory() as there:
        path = good(Path(there), form)
        data = path.read_bytes()
        for place, new, length in cuts:
            at = int(place * len(data))
            data = data[:at] + new + data[at + length :]
        path.write_bytes(data)
        counted(Path(there))


MOVIELENS: dict[str, dict[str, bytes]] = {
    "1m": {
        "ratings.dat": b"1::20::5::300\n2::10::3::200\n1::10::4::300\n",
        "movies.dat": b"10::Caf\xe9 (1999)::Comedy|Drama\n20::Untitled::War\n",
        "users.dat": b"1::F::25::3::12345\n2::M::1::0::999\n",
    },
    "100k": {
        "u.data": b"1\t20\t5\t300\n2\t10\t3\t200\n1\t10\t4\t300\n",
        "u.item": b"10|Foxes (1999)|04-Mar-1998||http://x|0|1\n20|Untitled (1971)|||http://y|1|0\n",
        "u.user": b"1|25|F|artist|12345\n2|53|M|writer|T8H1N\n",
        "u.genre": b"unknown|0\nDrama|1\n",
    },
    "latest-small": {
        "ratings.csv": b"userId,movieId,rating,timestamp\n7,20,4.5,300\n8,10,0.5,200\n7,10,3.0,300\n",
        "movies.csv": b"movieId,title,genres\n10,Foxes (1999),Comedy|Drama\n20,Untitled,(no genres listed)\n",
    },
}


@pytest.mark.parametrize("name", sorted(MOVIELENS))
def test_ratings_of_unknown_movies_are_refused_or_set_aside_or_kept_when_asked(tmp_path: Path, name: str) -> None:
    for file, content in MOVIELENS[name].items():
        (tmp_path / file).write_bytes(content.replace(b"1::20::5", b"1::99::5").replace(b"1\t20", b"1\t99")
                                      .replace(b"7,20", b"7,99"))  # fmt: skip
    assert [(one.row, one.got) for one in check(tmp_path).problems] == [(1, "99")]
    assert len(load(tmp_path, ASIDE).events) == 2
    kept = load(tmp_path, Reading(unknown_videos="warn"))
    assert len(kept.events) == 3
    assert any("1 videos join the catalogue" in warning for warning in kept.manifest.warnings)


@QUICK
@given(
    st.sampled_from([(name, file) for name, files in MOVIELENS.items() for file in files]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=4),
)
def test_mutated_movielens_files_are_read_or_refused_and_lose_no_row(
    where: tuple[str, str], cuts: list[tuple[float, bytes, int]]
) -> None:
    with TemporaryDirectory() as there:
        for file, data in MOVIELENS[where[0]].items():
            changed = data
            for place, new, length in cuts if file == where[1] else []:
                at = int(place * len(changed))
                changed = changed[:at] + new + changed[at + length :]
            (Path(there) / file).write_bytes(changed)
        counted(Path(there))
