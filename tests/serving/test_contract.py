"""The app keeps to its OpenAPI document, whatever is sent to it: schemathesis over a trained release."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.types import Receive, Scope, Send

from nextreel.keys import SCOPES, ApiKey, digest
from nextreel.opening import open_system
from nextreel.serving.app import create_app, openapi_text
from nextreel.serving.current import Serving
from nextreel.settings import Settings

GIVEN = os.environ.get("CASES")
CASES = int(GIVEN or "20")  # drawn for each operation, beside the bounds of every field; `make fuzz` draws more


# fields that are right each by itself can be wrong together: a 422 that no schema foretells
TOGETHER: list[Any] = [positive_data_acceptance]
KEY = "a-key-for-everything"


class Later:
    """The app of a release, made when the tests run: their names are the operations of the document, known before."""

    app: FastAPI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the way in which ASGI is told that nothing here starts or ends with the server
            raise ValueError("the fixture opens and closes the system")
        await self.app(scope, receive, send)


later = Later()
document = schemathesis.openapi.from_dict(json.loads(openapi_text()))
document.app = later
document.config.generation.update(with_security_parameters=False)  # no drawn keys: nearly every answer would be a 401


def known(given: Any) -> Any:
    """The same with some of the drawn ids made those of the tiny world, so that more than a 404 is seen."""
    if isinstance(given, list):
        return [known(one) for one in given]
    if not isinstance(given, dict):
        return given
    swapped = {"video_id": "v1", "item_id": "v2", "channel_id": "c1", "user_id": "person-7"}
    return {
        name: swapped[name] if name in swapped and isinstance(one, str) and len(one) in {1, 2, 3} else known(one)
        for name, one in given.items()
    }


@document.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    return known(body)


@document.hook
def map_path_parameters(context: schemathesis.HookContext, path_parameters: Any) -> Any:
    return known(path_parameters)


@document.auth()
class Key:
    """A key that opens everything; schemathesis leaves it out where it looks what happens without."""

    def get(self, case: schemathesis.Case[Any], context: schemathesis.AuthContext) -> str:
        return KEY

    def set(self, case: schemathesis.Case[Any], data: str, context: schemathesis.AuthContext) -> None:
        case.headers["X-API-Key"] = data


@pytest.fixture(scope="module", autouse=True)
def system(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    home = shutil.copytree(trained, tmp_path_factory.mktemp("contract") / "home")
    serving = Serving(open_system(home, clock="end"))
    key = ApiKey("fuzz", frozenset(SCOPES), digest(KEY))
    later.app = create_app(serving, Settings(api_keys=(key,)))
    yield
    serving.close()


@document.parametrize()
@settings(max_examples=CASES, deadline=None, derandomize=GIVEN is None, suppress_health_check=list(HealthCheck))
def test_no_answer_is_outside_the_document(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(excluded_checks=TOGETHER)
