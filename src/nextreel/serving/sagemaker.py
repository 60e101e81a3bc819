"""A SageMaker endpoint: `docker run IMAGE serve`, and the archive of a model that such a container is given.

The platform unpacks the archive into a folder that can only be read, calls `/ping` and `/invocations` on port 8080, and
lets in only whom it knows: there are no keys here. It stops a container by SIGTERM.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr

from nextreel.folders import whole
from nextreel.registry import Registry
from nextreel.serving import run
from nextreel.serving.app import create_app
from nextreel.settings import Settings, get_settings
from nextreel.store import state_folder
from nextreel.telemetry import configure_logging
from nextreel.types import NextreelError

MODEL_DIR = "SM_MODEL_DIR"  # where the platform's own tools say that the model lies
PLACE = Path("/opt/ml/model")  # where it lies
HOST, PORT = "0.0.0.0", 8080  # noqa: S104  the platform calls from outside the container, and nobody else can
BIND_TO_PORT = "SAGEMAKER_BIND_TO_PORT"
MEMORY = "memory://"


def main() -> None:
    """The command `serve` of the container's contract; it takes no arguments that mean anything here."""
    try:
        serve()
    except NextreelError as error:
        sys.exit(f"Error: {error}")


def serve(model: Path | None = None, host: str = HOST, port: int | None = None) -> None:
    """Serves the release of the model's folder until told to stop."""
    folder = model or Path(os.environ.get(MODEL_DIR, PLACE))
    settings = container_settings(get_settings())
    configure_logging(settings.log_level, settings.log_format)
    for name, value in run.ONE_THREAD.items():
        os.environ.setdefault(name, value)
    app = create_app(run.opened(settings, folder), settings, container=True)
    run.serve_app(app, host, _port() if port is None else port, settings)


def container_settings(settings: Settings) -> Settings:
    """The settings without keys, and with state and log in memory where no other place is named.

    Nothing that a container is asked changes a state, so that what lies in memory is never missed.
    """
    chosen = {
        "api_keys": (),
        "admin_on_loopback": False,
        "rate_limit": 0.0,  # callers cannot be told apart: all requests come from the platform
        "state_url": SecretStr(settings.shared_url or MEMORY),
        "log_url": settings.log_url or SecretStr(MEMORY),
    }
    return settings.model_copy(update=chosen)


def _port() -> int:
    """The port that the platform names where a container shares its machine with others."""
    text = os.environ.get(BIND_TO_PORT, str(PORT))
    if not text.isdecimal():
        raise NextreelError(f"Expected a number in {BIND_TO_PORT}, got {text!r}. Hint: unset it for port {PORT}.")
    return int(text)


def archive(home: Path, target: Path, release: str | None = None) -> str:
    """Writes the release (by default the one in production) and its state as a model's archive; returns its id.

    What is unpacked is a home with this release alone, in production. The same release makes the same bytes.
    """
    registry = Registry(home)
    source = registry.open(release)
    state = state_folder(home, source.name)
    for rest in state.glob("*-wal"):
        if rest.stat().st_size:
            raise NextreelError(f"Expected a state that nobody writes, got {rest}. Hint: stop the servers of {home}.")
    made_at = registry.show(source.name)["created_at"]
    with TemporaryDirectory(prefix="nextreel-model-") as folder:
        copied = Path(folder)
        shutil.copytree(source, copied / "releases" / source.name)
        shutil.copytree(state, state_folder(copied, source.name), ignore=shutil.ignore_patterns("*-wal", "*-shm"))
        Registry(copied).promote(source.name, at=made_at)  # verifies the copy
        with whole(target) as path, path.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            _pack(copied, packed, int(made_at))
    return source.name


def _pack(folder: Path, file: gzip.GzipFile, at: int) -> None:
    """Writes the folder's files as a tar archive, in the order of their names and as of one time."""

    def plain(found: tarfile.TarInfo) -> tarfile.TarInfo:
        found.uid, found.gid, found.uname, found.gname, found.mtime, found.mode = 0, 0, "", "", at, 0o644
        return found

    with tarfile.open(fileobj=file, mode="w") as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != ".lock":
                packed.add(path, path.relative_to(folder).as_posix(), filter=plain)
