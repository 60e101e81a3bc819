"""What importing the server loads."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["nextreel.serving.app", "nextreel.serving.run"])
def test_importing_the_door_loads_no_training_stack_and_no_model(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(name for name in sys.modules if '.' not in name))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()  # noqa: S603  our own code
    heavy = {"torch", "pandas", "polars", "scipy", "pyarrow", "sklearn", "catboost", "faiss", "implicit", "onnxruntime"}
    assert not heavy & set(output)
