"""Where a result comes from: code, machine, libraries, memory."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess  # git alone, with fixed arguments
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = (
    "nextreel",
    "numpy",
    "torch",
    "catboost",
    "lightgbm",
    "xgboost-cpu",
    "implicit",
    "faiss-cpu",
    "onnxruntime",
    "scipy",
    "optuna",
)


def commit() -> str | None:
    """The commit of the code, with "+changes" when files differ from it; None outside a git checkout."""
    git = shutil.which("git")
    if git is None:
        return None
    here = Path(__file__).parent

    def ask(*arguments: str) -> str | None:
        done = subprocess.run([git, *arguments], cwd=here, capture_output=True, text=True, check=False)  # noqa: S603
        return done.stdout.strip() if done.returncode == 0 else None

    # an installed package may lie inside somebody else's checkout, whose commit says nothing about it
    if ask("ls-files", "--error-unmatch", "--", "../__init__.py") is None:
        return None
    head = ask("rev-parse", "HEAD")
    return f"{head}+changes" if head and ask("status", "--porcelain", "--", "..") else head


def peak_memory() -> int:
    """The most memory this process has held since it started, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def hardware() -> dict[str, Any]:
    """The machine: system, processor, cores this process may use."""
    # macOS and Windows have no affinity call
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"system": platform.system(), "processor": _processor(), "cores": cores}


def versions() -> dict[str, str]:
    """Versions of Python and of those libraries that a result depends on and that are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # an extra that is not installed had no part in the result
    return found


def _processor() -> str:
    """The processor's name as the system tells it, else its architecture."""
    about = Path("/proc/cpuinfo")
    if about.exists():
        for line in about.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
