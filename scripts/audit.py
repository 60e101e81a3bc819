"""Looks for known vulnerabilities in what is installed, and says plainly when nobody could be asked.

pip-audit asks a service on the network, which may be out of reach, or be an index that knows packages but no
vulnerabilities: then pip-audit passes over every package and calls the result clean. So the service is first asked
about a release whose vulnerability everybody knows. Only when it knows that one is the environment judged.

Exits with 1 where a vulnerability was found and with 0 otherwise; with `--strict` also with 2 where the service could
not be asked, or did not know a package.

    python scripts/audit.py --strict
"""

from __future__ import annotations

import argparse
import json
import subprocess  # pip-audit, with fixed arguments
import sys
import tempfile
from pathlib import Path
from typing import Any

KNOWN = "pyyaml==5.3"  # CVE-2020-14343
OURS = "nextreel"  # installed from its sources, and in no service
FOUND, NOT_JUDGED = 1, 2


class NotAsked(Exception):
    """The service gave no answer; the message tells why."""


def ask(service: list[str], *what: str) -> list[dict[str, Any]]:
    """What the service says of each package: its `name`, and `vulns`, or a `skip_reason` where it knows nothing."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", *service, *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError as error:
        raise NotAsked((done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]) from error
    return found


def require_knowledge(service: list[str]) -> None:
    """Returns when the service knows what everybody knows; `NotAsked` otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        (file := Path(folder) / "requirements.txt").write_text(KNOWN + "\n")
        (known,) = ask(service, "--requirement", str(file), "--no-deps", "--disable-pip")
    if not known.get("vulns"):
        raise NotAsked(known.get("skip_reason") or f"it knows no vulnerability of {KNOWN}")


def main() -> int:
    """Asks, prints and judges."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strict", action="store_true", help="exit with 2 where a package could not be judged")
    parser.add_argument("--path", help="folder of installed packages; this environment by default")
    given, service = parser.parse_known_args()  # the rest is for pip-audit: --vulnerability-service, --timeout, …
    unjudged = NOT_JUDGED if given.strict else 0
    try:
        require_knowledge(service)
        packages = ask(service, *(("--path", given.path) if given.path else ("--local",)))
    except NotAsked as error:
        print(f"NOT AUDITED: the vulnerability service could not be asked: {error}")
        return unjudged
    passed_over = sorted(one["name"] for one in packages if "skip_reason" in one and one["name"] != OURS)
    vulnerable = [one for one in packages if one.get("vulns")]
    for one in vulnerable:
        for flaw in one["vulns"]:
            fixed = ", ".join(flaw["fix_versions"]) or "no version yet"
            print(f"{one['name']} {one['version']}: {flaw['id']}, repaired in {fixed}")
    if passed_over:
        print(f"NOT AUDITED, unknown to the service: {', '.join(passed_over)}")
    print(f"{len(vulnerable)} of {len(packages) - len(passed_over)} audited packages have known vulnerabilities")
    return FOUND if vulnerable else unjudged if passed_over else 0


if __name__ == "__main__":
    sys.exit(main())
