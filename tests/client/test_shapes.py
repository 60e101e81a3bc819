"""What the client knows of the API is what the OpenAPI document of the server says, no more and no less."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from typing import Any, get_args

import msgspec
import pytest

from nextreel.client import AsyncClient, Client, shapes
from nextreel.serving.app import openapi_text
from nextreel.serving.openapi import operations

DOCUMENT: dict[str, Any] = json.loads(openapi_text())
MODELS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]
SHAPES: dict[str, type[msgspec.Struct]] = {
    "ContextIn": shapes.Context,
    "FiltersIn": shapes.Filters,
    "RecommendationsIn": shapes.Wanted,
    "FeedbackIn": shapes.Feedback,
    "InvocationIn": shapes.Invocation,
    "VideoOut": shapes.Video,
    "RecommendationOut": shapes.Recommendation,
    "RecommendationsOut": shapes.Recommendations,
    "SourceRankOut": shapes.SourceRank,
    "ContributionOut": shapes.Contribution,
    "WhyOut": shapes.Why,
    "VideosOut": shapes.Videos,
    "FeedbackOut": shapes.Accepted,
    "FeedbacksOut": shapes.AllAccepted,
    "InvocationItemOut": shapes.InvocationItem,
    "InvocationOut": shapes.Invoked,
    "PingOut": shapes.Status,
    "AliveOut": shapes.Status,
    "ReadyOut": shapes.Status,
    "CheckOut": shapes.Check,
    "HealthOut": shapes.Health,
    "ModelOut": shapes.Model,
    "ModelsOut": shapes.Models,
    "ServesOut": shapes.Serves,
    "FeatureOut": shapes.Feature,
    "StateOut": shapes.State,
    "FeaturesOut": shapes.Features,
    "VariantOut": shapes.Variant,
    "ExperimentOut": shapes.Experiment,
    "ExperimentsOut": shapes.Experiments,
    "VideoIn": shapes.Upload,
    "UploadedOut": shapes.Uploaded,
    "UploadsOut": shapes.Uploads,
    "WithdrawnOut": shapes.Withdrawn,
    "MergeIn": shapes.Account,
    "MergeOut": shapes.Merged,
    "ReceiptOut": shapes.Receipt,
    "ProblemOut": shapes.Problem,
}
ONLY_IN_ERRORS = {"MissingOut"}  # its one sentence is the text of the `ApiError`
OTHER_NAMES = {"recommend_alias"}  # of an operation that has a method
WHOLE = {
    "RecommendationsIn": "wanted",
    "FeedbackIn": "event",
    "VideoIn": "video",
}  # arguments that are whole bodies; others are by field
MORE = {"feedback_all", "upload_all", "pages", "send", "close", "aclose"}  # methods that are no operation of their own


def kinds(schema: dict[str, Any], names: dict[str, str]) -> set[str]:
    """What a field may hold, as sorted words; bounds are the server's to check, and answers' words are texts."""
    if "anyOf" in schema:
        return set().union(*(kinds(one, names) for one in schema["anyOf"]))
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {f"shape {names.get(name, name)}"}
    if "enum" in schema or "const" in schema:
        return {"string"}
    if schema.get("type") == "array":
        return {f"list of {'|'.join(sorted(kinds(schema['items'], names)))}"}
    if schema.get("type") == "object":
        held = schema.get("additionalProperties", True)
        return {f"dict of {'|'.join(sorted(kinds(held, names))) if isinstance(held, dict) and held else 'anything'}"}
    return {schema["type"]}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_has_the_fields_of_its_model(name: str) -> None:
    model, shape = MODELS[name], SHAPES[name]
    _, parts = msgspec.json.schema_components([shape], ref_template="#/{name}")
    ours = parts[shape.__name__]
    names = {theirs: of.__name__ for theirs, of in SHAPES.items()}
    assert {field: kinds(of, {}) for field, of in ours["properties"].items()} == {
        field: kinds(of, names) for field, of in model["properties"].items()
    }
    assert set(ours.get("required", ())) == set(model.get("required", ()))


def test_every_model_has_a_shape() -> None:
    assert set(SHAPES) | ONLY_IN_ERRORS == set(MODELS)


def test_the_kinds_of_events_are_the_servers() -> None:
    kinds_of_events = MODELS["FeedbackIn"]["properties"]["event_type"]["enum"]
    assert sorted(kinds_of_events) == sorted(get_args(shapes.EventType))


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_every_operation_has_a_method_and_every_method_an_operation(client: type) -> None:
    methods = {name for name in dir(client) if not name.startswith("_")}
    known = {operation["operationId"] for _, _, operation in operations(DOCUMENT)}
    assert known - OTHER_NAMES == methods - MORE


@pytest.mark.parametrize("name", sorted({one for one in dir(Client) if not one.startswith("_")} - MORE))
def test_a_method_takes_what_its_operation_takes(name: str) -> None:
    ((_, _, operation),) = [one for one in operations(DOCUMENT) if one[2]["operationId"] == name]
    given = set(inspect.signature(getattr(Client, name)).parameters)
    wanted = {one["name"] for one in operation.get("parameters", ())}
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        model = next(one for one in MODELS if f'schemas/{one}"' in json.dumps(schema))
        assert given - wanted in ({WHOLE.get(model)}, set(MODELS[model]["properties"]))
    else:
        assert given == wanted


def test_importing_the_client_loads_neither_the_server_nor_its_libraries() -> None:
    code = "import sys, nextreel.client; print(*sorted(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()  # noqa: S603  our own code
    heavy = {"numpy", "fastapi", "starlette", "pydantic", "orjson", "uvicorn", "pyarrow", "faiss", "onnxruntime"}
    assert not heavy & set(output)
    assert {name for name in output if name.startswith("nextreel")} <= {
        "nextreel",
        "nextreel.client",
        *(f"nextreel.client.{part}" for part in ("calls", "clients", "errors", "shapes")),
    }
