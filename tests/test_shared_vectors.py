"""A trained release whose vectors are searched in Milvus: by milvus-lite, as a server that several systems ask."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from nextreel.cli import options
from nextreel.opening import open_system
from nextreel.retrieval.live_index import RemoteView
from nextreel.retrieval.milvus import ANSWER_WITHIN, MilvusIndex, SharedVectors, open_milvus, open_shared
from nextreel.settings import get_settings
from nextreel.system import System
from nextreel.types import FloatArray, NextreelError, Request, VideoId
from nextreel.uploads import Upload

pytest.importorskip("milvus_lite")

PEOPLE = (None, "person-7", "person-8", "person-30")


class Server:
    """A Milvus server in a process of its own, which can be stopped and started again over the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"milvus://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(self._folder / "data")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, "--port", str(self.port)], stdout=log, stderr=log)  # noqa: S603
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"Milvus did not start:\n{(self._folder / 'log').read_text()}") from None
                time.sleep(0.05)
            else:
                return

    def pause(self) -> None:
        """From now on connections stand, and nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("milvus"))
    yield server
    server.stop()


@pytest.fixture
def url(running: Server, request: pytest.FixtureRequest) -> str:
    """Where each test has collections of its own."""
    return f"{running.url}/{request.node.name}"


@pytest.fixture
def opened(home: Path) -> Iterator[Callable[[str | None], System]]:
    """Opens systems on one home that search their vectors at a URL, or in their own index."""
    systems: list[System] = []

    def opened(url: str | None) -> System:
        systems.append(open_system(home, clock="end", vectors_url=url))
        return systems[-1]

    yield opened
    for system in systems:
        system.close()


def shared(system: System) -> SharedVectors:
    vectors = system._growing.vectors
    assert vectors is not None
    return vectors


def proposed(system: System, user_id: str | None, n: int = 40) -> tuple[list[int], FloatArray]:
    """Rows that the towers propose to a person, best first, and their scores."""
    system.follow()
    recommender = system.recommender
    (towers,) = (source.retriever for source in recommender.sources if source.retriever.name == "two_tower")
    request = Request(user_id, system.data_end, 10)
    rows, scores = towers.retrieve(request, recommender.store.user(user_id), n)
    return rows.tolist(), scores


def listed(system: System, user_id: str | None = "person-7") -> list[VideoId]:
    """All videos that a list so long may hold."""
    slate = system.recommend(Request(user_id, system.data_end, len(system.catalogue)))
    assert (slate.level, slate.trace.failures) == ("full", {})
    return slate.video_ids


def nearest(system: System, row: int, k: int = 30) -> list[int]:
    towers = system._growing.models.two_tower
    assert towers is not None
    found: list[int] = towers.similar(row, k)[0].tolist()
    return found


def same(one: System, other: System) -> None:
    """Both propose the same videos to everybody, with the same scores, and find the same ones near a video."""
    for user_id in PEOPLE:
        (rows, scores), (expected, those) = proposed(one, user_id), proposed(other, user_id)
        assert rows == expected
        assert scores == pytest.approx(those, abs=1e-5)
        assert listed(one, user_id) == listed(other, user_id)
    assert nearest(one, 3) == nearest(other, 3)


def test_candidates_are_those_of_the_own_index(opened: Callable[[str | None], System], url: str) -> None:
    there, here = opened(url), opened(None)
    towers = there._growing.models.two_tower
    assert towers is not None
    assert isinstance(towers.live, RemoteView)
    assert here._growing.vectors is None
    same(there, here)


def test_uploads_updates_and_withdrawals_are_seen_by_all_systems(
    opened: Callable[[str | None], System], url: str
) -> None:
    first, second, plain = opened(url), opened(url), opened(None)
    names = first.catalogue.category_names
    first.upload([Upload(video_id=f"new {n}", category=names[n], title=f"New {n}") for n in range(3)])
    ids = first.catalogue.video_ids
    first.withdraw(ids[5])
    second.upload([Upload(video_id=ids[9], category=names[1], title="Told anew"), Upload(video_id="last")])
    second.withdraw("new 1")
    time.sleep(0.11)
    for system in first, second:
        same(system, plain)
        assert len(shared(system).index) == len(system.catalogue) - 2  # all but the two that were withdrawn
    first.upload([Upload(video_id=ids[5])])  # there again
    time.sleep(0.11)
    same(second, plain)
    same(opened(url), plain)  # a system that starts now


def test_a_search_of_a_system_that_is_behind_knows_only_its_own_rows(
    opened: Callable[[str | None], System], url: str
) -> None:
    ahead, behind = opened(url), opened(url)
    before = behind.recommender
    size = len(before.catalogue)
    ahead.upload([Upload(video_id=f"new {n}") for n in range(5)])
    (towers,) = (source.retriever for source in before.sources if source.retriever.name == "two_tower")
    rows, _ = towers.retrieve(Request(None, behind.data_end, 10), before.store.user(None), size)
    assert sorted(rows.tolist()) == list(range(size))
    vector = ahead._growing.models.two_tower.vectors[size]  # type: ignore[union-attr]
    assert shared(behind).search(vector, 5, None, size + 5)[0].max() >= size  # the new ones are nearest, and are there
    assert shared(behind).search(vector, 5, None, size)[0].max() < size


def test_a_row_that_only_this_system_knows_as_withdrawn_is_not_found(
    opened: Callable[[str | None], System], url: str
) -> None:
    system = opened(url)
    row = nearest(system, 3)[0]
    system.withdraw(system.catalogue.video_ids[row])
    vectors = system._growing.models.two_tower.vectors  # type: ignore[union-attr]
    late = SharedVectors(open_milvus(url, vectors.shape[1], system.release))
    late.tell(np.array([row], np.int32), vectors[[row]], np.array([True]))  # somebody slow, of a change before
    assert row in late.search(vectors[3], 5, None, len(vectors))[0]
    assert row not in nearest(system, 3)


def test_systems_that_fill_at_once_end_with_the_release(
    opened: Callable[[str | None], System], url: str, home: Path
) -> None:
    vectors = opened(None)._growing.models.two_tower.vectors  # type: ignore[union-attr]
    with ThreadPoolExecutor(3) as pool:
        filled = list(pool.map(lambda _: open_shared(url, "a release", vectors), range(3)))
    assert all(one.index.collection.endswith("_a_release") for one in filled)
    for one in filled:
        assert one.index.count("") == len(one.index) == len(vectors)
        one.close()


def test_a_collection_that_was_left_half_filled_is_filled(opened: Callable[[str | None], System], url: str) -> None:
    plain = opened(None)
    vectors = plain._growing.models.two_tower.vectors  # type: ignore[union-attr]
    with closing(open_milvus(url, vectors.shape[1], plain.release)) as half:
        half.put(np.arange(40), vectors[:40], np.ones(40, np.bool_))
        half.put(np.array([10_000]), vectors[:1], np.ones(1, np.bool_))  # an upload, which is none of the release's
    same(opened(url), plain)


def test_a_collection_that_is_full_is_not_written_again(
    opened: Callable[[str | None], System], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(url)

    def put(*_: object) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr(MilvusIndex, "put", put)
    opened(url)


def test_releases_have_collections_of_their_own(running: Server, url: str) -> None:
    one = open_shared(url, "20260101-000000-abc123", np.eye(4, dtype=np.float32))
    other = open_shared(url, "20260101-000000-def456", np.eye(3, dtype=np.float32))
    assert one.index.collection == f"{url.rsplit('/', 1)[1]}_20260101_000000_abc123"
    assert (len(one.index), len(other.index)) == (4, 3)


def test_a_server_that_fails_is_done_without_until_it_is_back(
    opened: Callable[[str | None], System], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nextreel.retrieval.milvus.AGAIN_AFTER", 0.2)
    server = Server(tmp_path)
    system, plain = opened(server.url), opened(None)
    try:
        assert {name: status for name, status, _ in system.health()}["vectors"] == "healthy"
        server.stop()
        started = time.monotonic()
        slate = system.recommend(Request("person-7", system.data_end, 10))
        assert time.monotonic() - started < 3
        assert len(slate.video_ids) == 10
        assert "Expected Milvus to answer" in slate.trace.failures["two_tower"]
        assert "two_tower" not in slate.trace.proposed
        health = {name: status for name, status, _ in system.health()}
        assert (health["vectors"], health["pipeline"]) == ("degraded", "healthy")
        system.upload([Upload(video_id="new", category=system.catalogue.category_names[0])])  # known all the same
        assert "new" in system.recommender.catalogue.row_of
        assert system.similar(
            system.catalogue.video_ids[3], Request(None, system.data_end, 5)
        )  # what the same people watched
        server.start()
        deadline = time.monotonic() + 30
        while not shared(system).up_to_date():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        same(system, plain)
        assert len(shared(system).index) == len(system.catalogue)  # the upload too
    finally:
        server.stop()


def test_a_server_that_does_not_answer_is_waited_for_a_second_and_not_again_at_once(
    opened: Callable[[str | None], System], tmp_path: Path
) -> None:
    server = Server(tmp_path)
    system = opened(server.url)
    try:
        server.pause()
        waited = []
        for _ in range(2):
            started = time.monotonic()
            slate = system.recommend(Request("person-7", system.data_end, 10))
            waited.append(time.monotonic() - started)
            assert len(slate.video_ids) == 10
            assert "two_tower" in slate.trace.failures
        assert ANSWER_WITHIN * 0.9 < waited[0] < ANSWER_WITHIN + 2
        assert waited[1] < ANSWER_WITHIN * 0.9
        server.resume()
        deadline = time.monotonic() + 30
        while not shared(system).up_to_date():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert listed(system)
    finally:
        server.resume()
        server.stop()


def test_a_release_does_not_open_without_the_milvus_it_is_told_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.retrieval.milvus.TIMEOUT", 0.5)
    with pytest.raises(NextreelError, match=r"Expected Milvus at http://127.0.0.1:1; .*Hint"):
        open_system(home, clock="end", vectors_url="milvus://127.0.0.1:1")


def test_commands_search_where_the_settings_say(home: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECTORS_URL", url)
    get_settings.cache_clear()
    try:
        with options.opened(home) as system:
            assert len(shared(system).index) == len(system.catalogue)
    finally:
        get_settings.cache_clear()


def test_a_file_of_milvus_lite_serves_one_process(opened: Callable[[str | None], System], tmp_path: Path) -> None:
    same(opened(str(tmp_path / "milvus.db")), opened(None))
