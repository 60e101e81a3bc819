from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "sentence_transformers", "implicit", "onnx", "catboost", "pandas", "polars", "scipy", "sklearn")


@pytest.mark.parametrize(
    "module",
    [
        "nextreel.serving.app",
        "nextreel.serving.batch",
        "nextreel.serving.lambda_handler",
        "nextreel.serving.sagemaker",
        "nextreel.opening",
    ],
)
def test_what_answers_requests_loads_no_training_library(module: str) -> None:
    program = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == []


def test_the_command_line_loads_no_model_library_before_a_command_runs() -> None:
    heavy = (*HEAVY, "faiss", "onnxruntime", "pyarrow", "fastapi")
    program = f"import sys, nextreel.cli.app; print(*(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == []
