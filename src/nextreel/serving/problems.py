"""Errors as people and programs can read them: one JSON shape, problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from nextreel.types import NextreelError

MEDIA_TYPE = "application/problem+json"


class Problem(NextreelError):
    """A request that cannot be answered, with its HTTP status."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def problem(status: int, detail: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """The response that tells of a problem; `more` are further members of the document."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": path,
        "request_id": structlog.contextvars.get_contextvars().get("request_id", ""),
        **more,
    }
    return Response(orjson.dumps(document), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Makes every error of the app a problem document."""
    app.add_exception_handler(Problem, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    return problem(error.status, error.detail, request.url.path, error.headers)


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return problem(error.status_code, str(error.detail), request.url.path, error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    """Names every wrong field; what was sent in it is not repeated, it may be a secret or not even text."""
    if not isinstance(error, RequestValidationError):
        raise error
    errors = [{"field": ".".join(map(str, one["loc"])), "message": str(one["msg"])} for one in error.errors()]
    detail = "; ".join(f"{one['field']}: {one['message']}" for one in errors)
    return problem(422, detail, request.url.path, errors=errors)
