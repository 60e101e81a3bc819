"""The OpenAPI document: what FastAPI knows of the routes, and what holds for every one of them.

A new route needs its docstring, its models and an entry in `examples`; the rest is written here once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from nextreel.serving.examples import EXAMPLES
from nextreel.serving.problems import MEDIA_TYPE

TAGS = [
    {"name": "recommendations", "description": "Lists for one person, and why a video is or is not in them."},
    {"name": "feedback", "description": "What people do, as it happens; the next lists reflect it."},
    {"name": "videos", "description": "Videos that come, are told anew or go while lists are answered."},
    {"name": "people", "description": "Sessions that turn out to be an account, and people who want to be forgotten."},
    {"name": "discovery", "description": "Lists of videos that are nobody's in particular."},
    {"name": "operations", "description": "What operators and their machines ask: health, metrics, releases."},
    {"name": "sagemaker", "description": "The contract of a SageMaker endpoint, for the same system."},
]
PROBLEM = {"$ref": "#/components/schemas/ProblemOut"}
TAKES_INPUT = {422: "a field is missing or wrong: `errors` names each"}
TAKES_BODY = {
    400: "the body is not text in UTF-8, or is nested too deeply",
    413: "the body is longer than MAX_BODY_BYTES",
}
NO_PATH = "nothing has this path: an id that is not the last part of one holds a slash"
ALWAYS = {500: "an error on our side; `request_id` finds its record in the logs"}
LONG = 2**53  # whole numbers from here on are not exact as floats, as which FastAPI keeps bounds


class DescribedApp(FastAPI):
    """A FastAPI app whose OpenAPI document is whole: see `described`."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = described(super().openapi())
        return self.openapi_schema


def operation_id(route: APIRoute) -> str:
    """The name of the route's function: what clients call their method."""
    return route.name


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of everything in a document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def described(document: dict[str, Any]) -> dict[str, Any]:
    """The same document with tags, summaries, examples, exact bounds and every problem that an operation can answer."""
    document["tags"] = TAGS
    for path, _, operation in operations(document):
        operation["description"] = _one_line_a_paragraph(operation.get("description", ""))
        operation["tags"] = list(dict.fromkeys(operation["tags"]))  # a router within a router repeats them
        operation["summary"] = _summary(operation["description"])
        answers = operation["responses"]
        body, takes_input = "requestBody" in operation, "parameters" in operation or "requestBody" in operation
        if "}/" in path:
            answers.setdefault("404", _problem(NO_PATH))
        possible = ALWAYS | (TAKES_INPUT if takes_input else {}) | (TAKES_BODY if body else {})
        for status, description in possible.items():
            answers[str(status)] = _problem(description)
        for answer in answers.values():
            _as_problem(answer)
        operation["responses"] = dict(sorted(answers.items()))
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own shape of a 422, which nothing here has
        schemas.pop(unused, None)
    for name, example in EXAMPLES.items():
        if name in schemas:
            schemas[name]["examples"] = [example]
    _exact(document)
    return document


def _one_line_a_paragraph(text: str) -> str:
    return "\n\n".join(re.sub(r"\s*\n\s*", " ", paragraph) for paragraph in text.strip().split("\n\n"))


def _summary(description: str) -> str:
    """The first clause, short enough for a list of operations."""
    return re.split(r"[;.](?:\s|$)", description, maxsplit=1)[0]


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": PROBLEM}}}


def _as_problem(answer: dict[str, Any]) -> None:
    """Gives an answer that is a problem document its media type; FastAPI lists all models under JSON's."""
    content = answer.get("content", {})
    if content.get("application/json", {}).get("schema") == PROBLEM:
        answer["content"] = {MEDIA_TYPE: content["application/json"]}


def _exact(part: Any) -> None:
    """Writes the bounds of 64-bit ids as the whole numbers they are: as floats the largest would be one too large."""
    for value in part.values() if isinstance(part, dict) else part:
        if isinstance(value, dict):
            if value.get("type") == "integer":
                for name, most in (("minimum", -(2**63)), ("maximum", 2**63 - 1)):
                    if abs(value.get(name, 0)) >= LONG:
                        value[name] = most
            _exact(value)
        elif isinstance(value, list):
            _exact(value)
