"""The audit finds what a service knows, and never calls clean what nobody judged."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / "scripts" / "audit.py"
FLAWED = {"pyyaml": "5.3", "leaky": "1.0"}


@pytest.fixture
def service() -> Iterator[Callable[[dict[str, str]], str]]:
    """Starts a service in the manner of OSV that knows flaws of these packages and versions; its URL."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def service(flawed: dict[str, str]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = asked["package"]["name"]
                ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}]
                affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}]
                told = {"vulns": [{"id": f"FLAW-{name}", "summary": "it leaks", "affected": affected}]}
                body = json.dumps(told if flawed.get(name) == asked["version"] else {}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/v1/query"

    yield service
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def audit(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Exit status and output of an audit of two packages, by the service of the URL."""
    for name, version in (("leaky", "1.0"), ("sound", "2.0")):
        about = tmp_path / "installed" / f"{name}-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def audit(url: str, *options: str) -> tuple[int, str]:
        where = ("--vulnerability-service", "osv", "--osv-url", url, "--cache-dir", str(tmp_path / "cache"))
        command = [sys.executable, str(AUDIT), "--path", str(tmp_path / "installed"), *where, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603  our own
        return done.returncode, done.stdout + done.stderr

    return audit


@pytest.mark.parametrize("options", [(), ("--strict",)])
def test_a_vulnerability_fails_and_is_told_with_its_repair(
    audit: Callable[..., tuple[int, str]], service: Callable[..., str], options: tuple[str, ...]
) -> None:
    status, said = audit(service(FLAWED), *options)
    assert status == 1
    assert "leaky 1.0: FLAW-leaky, repaired in 9.9" in said
    assert "1 of 2 audited packages have known vulnerabilities" in said


def test_what_has_no_vulnerability_passes(audit: Callable[..., tuple[int, str]], service: Callable[..., str]) -> None:
    status, said = audit(service({"pyyaml": "5.3"}), "--strict")
    assert (status, said) == (0, "0 of 2 audited packages have known vulnerabilities\n")


@pytest.mark.parametrize(("options", "status"), [((), 0), (("--strict",), 2)])
def test_a_service_out_of_reach_is_told_and_fails_where_that_was_asked_for(
    audit: Callable[..., tuple[int, str]], options: tuple[str, ...], status: int
) -> None:
    got, said = audit("http://127.0.0.1:9/v1/query", *options)
    assert got == status
    assert said.startswith("NOT AUDITED: the vulnerability service could not be asked: ")
    assert "Traceback" not in said


@pytest.mark.parametrize(("options", "status"), [((), 0), (("--strict",), 2)])
def test_a_service_that_knows_nothing_is_not_believed(
    audit: Callable[..., tuple[int, str]], service: Callable[..., str], options: tuple[str, ...], status: int
) -> None:
    got, said = audit(service({}), *options)
    assert got == status
    assert said == (
        "NOT AUDITED: the vulnerability service could not be asked: it knows no vulnerability of pyyaml==5.3\n"
    )


@pytest.mark.parametrize(("options", "status"), [((), 0), (("--strict",), 2)])
def test_a_package_that_could_not_be_judged_is_named(
    audit: Callable[..., tuple[int, str]],
    service: Callable[..., str],
    tmp_path: Path,
    options: tuple[str, ...],
    status: int,
) -> None:
    about = tmp_path / "installed" / "strange-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: of-last-week\n")
    got, said = audit(service({"pyyaml": "5.3"}), *options)
    assert got == status
    assert said.splitlines() == [
        "NOT AUDITED, unknown to the service: strange",
        "0 of 2 audited packages have known vulnerabilities",
    ]
