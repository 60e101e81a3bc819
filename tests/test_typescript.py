"""The client in TypeScript is generated from the OpenAPI document of now, and drives a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from nextreel.cli.app import app

if TYPE_CHECKING:
    from tests.conftest import Served

FOLDER = Path(__file__).parents[1] / "clients" / "typescript"


def npm(*arguments: str, **environment: str) -> str:
    """What an npm command of the client prints."""
    command = [str(shutil.which("npm")), "--silent", *arguments]
    done = subprocess.run(  # noqa: S603  our own scripts
        command, cwd=FOLDER, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


installed = pytest.mark.skipif(
    not (FOLDER / "node_modules").is_dir(), reason="needs Node and npm: `make install-clients` installs the packages"
)


def test_the_document_is_the_one_of_the_app() -> None:
    kept = (FOLDER / "openapi.json").read_text(encoding="utf-8")
    assert kept == CliRunner().invoke(app, ["openapi"]).stdout, "Hint: `make clients` writes it anew"


def test_the_packages_are_pinned_and_no_registry_is_named() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert len(packages) > 10
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert not [name for name, one in packages.items() if "resolved" in one]
    wanted = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted


@installed
def test_the_code_is_what_the_generator_makes_of_the_document(tmp_path: Path) -> None:
    npm("run", "generate", GENERATED=str(tmp_path / "generated"))
    made = {str(one.relative_to(tmp_path)): one.read_text() for one in tmp_path.rglob("*.ts")}
    source = FOLDER / "src"
    kept = {str(one.relative_to(source)): one.read_text() for one in (source / "generated").rglob("*.ts")}
    assert made == kept, "Hint: `make clients` generates it anew"


@installed
def test_it_compiles_and_drives_a_real_server(served: Served) -> None:
    shutil.rmtree(FOLDER / "dist", ignore_errors=True)
    npm("run", "build")
    printed = npm("test", NEXTREEL_URL=served.url, NEXTREEL_API_KEY=served.key)
    assert re.search(r"pass [1-9]", printed)
    assert "fail 0" in printed
