"""docs/api.md: every operation has a section, every command in it runs, and the answers are those of a real server.

`UPDATE_DOCS=1` writes the answers that came into the page.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextreel.serving.app import openapi_text
from nextreel.serving.openapi import operations

if TYPE_CHECKING:
    from tests.conftest import Served

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
EXAMPLE = re.compile(r"```bash\n(?P<command>.*?)```\n```http\n(?P<answer>.*?)```\n", re.DOTALL)
# `curl -s` stays quiet, for what a script goes on with; the answer of any other is shown with its head
SHOWN = 'curl() { if [[ "$1" == -s ]]; then command curl "$@"; else command curl -sS -i "$@"; fi; }\n'
MORE = "…"
WIDTH = 110


def run(command: str, served: Served) -> str:
    """The answer as the page shows it: status, media type, and the body with its longest lists cut."""
    environment = os.environ | {"URL": served.url, "KEY": served.key}
    done = subprocess.run(  # noqa: S603  our own page
        ["/bin/bash", "-euo", "pipefail", "-c", SHOWN + command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    status, *lines = head.split("\n")
    kind = next(line for line in lines if line.lower().startswith("content-type:"))
    return f"{status.strip()}\n{kind}\n\n{shortened(body, kind)}\n"


def shortened(body: str, kind: str) -> str:
    if "json" in kind:
        return pretty(cut(json.loads(body)))
    lines = body.splitlines()
    return "\n".join([*lines[:3], MORE])


def cut(value: Any) -> Any:
    if isinstance(value, list):
        return [cut(one) for one in value[:2]] + ([MORE] if len(value) > 2 else [])
    if isinstance(value, dict):
        return {name: cut(one) for name, one in value.items()}
    return value


def pretty(value: Any, indent: str = "") -> str:
    """JSON with as many things on a line as it takes."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + len(indent) <= WIDTH or not isinstance(value, dict | list):
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(name)}: {pretty(one, inner)}" for name, one in value.items()]
    else:
        lines = [inner + pretty(one, inner) for one in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([left, ",\n".join(lines), indent + right])


def shape(value: Any) -> Any:
    """What a JSON value looks like, whatever numbers and words are in it; a list is what its first element is."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def parts(answer: str) -> tuple[str, str, Any]:
    """Status, media type and shape of the body of an answer."""
    status, kind, _, body = answer.split("\n", 3)
    return status, kind, shape(json.loads(body)) if "json" in kind else bool(body)


def test_every_command_of_the_page_is_answered_as_the_page_says(served: Served) -> None:
    page = PAGE.read_text(encoding="utf-8")
    examples = list(EXAMPLE.finditer(page))
    assert len(examples) == page.count("```bash\n") > 10, "every command is followed by its answer"
    answers = [run(example["command"], served) for example in examples]
    if os.environ.get("UPDATE_DOCS"):
        remaining = iter(answers)
        PAGE.write_text(
            EXAMPLE.sub(lambda one: f"```bash\n{one['command']}```\n```http\n{next(remaining)}```\n", page),
            encoding="utf-8",
        )
        return
    for example, answer in zip(examples, answers, strict=True):
        assert parts(example["answer"]) == parts(answer), f"{example['command']}\nHint: UPDATE_DOCS=1 writes {answer}"


def test_every_operation_has_a_section_with_a_command() -> None:
    sections = re.split(r"^#+ ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    with_command = {
        operation
        for section in sections
        if "```bash\n" in section
        for operation in re.findall(r"`([A-Z]+ /[^`]*)`", section.split("\n", 1)[0])
    }
    documented = json.loads(openapi_text())
    assert with_command == {f"{method.upper()} {path}" for path, method, _ in operations(documented)}


def test_the_examples_in_python_run(served: Served, monkeypatch: Any) -> None:
    monkeypatch.setenv("NEXTREEL_API_KEY", served.key)
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert programs
    for program in programs:
        exec(compile(program.replace("http://127.0.0.1:8000", served.url), str(PAGE), "exec"), {})  # noqa: S102  our page
