"""Events of API Gateway and Function URLs as requests, and answers as they want them.

Three services call a function with two payloads. REST APIs send payload 1 without a `version`, HTTP APIs payload 1.0 or
2.0, Function URLs payload 2.0. HTTP APIs have decoded the path, the others have not; to decode it twice would make
another id of one that holds a percent sign.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, unquote, urlencode

from starlette.types import Scope

from nextreel.types import NextreelError

Payload: TypeAlias = Literal[1, 2]
RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]

_FUNCTION_URL = ".lambda-url."  # in the domain of every Function URL
_NO_STAGE = "$default"  # the stage that adds nothing to the path


class InvalidEvent(NextreelError):
    """The function was called with something that is no HTTP request."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One HTTP request, as ASGI has it, and the payload that the answer must have."""

    scope: Scope
    body: bytes
    payload: Payload


def read(event: Any, base_path: str = "") -> Asked:
    """The request of the event; `base_path` is what a custom domain puts before the paths. `InvalidEvent` otherwise."""
    payload = payload_of(event)
    try:
        return Asked(_scope(event, payload, base_path), _body(event), payload)
    except binascii.Error as error:
        raise InvalidEvent(f"Expected base64 in the body, got something else: {error}.") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidEvent(
            f"Expected an event of API Gateway or a Function URL, got another: {type(error).__name__}: {error}."
        ) from error


def payload_of(event: Any) -> Payload:
    """The version of the event's payload. Raises `InvalidEvent` for one of another service.

    >>> payload_of({"version": "2.0", "requestContext": {"http": {}}})
    2
    """
    told = event if isinstance(event, dict) else {}
    about = told.get("requestContext")
    if isinstance(about, dict) and told.get("version") == "2.0" and "http" in about:
        return 2
    if isinstance(about, dict) and "httpMethod" in told and "elb" not in about:  # a load balancer's differs
        return 1
    got = ", ".join(sorted(told)) or f"an empty {type(event).__name__}"
    raise InvalidEvent(f"Expected an event of API Gateway (payload 1.0 or 2.0) or of a Function URL, got {got}.")


def answer(payload: Payload, status: int, headers: RawHeaders, body: bytes) -> dict[str, Any]:
    """The answer in the payload's own shape; what is no text goes as base64.

    >>> answer(2, 200, [(b"content-type", b"text/plain")], b"yes")
    {'statusCode': 200, 'headers': {'content-type': 'text/plain'}, 'body': 'yes', 'isBase64Encoded': False}
    """
    named: dict[str, list[str]] = {}
    for name, value in headers:
        named.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    told: dict[str, Any] = {"statusCode": status}
    if payload == 1:
        told["headers"] = {name: values[0] for name, values in named.items() if len(values) == 1}
        told["multiValueHeaders"] = {name: values for name, values in named.items() if len(values) > 1}
    else:
        cookies = named.pop("set-cookie", [])
        told["headers"] = {name: ", ".join(values) for name, values in named.items()}
        if cookies:
            told["cookies"] = cookies
    try:
        return told | {"body": body.decode(), "isBase64Encoded": False}
    except UnicodeDecodeError:
        return told | {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def _scope(event: Mapping[str, Any], payload: Payload, base_path: str) -> Scope:
    about = event["requestContext"]
    if payload == 1:
        method, address = event["httpMethod"], (about.get("identity") or {}).get("sourceIp")
        headers, query = _headers(event), _query(event)
    else:
        method, address = about["http"]["method"], about["http"].get("sourceIp")
        headers, query = list((event.get("headers") or {}).items()), event.get("rawQueryString") or ""
        if event.get("cookies"):
            headers.append(("cookie", "; ".join(event["cookies"])))
    path, raw_path = _path(event, payload, base_path)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method.upper(),
        "scheme": "https",  # all of them speak nothing else
        "path": path,
        "raw_path": raw_path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": (address, 0) if address else None,
        "server": (about.get("domainName") or "lambda", 443),
    }


def _body(event: Mapping[str, Any]) -> bytes:
    body: str = event.get("body") or ""
    return base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()


def _path(event: Mapping[str, Any], payload: Payload, base_path: str) -> tuple[str, str]:
    """The path as the app knows it, and the same with its signs escaped."""
    about = event["requestContext"]
    given = event["rawPath"] if payload == 2 else event["path"]
    http_api = event.get("version") == "1.0" or (payload == 2 and _FUNCTION_URL not in about.get("domainName", ""))
    stage = about.get("stage") or _NO_STAGE
    # a REST API tells the path without its stage, unless a custom domain has a base path; then both paths are the same
    if stage != _NO_STAGE and (http_api or given == about.get("path")):
        given = _without(given, stage)
    given = _without(given, base_path)
    return (given, quote(given)) if http_api else (unquote(given), given)


def _without(path: str, first: str) -> str:
    """The path without its first parts, where they are these.

    >>> _without("/prod/health", "prod"), _without("/products/7", "prod"), _without("/prod", "/prod/")
    ('/health', '/products/7', '/')
    """
    prefix = "/" + first.strip("/")
    if prefix != "/" and (path + "/").startswith(prefix + "/"):
        path = path[len(prefix) :]
    return path or "/"


def _headers(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    many = event.get("multiValueHeaders")
    return _pairs(many) if many else list((event.get("headers") or {}).items())


def _query(event: Mapping[str, Any]) -> str:
    """The query, whose names and values come decoded in payload 1."""
    many = event.get("multiValueQueryStringParameters")
    return urlencode(_pairs(many) if many else list((event.get("queryStringParameters") or {}).items()))


def _pairs(many: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, values in many.items() for value in values]
