"""Releases on disk: published once, checked whenever they are opened, promoted and rolled back.

`root/releases/ID/` holds a release's files and its `manifest.json`; `root/stages.json` holds what was promoted and
rolled back, oldest first, and is the only file here that changes.
"""

from __future__ import annotations

import builtins
import fcntl
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

import orjson

from nextreel.backends import NotWritable
from nextreel.types import NextreelError

MANIFEST = "manifest.json"
FORMAT = 1
ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
JSON = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS

Stage: TypeAlias = Literal["candidate", "production", "retired"]


class NoSuchRelease(NextreelError):
    """The registry has no release of that id, or none in production."""


class NotInProduction(NextreelError):
    """A release that is to be rolled back is not the one in production."""


class InvalidRelease(NextreelError):
    """A folder cannot be published as it is."""


class CorruptRelease(NextreelError):
    """A release's files are not those that were published."""


@dataclass(frozen=True, slots=True)
class ReleaseInfo:
    """One line of the list of releases; `created_at` in seconds since 1970 UTC."""

    id: str
    created_at: float
    stage: Stage
    metrics: dict[str, Any]


class Registry:
    """All releases below one folder; safe for several processes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._releases = root / "releases"
        self._stages = root / "stages.json"

    def publish(
        self, folder: Path, *, metrics: Mapping[str, Any], lineage: Mapping[str, Any], created_at: float
    ) -> str:
        """The id of a new release that holds a copy of the folder's files; its stage is candidate.

        The id is the time in UTC and the start of the content's SHA-256, so publishing the same content with the same
        time again returns the release that is there. Raises `InvalidRelease` for a folder that is empty, is none, or
        holds links or a manifest of its own.
        """
        sources = _publishable(folder)
        self._releases.mkdir(parents=True, exist_ok=True)
        part = self._releases / f".{uuid.uuid4().hex}"
        try:
            files = {name: _copy(source, part / name) for name, source in sources.items()}
            manifest = {
                "format": FORMAT,
                "created_at": created_at,
                "metrics": dict(metrics),
                "lineage": dict(lineage),
                "files": files,
            }
            digest = _digest(orjson.loads(orjson.dumps(manifest, option=JSON)))
            release_id = f"{datetime.fromtimestamp(created_at, UTC):%Y%m%d-%H%M%S}-{digest[:6]}"
            manifest |= {"id": release_id, "content_sha256": digest}
            _write(part / MANIFEST, orjson.dumps(manifest, option=JSON))
            return self._settle(part, release_id)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _settle(self, part: Path, release_id: str) -> str:
        """Gives the finished folder its name in one step; a crash before it leaves no release."""
        for folder in {path.parent for path in part.rglob("*")}:
            _sync(folder)
        target = self._releases / release_id
        with self._lock():
            if target.exists():
                self.verify(release_id)
            else:
                part.rename(target)
                _sync(self._releases)
        return release_id

    def show(self, release_id: str) -> dict[str, Any]:
        """The release's manifest and its stage."""
        return self._manifest(release_id, "show") | {"stage": self._stage(release_id, self._history())}

    def path(self, release_id: str) -> Path:
        """The release's folder, unchecked."""
        return self._path(release_id, "find")

    def open(self, release_id: str | None = None) -> Path:
        """The folder of the release (by default the one in production) with every checksum verified."""
        chosen = release_id if release_id is not None else self.production()
        if chosen is None:
            raise NoSuchRelease(
                f"No release in production. Published: {self._published()}. "
                "Hint: `nextreel train` publishes and promotes one, `nextreel releases promote ID` promotes."
            )
        self.verify(chosen)
        return self.path(chosen)

    def verify(self, release_id: str) -> None:
        """Returns when the release holds exactly what was published; `CorruptRelease` names the first difference."""
        manifest = self._manifest(release_id, "verify")
        content = {key: value for key, value in manifest.items() if key not in {"id", "content_sha256"}}
        got = _digest(content)
        if got != manifest.get("content_sha256") or not release_id.endswith(got[:6]):
            raise _corrupt(release_id, MANIFEST, f"sha256 {manifest.get('content_sha256')}", f"sha256 {got}")
        folder = self._path(release_id, "verify")
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()} - {MANIFEST}
        for extra in sorted(there - set(manifest["files"])):
            raise _corrupt(release_id, extra, "no such file", "one that was never published")
        for name, want in manifest["files"].items():
            if name not in there:
                raise _corrupt(release_id, name, f"{want['bytes']} bytes", "no file")
            size = (folder / name).stat().st_size
            if size != want["bytes"]:
                raise _corrupt(release_id, name, f"{want['bytes']} bytes", f"{size} bytes")
            checksum = _checksum(folder / name)
            if checksum != want["sha256"]:
                raise _corrupt(release_id, name, f"sha256 {want['sha256']}", f"sha256 {checksum}")

    def promote(self, release_id: str, *, at: float | None = None) -> None:
        """Puts a verified release into production; `at`, seconds since 1970 UTC, is kept in the history."""
        self._path(release_id, "promote")
        self.verify(release_id)
        with self._lock():
            history = self._history()
            if _in_production(history)[-1:] != [release_id]:
                self._write_history([*history, {"action": "promote", "id": release_id, "at": at}])

    def rollback(self, *, at: float | None = None, instead_of: str | None = None) -> str:
        """The id of the release that was in production before and, verified, is again.

        Each further rollback goes one promotion further back. With `instead_of` nothing happens, and `NotInProduction`
        is raised, unless that is the release in production: who asks twice does not go back twice.
        """
        with self._lock():
            history = self._history()
            productions = _in_production(history)
            if instead_of is not None and productions[-1:] != [instead_of]:
                self._path(instead_of, "roll back")
                raise NotInProduction(
                    f"Expected the release in production to roll back, {productions[-1] if productions else 'none'}, "
                    f"got {instead_of}. Hint: it has been rolled back already, or another was promoted since."
                )
            if len(productions) < 2:
                raise NoSuchRelease(
                    f"No earlier release to roll back to. In production: {productions[-1] if productions else 'none'}. "
                    f"Published: {self._published()}. Hint: `nextreel releases promote ID` chooses any of them."
                )
            previous = productions[-2]
            self._path(previous, "roll back to")
            self.verify(previous)
            self._write_history([*history, {"action": "rollback", "id": previous, "at": at}])
        return previous

    def production(self) -> str | None:
        """The id of the release in production, None before the first promotion."""
        productions = _in_production(self._history())
        return productions[-1] if productions else None

    def history(self) -> builtins.list[dict[str, Any]]:
        """Every promotion and rollback, oldest first: action, id of the release then in production, time."""
        return self._history()

    def list(self) -> builtins.list[ReleaseInfo]:
        """All releases, oldest first."""
        history = self._history()
        manifests = [self._manifest(release_id, "list") for release_id in self._ids()]
        infos = [
            ReleaseInfo(m["id"], m["created_at"], self._stage(m["id"], history), dict(m["metrics"])) for m in manifests
        ]
        return sorted(infos, key=lambda info: (info.created_at, info.id))

    def _ids(self) -> builtins.list[str]:
        if not self._releases.is_dir():
            return []
        return sorted(path.name for path in self._releases.iterdir() if ID.fullmatch(path.name))

    def _published(self) -> str:
        return ", ".join(self._ids()) or "none"

    def _path(self, release_id: str, verb: str) -> Path:
        path = self._releases / release_id
        if not ID.fullmatch(release_id) or not path.is_dir():
            raise NoSuchRelease(f"No release {release_id!r} to {verb}. Published: {self._published()}.")
        return path

    def _manifest(self, release_id: str, verb: str) -> dict[str, Any]:
        path = self._path(release_id, verb) / MANIFEST
        try:
            manifest = orjson.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise _corrupt(release_id, MANIFEST, "a manifest", "no file") from error
        except orjson.JSONDecodeError as error:
            raise _corrupt(release_id, MANIFEST, "JSON", str(error)) from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or manifest.get("id") != release_id:
            got = {key: manifest.get(key) for key in ("format", "id")} if isinstance(manifest, dict) else manifest
            raise _corrupt(release_id, MANIFEST, f"format {FORMAT} of release {release_id}", f"{got}")
        return manifest

    def _stage(self, release_id: str, history: builtins.list[dict[str, Any]]) -> Stage:
        if _in_production(history)[-1:] == [release_id]:
            return "production"
        return "retired" if any(entry["id"] == release_id for entry in history) else "candidate"

    def _history(self) -> builtins.list[dict[str, Any]]:
        try:
            history: builtins.list[dict[str, Any]] = orjson.loads(self._stages.read_bytes())["history"]
        except FileNotFoundError:
            return []
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise CorruptRelease(
                f"Expected JSON with a 'history' in {self._stages}, got {error}. "
                "Hint: move the file away and promote a release again."
            ) from error
        return history

    def _write_history(self, history: builtins.list[dict[str, Any]]) -> None:
        part = self._root / f".{uuid.uuid4().hex}"
        _write(part, orjson.dumps({"history": history}, option=JSON))
        part.replace(self._stages)
        _sync(self._root)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One writer at a time among all processes; the system lets go of it when a process dies.

        Raises `NotWritable` where the folder can only be read.
        """
        if self._root.exists() and not os.access(self._root, os.W_OK):
            raise NotWritable(
                f"Expected a home that can be written, to keep what is in production, got {self._root}, which cannot. "
                "Hint: nextreel releases promote, where it can."
            )
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _in_production(history: list[dict[str, Any]]) -> list[str]:
    """The releases a rollback would walk back through; the last is in production.

    >>> _in_production([{"action": "promote", "id": "a"}, {"action": "promote", "id": "b"}])
    ['a', 'b']
    """
    stack: list[str] = []
    for entry in history:
        if entry["action"] == "promote":
            stack.append(entry["id"])
        else:
            stack.pop()
    return stack


def _publishable(folder: Path) -> dict[str, Path]:
    """Name below the folder -> file, in alphabetical order."""
    paths = sorted(folder.rglob("*"))
    files = {path.relative_to(folder).as_posix(): path for path in paths if not path.is_dir()}
    links = [path for path in paths if path.is_symlink()]
    if not files or links or MANIFEST in files:
        got = f"the link {links[0]}" if links else f"a {MANIFEST}" if files else "no file"
        raise InvalidRelease(
            f"Expected a folder of plain files without a {MANIFEST} at {folder}, got {got}. "
            "Hint: publish the folder that training wrote, not a release."
        )
    return files


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path) -> dict[str, Any]:
    """Checksum and size of the copy, which is on the disk and read-only."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    _sync(target)
    target.chmod(0o444)
    return {"sha256": _checksum(target), "bytes": target.stat().st_size}


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _sync(path)


def _sync(path: Path) -> None:
    """Waits until the disk has the file, or the folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _corrupt(release_id: str, name: str, expected: str, got: str) -> CorruptRelease:
    return CorruptRelease(
        f"Release {release_id} is corrupt: expected {name} with {expected}, got {got}. "
        "Hint: `nextreel releases rollback` returns to the release before; publish this one again."
    )
