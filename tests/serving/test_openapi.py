"""The OpenAPI document tells a person, and a generator of clients, all there is to know of every operation."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import BaseModel

from nextreel.serving import incoming, outgoing
from nextreel.serving.app import openapi_text
from nextreel.serving.examples import EXAMPLES
from nextreel.serving.openapi import operations
from nextreel.serving.problems import MEDIA_TYPE
from nextreel.serving.security import OPEN

DOCUMENT: dict[str, Any] = json.loads(openapi_text())
OPERATIONS = {f"{method.upper()} {path}": operation for path, method, operation in operations(DOCUMENT)}
MODELS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]
PROBLEM = {"schema": {"$ref": "#/components/schemas/ProblemOut"}}


def path_of(name: str) -> str:
    return name.partition(" ")[2]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_what_it_is_for(name: str) -> None:
    operation = OPERATIONS[name]
    assert 10 <= len(operation["summary"]) <= 100
    assert operation["description"].startswith(operation["summary"])
    assert "\n" not in operation["description"].replace("\n\n", "")
    assert re.fullmatch("[a-z][a-z_]*", operation["operationId"])
    assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}
    assert len(operation["tags"]) == 1


def test_no_two_operations_share_a_name_and_every_tag_is_used() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert {tag for one in OPERATIONS.values() for tag in one["tags"]} == {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(tag["description"] for tag in DOCUMENT["tags"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_status_that_an_operation_can_have_is_documented(name: str) -> None:
    operation = OPERATIONS[name]
    answers: dict[str, Any] = operation["responses"]
    expected = {"500"}
    if path_of(name) not in OPEN:
        expected |= {"401", "403", "429"}
        assert operation["security"], "a guarded operation names the header of its key"
    if "parameters" in operation or "requestBody" in operation:
        expected |= {"422"}
    if "requestBody" in operation:
        expected |= {"400", "413"}
    assert expected <= answers.keys()
    assert {status for status in ("400", "401", "403", "413", "422", "429") if status in answers} <= expected
    assert any(status.startswith("2") for status in answers)
    assert all(answer["description"] for answer in answers.values())


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_has_a_media_type_and_a_shape(name: str) -> None:
    for status, answer in OPERATIONS[name]["responses"].items():
        ((media_type, content),) = answer["content"].items()
        assert content["schema"], f"{name} {status} says nothing of its answer"
        assert (content == PROBLEM) == (media_type == MEDIA_TYPE), f"{name} {status}"
        if int(status) in {400, 401, 403, 413, 422, 429, 500}:
            assert content == PROBLEM


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_described_and_has_an_example_that_it_accepts(name: str) -> None:
    model: type[BaseModel] = getattr(incoming if name.endswith("In") else outgoing, name)
    assert MODELS[name]["description"]
    (example,) = MODELS[name]["examples"]
    assert example == EXAMPLES[name]
    assert set(example) <= set(model.model_fields)
    model.model_validate(example, strict=not name.endswith("In"))  # JSON has lists where a request holds tuples


def test_the_cursor_of_the_examples_is_one_that_a_page_may_come_with() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}\.1", EXAMPLES["RecommendationsOut"]["cursor"])


def test_no_example_is_of_a_model_that_is_gone() -> None:
    assert set(EXAMPLES) == set(MODELS)


def test_every_parameter_is_described() -> None:
    for name, operation in OPERATIONS.items():
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), f"{name}: {parameter['name']}"


def test_the_bounds_of_ids_are_the_numbers_they_are() -> None:
    (number, text) = MODELS["InvocationIn"]["properties"]["user_id"]["anyOf"]
    assert (number["minimum"], number["maximum"]) == (-(2**63), 2**63 - 1)
    assert (text["minLength"], text["maxLength"]) == (1, 256)
