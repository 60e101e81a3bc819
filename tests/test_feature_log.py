"""The feature log: what was added is read again, whatever happens to the end of a file, a disk or a queue."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextreel import feature_log
from nextreel.feature_log import MOVED, FeatureLog, Heading, Seen, UnreadableFeatureLog, open_files, scan, writer_id
from nextreel.types import NextreelError, Request, UserState

COLUMNS = ("score_als", "plays", "share_7d")
FULL = Request(
    "ann", 1.5, 7, "id-1", "session", "phone", "NL", ("news",), ("en",), 12, ("v1", 2), variant="b", seed=3
)  # every field differs from its default


def heading() -> Heading:
    return Heading("r1", COLUMNS, ("relevance",), "f" * 16, writer_id())


def seen(request: Request = FULL, n: int = 4, counted: int = 5) -> Seen:
    values = np.arange(3 * n, dtype=np.float32).reshape(3, n) / np.float32(3)
    values[2, :1] = np.nan
    ids = np.array(["v1", 2, "v3", "v4"], object)[:n]
    return Seen(request, UserState("ann", version=9, offset=4), counted, ids, values.T, np.ones((n, 1), np.float32))


def written(folder: Path, many: int, **options: Any) -> FeatureLog:
    """A log of so many answers, of which the i-th has the counters at i; closed."""
    kept = FeatureLog(folder, heading(), **options)
    for counted in range(many):
        kept.add(seen(counted=counted))
    kept.close()
    return kept


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_an_answer_is_read_as_it_was_added(tmp_path: Path) -> None:
    written(tmp_path, 3)
    (file,) = open_files(tmp_path)
    assert file.heading is not None
    assert (file.heading.release, file.heading.columns, file.lost) == ("r1", COLUMNS, 0)
    assert [counted for counted, _ in file.answers] == [0, 1, 2]
    served = file.read(file.answers[1][1])
    assert served.request == FULL
    assert (served.user_offset, served.user_version, served.counted, served.dropped) == (4, 9, 1, 0)
    assert served.video_ids == ("v1", 2, "v3", "v4")
    values, scores = served.matrix(file.heading)
    np.testing.assert_array_equal(values, seen().values)
    np.testing.assert_array_equal(scores, np.ones((4, 1)))


def test_a_single_file_is_a_log_too(tmp_path: Path) -> None:
    written(tmp_path, 2)
    assert [len(file.answers) for file in open_files(only(tmp_path))] == [2]


def test_an_answer_without_candidates_can_be_kept(tmp_path: Path) -> None:
    kept = FeatureLog(tmp_path, heading())
    kept.add(seen(n=0))
    kept.close()
    (file,) = open_files(tmp_path)
    assert file.heading is not None
    assert file.read(file.answers[0][1]).matrix(file.heading)[0].shape == (0, 3)


def test_a_file_that_ends_anywhere_keeps_its_whole_answers_and_tells_the_rest(tmp_path: Path) -> None:
    written(tmp_path / "whole", 3)
    content = only(tmp_path / "whole").read_bytes()
    whole = scan(only(tmp_path / "whole"))
    ends = [*(position for _, position in whole.answers[1:]), len(content)]
    first = whole.answers[0][1]
    cut = tmp_path / "cut.features"
    for size in range(len(content)):
        cut.write_bytes(content[:size])
        file = scan(cut)
        complete = sum(end <= size for end in ends)
        assert len(file.answers) == complete
        assert (file.heading is None) == (size < first)
        assert file.lost == (size - (first if complete == 0 else ends[complete - 1]) if size >= first else size)
        assert [file.read(position).counted for _, position in file.answers] == list(range(complete))


@pytest.mark.parametrize("rest", [b"\0" * 500, b"\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0hello"])
def test_a_tail_of_other_bytes_is_told_and_left_out(tmp_path: Path, rest: bytes) -> None:
    written(tmp_path, 2)
    with only(tmp_path).open("ab") as file:
        file.write(rest)
    (found,) = open_files(tmp_path)
    assert (len(found.answers), found.lost) == (2, len(rest))


def test_damage_in_the_middle_is_an_error_that_says_where(tmp_path: Path) -> None:
    written(tmp_path, 3)
    path = only(tmp_path)
    position = scan(path).answers[1][1]
    content = bytearray(path.read_bytes())
    content[position + 40] ^= 1
    path.write_bytes(bytes(content))
    file = scan(path)
    assert file.read(file.answers[0][1]).counted == 0
    with pytest.raises(UnreadableFeatureLog, match=f"at byte {position} of .*damaged"):
        file.read(position)


def test_what_is_no_feature_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello, this is text")
    with pytest.raises(UnreadableFeatureLog, match=r"starts with .*nextreel features 1.*got b'hello"):
        open_files(tmp_path / "notes.txt")
    with pytest.raises(UnreadableFeatureLog, match="found none"):
        open_files(tmp_path)
    with pytest.raises(UnreadableFeatureLog, match="found none"):
        open_files(tmp_path / "nothing")


def test_a_file_that_has_grown_is_followed_by_the_next(tmp_path: Path) -> None:
    written(tmp_path, 10, roll_bytes=1_000)
    files = open_files(tmp_path)
    assert len(files) > 2
    assert [file.heading.number for file in files if file.heading] == list(range(len(files)))
    assert len({file.heading.writer for file in files if file.heading}) == 1
    assert [counted for file in files for counted, _ in file.answers] == list(range(10))
    assert all(file.path.stat().st_size < 1_600 for file in files)


def test_what_comes_while_the_queue_is_full_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, inside = threading.Event(), threading.Event()
    real = feature_log.encode

    def slow(one: Seen, dropped: int) -> Any:
        inside.set()
        go.wait(10)
        return real(one, dropped)

    monkeypatch.setattr(feature_log, "encode", slow)
    kept = FeatureLog(tmp_path, heading(), waiting=2)
    kept.add(seen(counted=0))
    inside.wait(10)  # the first is with the writer, two more may wait
    for counted in range(1, 6):
        kept.add(seen(counted=counted))
    assert kept.dropped == 3
    go.set()
    kept.close()
    (file,) = open_files(tmp_path)
    assert [counted for counted, _ in file.answers] == [0, 1, 2]
    assert file.read(file.answers[-1][1]).dropped == 3


def test_a_failed_write_drops_one_answer_and_the_next_file_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = FeatureLog(tmp_path, heading())
    put = feature_log._put
    fails = iter([True, False, False])

    def full_disk(file: Any, content: bytes) -> None:
        put(file, content[: len(content) // 2] if (failing := next(fails)) else content)
        if failing:
            raise OSError("no space left on device")

    monkeypatch.setattr(feature_log, "_put", full_disk)
    kept.add(seen(counted=1))
    kept.add(seen(counted=2))
    kept.close()
    first, second = open_files(tmp_path)
    assert (len(first.answers), first.lost > 0) == (0, True)
    assert [counted for counted, _ in second.answers] == [2]
    assert kept.dropped == second.read(second.answers[0][1]).dropped == 1


def test_a_request_that_cannot_be_written_is_dropped_alone(tmp_path: Path) -> None:
    kept = FeatureLog(tmp_path, heading())
    as_in_a_column: Any = np.int64(7)
    kept.add(seen(Request(2**70, 1.0)))
    kept.add(seen(Request(as_in_a_column, 1.0)))
    kept.close()
    (file,) = open_files(tmp_path)
    assert [file.read(position).request.user_id for _, position in file.answers] == [7]
    assert kept.dropped == 1


def test_what_comes_after_the_end_is_dropped(tmp_path: Path) -> None:
    kept = written(tmp_path, 1)
    kept.add(seen())
    kept.close()
    assert kept.dropped == 1


def test_a_share_of_the_requests_is_taken_the_same_in_every_process(tmp_path: Path) -> None:
    requests = [Request(None, 0.0, request_id=f"request-{number}") for number in range(4_000)]
    first, second = (FeatureLog(tmp_path / name, heading(), share=0.25) for name in "ab")
    taken = [first.takes(request) for request in requests]
    assert taken == [second.takes(request) for request in requests]
    assert sum(taken) == pytest.approx(1_000, rel=0.1)
    whole = FeatureLog(tmp_path / "c", heading(), share=1.0)
    assert all(whole.takes(request) for request in requests)
    for kept in (first, second, whole):
        kept.close()


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(NextreelError, match="share of requests above 0"):
        FeatureLog(tmp_path, heading(), share)


def test_a_folder_that_cannot_be_written_to_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NextreelError, match="folder for the feature log"):
        FeatureLog(tmp_path / "file", heading())


def test_answers_of_many_threads_are_all_kept(tmp_path: Path) -> None:
    kept = FeatureLog(tmp_path, heading(), roll_bytes=5_000, waiting=1_000)

    def busy(number: int) -> None:
        for i in range(100):
            kept.add(seen(counted=100 * number + i))

    threads = [threading.Thread(target=busy, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept.close()
    found = [counted for file in open_files(tmp_path) for counted, _ in file.answers]
    assert sorted(found) == list(range(400))
    assert kept.dropped == 0


def test_an_answer_whose_counters_moved_is_marked(tmp_path: Path) -> None:
    kept = FeatureLog(tmp_path, heading())
    kept.add(seen(counted=MOVED))
    kept.close()
    (file,) = open_files(tmp_path)
    assert file.answers[0][0] == MOVED
