"""KuaiRand-Pure: invented files in its format, and the real one where it is at hand."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from nextreel.cli.data import app
from nextreel.data import DataError, Reading, check, kuairand, load
from nextreel.types import UNKNOWN, Kind, NextreelError

REAL = Path(os.environ.get("NEXTREEL_DATA", "")) / "kuairand-pure"
LOG, VIDEOS, USERS = "interactions_0425.csv.gz", "video_features_basic_pure.csv", "user_features_pure.csv.gz"
HISTORY = "user_history_to_0424.jsonl.gz"
TEXTS = {
    LOG: (
        "user_id,video_id,date,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
        "play_time_ms,duration_ms,is_rand,tab\n"
        "7,11,20220425,1650900002500,1,1,1,1,1,0,1,9500,9000,0,1\n"  # everything but hate, seen to its end
        "8,10,20220425,1650900001000,0,0,0,0,0,1,0,1200,60000,0,1\n"  # not clicked, hated
        "8,10,20220425,1650900001000,0,0,0,0,0,1,0,1200,60000,0,1\n"  # the same again
        "7,12,20220425,1650900003000,1,0,1,0,0,0,0,0,0,0,4\n"  # a video that the features do not know
    ),
    VIDEOS: (
        "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,music_id,tag\n"
        '10,500,NORMAL,2022-04-10,Kmovie,0.0,60000.0,1,"39,68"\n'
        "11,501,AD,2022-04-09,UNKNOWN,0.0,9000.0,2,3\n"
        "13,502,NORMAL,2022-04-09,Web,0.0,,2,\n"
    ),
    USERS: "user_id,user_active_degree,register_days\n7,full_active,10\n8,UNKNOWN,\n",
    HISTORY: '{"user_id":7,"history_len":2,"last_time_ms":1650812000000,"watch_seq":[10,11]}\n'
    '{"user_id":8,"history_len":1,"last_time_ms":1650812000001,"watch_seq":[10]}',
}
Change = Callable[[str, str, str], None]


def put(path: Path, text: str) -> None:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "raw"
    made.mkdir()
    for name, text in TEXTS.items():
        put(made / name, text)
    return made


@pytest.fixture
def change(folder: Path) -> Change:
    def one(name: str, old: str, new: str) -> None:
        assert old in TEXTS[name]
        put(folder / name, TEXTS[name].replace(old, new, 1))

    return one


def seconds(day: int) -> float:
    """That day of April 2022 at 16:00 UTC, which is midnight in Beijing."""
    return datetime(2022, 4, day, 16, tzinfo=UTC).timestamp()


def test_what_people_saw_before_the_log_has_the_time_of_its_last_exposure(folder: Path, tmp_path: Path) -> None:
    put(
        folder / HISTORY,
        '{"user_id":7,"history_len":9,"last_time_ms":1650812000000,"watch_seq":[10,11,10],'
        '"long_watch_seq":[13,11,10],"like_seq":[10,10,10]}\n'
        '{"user_id":8,"history_len":0,"last_time_ms":1650812000001,"watch_seq":[],"long_watch_seq":[],"like_seq":[]}\n',
    )
    made = kuairand.write(folder, tmp_path / "out", history=True)
    rows = pl.read_parquet(tmp_path / "out" / "interactions.parquet")
    before = rows.filter(pl.col("timestamp").dt.epoch("ms") == 1_650_812_000_000)
    # the newest two likes of video 10 are those of its two exposures, and its one long watch that of the newer
    assert before.select("video_id", "kind").rows() == [
        (10, "impression"), (10, "like"), (11, "impression"), (11, "watch"), (10, "impression"), (10, "watch"),
        (10, "like"),
    ]  # fmt: skip
    assert before["watch_time"].null_count() == 7
    assert rows.height == 7 + made.count("impression") - 3 + sum(made.count(kind) for kind in ("click", "complete")) + (
        made.count("watch") - 2 + made.count("like") - 2 + made.count("comment") + made.count("share")
        + made.count("subscribe") + made.count("dislike")
    )  # fmt: skip
    assert made.count("left out: watch before the listed") == made.count("left out: like before the listed") == 1
    assert made.count("left out: exposures without times") == 0
    assert rows["timestamp"].is_sorted()
    assert load(tmp_path / "out").events.at[0] == 1_650_812_000.0


def test_all_of_what_people_saw_before_the_log_comes_before_it(folder: Path, tmp_path: Path) -> None:
    later = 1_650_900_002_000  # the log begins a second earlier
    put(folder / HISTORY, f'{{"user_id":7,"last_time_ms":{later},"watch_seq":[10,11],"long_watch_seq":[11]}}\n')
    kuairand.write(folder, tmp_path / "out", history=True)
    rows = pl.read_parquet(tmp_path / "out" / "interactions.parquet")
    assert rows.head(3).select("video_id", "kind", pl.col("timestamp").dt.epoch("ms")).rows() == [
        (10, "impression", 1_650_900_000_999), (11, "impression", 1_650_900_000_999), (11, "watch", 1_650_900_000_999),
    ]  # fmt: skip
    assert rows["surface"].is_null().to_list() == [True] * 3 + [False] * (rows.height - 3)


@pytest.mark.parametrize("body", ["not json", '{"user_id":"someone"}'])
def test_histories_that_cannot_be_read_are_refused_before_anything_is_written(
    body: str, folder: Path, tmp_path: Path
) -> None:
    put(folder / HISTORY, body)
    with pytest.raises(DataError, match=r"user_history.*JSON lines with user_id, last_time_ms"):
        kuairand.write(folder, tmp_path / "out", history=True)
    assert not (tmp_path / "out" / "interactions.parquet").exists()


def test_histories_that_are_asked_for_must_be_there(folder: Path, tmp_path: Path) -> None:
    (folder / HISTORY).unlink()
    with pytest.raises(DataError, match=r"user_history_\*\.jsonl"):
        kuairand.write(folder, tmp_path / "out", history=True)


def test_an_exposure_becomes_an_event_for_each_thing_done(folder: Path, tmp_path: Path) -> None:
    kuairand.write(folder, tmp_path / "out")
    events = load(tmp_path / "out").events
    kinds = [Kind(kind).name.lower() for kind in events.kind.tolist()]
    assert kinds == [
        *["impression", "watch", "dislike"] * 2,
        *["impression", "click", "watch", "complete", "like", "comment", "share", "subscribe"],
        *["impression", "click"],
    ]
    assert np.unique(events.at).tolist() == [1_650_900_001.0, 1_650_900_002.5, 1_650_900_003.0]
    watched = events.watch_seconds[np.isin(events.kind, [Kind.WATCH, Kind.COMPLETE])]
    assert watched == pytest.approx([1.2, 1.2, 9.5, 9.5])
    assert int(np.isnan(events.watch_seconds).sum()) == len(events) - 4
    assert (events.video[events.kind == Kind.SUBSCRIBE] == UNKNOWN).all()


def test_a_follow_is_about_the_author(folder: Path, tmp_path: Path) -> None:
    kuairand.write(folder, tmp_path / "out")
    table = pl.read_parquet(tmp_path / "out" / "interactions.parquet")
    assert table.filter(kind="subscribe")["channel_id"].to_list() == [501]
    assert table.filter(pl.col("kind") != "subscribe")["channel_id"].null_count() == table.height - 1
    assert table.schema["timestamp"] == pl.Datetime("ms", "UTC")


def test_videos_and_users_keep_what_the_schema_has(folder: Path, tmp_path: Path) -> None:
    kuairand.write(folder, tmp_path / "out")
    found = load(tmp_path / "out")
    catalogue = found.catalogue
    assert catalogue.video_ids.tolist() == [10, 11, 13, 12]
    assert catalogue.duration[:2].tolist() == [60.0, 9.0]
    assert np.isnan(catalogue.duration[2:]).all()
    assert catalogue.category_names == ("3", "39", "68")
    assert catalogue.categories[0].tolist() == [0, 1, 1]
    assert [catalogue.channel_ids[code] for code in catalogue.channel[:3]] == [500, 501, 502]
    assert catalogue.published_at[0] == seconds(9)
    assert "ad" in catalogue.texts[1].split()
    assert "unknown" not in catalogue.texts[1]
    assert [one.created_at for one in found.profiles] == [seconds(27), None]


def test_every_row_is_counted(folder: Path, tmp_path: Path) -> None:
    made = kuairand.write(folder, tmp_path / "out")
    assert {one.file: one.rows for one in made.counts} == {LOG: 4, VIDEOS: 3, USERS: 2, HISTORY: 2}
    expected = {
        "impression": 4, "click": 2, "watch": 3, "complete": 1, "like": 1, "comment": 1, "share": 1, "subscribe": 1,
        "dislike": 2, "left out: follow of an unknown author": 1, "kept: repeats an earlier row": 1, "video": 3,
        "video without duration": 1, "video without tag": 1, "user": 2, "user without creation time": 1,
        "left out: exposures without times": 2,
    }  # fmt: skip
    assert {one.became: one.count for one in made.counts} == expected
    assert made.count("nothing of the kind") == 0


def test_several_logs_are_joined_and_random_exposures_left_out(folder: Path, tmp_path: Path) -> None:
    put(folder / "log_standard_4_22_to_5_08_pure.csv", TEXTS[LOG].replace(",10,", ",ten,"))
    put(folder / "log_random_4_22_to_5_08_pure.csv", TEXTS[LOG])
    made = kuairand.write(folder, tmp_path / "out")
    assert made.count("impression") == 8
    assert made.count("left out: exposures at random") == 4
    assert made.count("subscribe") == 2
    assert check(tmp_path / "out").ok


def test_the_same_files_are_written_again(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        kuairand.write(folder, tmp_path / name)
    assert load(tmp_path / "a").manifest.version == load(tmp_path / "b").manifest.version
    assert "CC BY-SA 4.0" in (tmp_path / "a" / "ATTRIBUTION.md").read_text()


@pytest.mark.parametrize(
    ("name", "old", "new", "expected", "got"),
    [
        (LOG, ",9500,", ",long,", "row 1, column 'play_time_ms': expected a number", "'long'"),
        (LOG, ",9500,", ",-1,", "a number of at least 0 milliseconds", "'-1'"),
        (LOG, "1650900001000,0", "1650900001000,2", "row 2, column 'is_click': expected true or false", "'2'"),
        (LOG, "7,12,", "7,,", "row 4, column 'video_id': expected an id", "nothing"),
        (LOG, "1650900003000", "soon", "column 'time_ms': expected a time", "'soon'"),
        (LOG, ",is_like,", ",liked,", "column 'is_like': expected this column", "'user_id'"),
        (LOG, ",0,4\n", ",0,4,5,6\n", "row 4: expected 15 cells", "17: "),
        (VIDEOS, ",tag\n", ",tags\n", "column 'tag': expected this column", "'tags'"),
        (VIDEOS, "11,501", "10,501", "row 2, column 'video_id': expected every id once", "'10'"),
        (VIDEOS, "2022-04-10", "April", "row 1, column 'upload_dt': expected a time", "'April'"),
        (USERS, "full_active,10", "full_active,ten", "row 1, column 'register_days': expected a number", "'ten'"),
    ],
)
def test_what_is_wrong_is_said(
    folder: Path, tmp_path: Path, change: Change, name: str, old: str, new: str, expected: str, got: str
) -> None:
    change(name, old, new)
    with pytest.raises(NextreelError) as raised:
        kuairand.write(folder, tmp_path / "out")
    text = str(raised.value)
    assert name in text
    assert expected in text
    assert got in text.split("expected", 1)[1]
    assert "Hint: " in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [LOG, VIDEOS, USERS])
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).unlink()
    wanted = "interactions_*.csv" if name == LOG else name.removesuffix(".gz")
    with pytest.raises(DataError, match=r"expected this file, plain or as \.gz, got a folder with") as raised:
        kuairand.write(folder, tmp_path / "out")
    assert wanted in str(raised.value)
    assert "Hint: " in str(raised.value)


@pytest.mark.parametrize("name", [LOG, HISTORY])
def test_a_cut_archive_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    with pytest.raises(DataError, match="a file that can be read to its end"):
        kuairand.write(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_log_without_rows_an_empty_file_and_no_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    put(folder / LOG, TEXTS[LOG].split("\n", 1)[0] + "\n")
    with pytest.raises(DataError, match="at least one exposure, got no rows"):
        kuairand.write(folder, tmp_path / "out")
    put(folder / LOG, "")
    with pytest.raises(DataError, match="with a header line, got"):
        kuairand.write(folder, tmp_path / "out")
    with pytest.raises(DataError, match="no such folder"):
        kuairand.write(tmp_path / "nowhere", tmp_path / "out")


def test_a_file_both_plain_and_gzipped_is_refused(folder: Path, tmp_path: Path) -> None:
    put(folder / USERS.removesuffix(".gz"), TEXTS[USERS])
    with pytest.raises(DataError, match="both plain and as"):
        kuairand.write(folder, tmp_path / "out")


def test_the_command_prints_the_counts(folder: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["import", "kuairand-pure", str(folder), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "impression" in result.output
    assert check(tmp_path / "out").ok
    assert CliRunner().invoke(app, ["import", "netflix", str(folder), "--out", str(tmp_path)]).exit_code == 2


@pytest.mark.skipif(not REAL.is_dir(), reason="NEXTREEL_DATA does not hold kuairand-pure")
def test_the_real_files_become_a_folder_without_problems(tmp_path: Path) -> None:
    made = kuairand.write(REAL, tmp_path)
    published = {
        "impression": 94_784, "click": 41_503, "like": 1_625, "comment": 220, "subscribe": 128, "share": 76,
        "dislike": 65, "video": 7_583, "user": 27_285, "left out: exposures without times": 26_469,
    }  # fmt: skip
    assert {name: made.count(name) for name in published} == published
    report = check(tmp_path)
    assert report.ok
    assert report.warnings == []
    found = load(tmp_path)
    assert len(np.unique(found.events.user)) == 21_184
    created = np.array([one.created_at for one in found.profiles], np.float64)
    assert (created[found.events.user] <= found.events.at).all()
    shown = found.events.video != UNKNOWN
    assert (found.catalogue.published_at[found.events.video[shown]] <= found.events.at[shown]).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sampled_from([LOG, VIDEOS, USERS]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=4),
)
def test_mutated_files_are_imported_or_refused_and_lose_no_exposure(
    name: str, cuts: list[tuple[float, bytes, int]]
) -> None:
    with TemporaryDirectory() as there:
        folder, out = Path(there), Path(there) / "out"
        for file in (LOG, VIDEOS, USERS):
            text = TEXTS[file].encode()
            for place, new, length in cuts if file == name else []:
                at = int(place * len(text))
                text = text[:at] + new + text[at + length :]
            (folder / file).write_bytes(gzip.compress(text) if file.endswith(".gz") else text)
        try:
            made = kuairand.write(folder, out, Reading(on_error="quarantine"))
        except NextreelError:
            return
        log = [one for one in made.counts if one.file == LOG]
        aside = sum(one.count for one in log if one.became == "quarantined")
        assert sum(one.count for one in log if one.became == "impression") + aside == log[0].rows
        assert check(out).ok
