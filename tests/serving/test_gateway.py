"""Events become the requests that callers made, whatever service and payload brought them; answers have its shape."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_runtime import http_api, rest_api
from nextreel.serving import gateway
from nextreel.serving.gateway import InvalidEvent


def function_url(method: str, path: str, query: str = "", body: str | None = None, **more: Any) -> dict[str, Any]:
    """An event of a Function URL: payload 2.0, whose path is as it was sent."""
    event = http_api(method, path, query, body, **more)
    event["requestContext"]["domainName"] = "a1.lambda-url.eu-west-1.on.aws"
    return event


def http_api_of_payload_1(method: str, path: str, **more: Any) -> dict[str, Any]:
    """An event of an HTTP API that was told to send payload 1.0; its path is decoded."""
    event = rest_api(method, path, **more) | {"version": "1.0"}
    event["requestContext"] |= {"stage": "$default", "path": path}
    return event


ENCODED = [rest_api, function_url]
DECODED = [http_api, http_api_of_payload_1]


@pytest.mark.parametrize("event", ENCODED)
@given(user=st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_a_path_that_comes_as_it_was_sent_is_decoded_once(event: Callable[..., Any], user: str) -> None:
    asked = gateway.read(event("GET", f"/recommendations/{quote(user, safe='')}"))
    assert asked.scope["path"] == f"/recommendations/{user}"


@pytest.mark.parametrize("event", DECODED)
@given(user=st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_a_path_that_comes_decoded_is_not_decoded_again(event: Callable[..., Any], user: str) -> None:
    asked = gateway.read(event("GET", f"/recommendations/{user}"))
    assert asked.scope["path"] == f"/recommendations/{user}"


@pytest.mark.parametrize(
    ("stage", "path", "known"),
    [
        ("prod", "/prod/recommendations/1", "/recommendations/1"),
        ("prod", "/prod", "/"),
        ("prod", "/products/1", "/products/1"),
        ("prod", "/prod/prod/1", "/prod/1"),
        ("$default", "/prod/1", "/prod/1"),
        (None, "/prod/1", "/prod/1"),
    ],
)
@pytest.mark.parametrize("event", [http_api, http_api_of_payload_1])
def test_an_http_apis_stage_is_no_part_of_the_path(
    event: Callable[..., Any], stage: str | None, path: str, known: str
) -> None:
    made = event("GET", path)
    made["requestContext"]["stage"] = stage
    assert gateway.read(made).scope["path"] == known


def test_a_rest_api_tells_the_path_without_its_stage_which_may_be_named_like_a_route() -> None:
    event = rest_api("GET", "/similar/7")
    event["requestContext"] |= {"stage": "similar", "path": "/similar/similar/7"}
    assert gateway.read(event).scope["path"] == "/similar/7"


@pytest.mark.parametrize("base", ["v1", "/v1", "/v1/"])
def test_the_base_path_of_a_custom_domain_is_taken_off(base: str) -> None:
    event = rest_api("GET", "/v1/similar/7")
    event["requestContext"]["path"] = "/v1/similar/7"
    assert gateway.read(event, base).scope["path"] == "/similar/7"
    assert gateway.read(http_api("GET", "/v10/similar/7"), base).scope["path"] == "/v10/similar/7"


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.text(max_size=5))))
def test_a_query_reaches_the_app_with_every_value(pairs: list[tuple[str, str]]) -> None:
    many: dict[str, list[str]] = {}
    for name, value in pairs:
        many.setdefault(name, []).append(value)
    asked = gateway.read(rest_api("GET", "/trending", many))
    found = parse_qsl(asked.scope["query_string"].decode(), keep_blank_values=True)
    assert found == [(name, value) for name, values in many.items() for value in values]


def test_a_query_of_payload_2_is_left_as_it_was_sent() -> None:
    assert gateway.read(http_api("GET", "/trending", "n=3&tag=a%26b&tag=c")).scope["query_string"] == (
        b"n=3&tag=a%26b&tag=c"
    )


def test_headers_that_come_twice_stay_two() -> None:
    event = rest_api("GET", "/trending", multiValueHeaders={"X-Tag": ["a", "b"], "Accept": ["*/*"]})
    assert gateway.read(event).scope["headers"] == [(b"x-tag", b"a"), (b"x-tag", b"b"), (b"accept", b"*/*")]
    single = rest_api("GET", "/trending", multiValueHeaders=None, headers={"X-Tag": "a"})
    assert gateway.read(single).scope["headers"] == [(b"x-tag", b"a")]


def test_cookies_of_payload_2_become_their_header() -> None:
    asked = gateway.read(http_api("GET", "/trending", cookies=["a=1", "b=2"], headers={}))
    assert asked.scope["headers"] == [(b"cookie", b"a=1; b=2")]


@pytest.mark.parametrize("event", [http_api, rest_api, function_url])
@given(body=st.binary())
def test_a_body_in_base64_is_what_was_sent(event: Callable[..., Any], body: bytes) -> None:
    text = base64.b64encode(body).decode()
    asked = gateway.read(event("POST", "/feedback", body=text, isBase64Encoded=True))
    assert asked.body == body


def test_a_body_may_be_missing_and_a_method_and_an_address_are_told() -> None:
    for event in (http_api("get", "/ping"), rest_api("get", "/ping")):
        asked = gateway.read(event)
        assert (asked.scope["method"], asked.body, asked.scope["client"]) == ("GET", b"", ("192.0.2.1", 0))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({}, "got an empty dict"),
        ([], "got an empty list"),
        ({"Records": [], "x": 1}, "got Records, x"),
        ({"httpMethod": "GET", "path": "/", "requestContext": {"elb": {}}}, "got httpMethod, path, requestContext"),
        ({"version": "2.0", "requestContext": {"http": {}}}, "KeyError: 'method'"),
        ({"httpMethod": "GET", "requestContext": {}}, "KeyError: 'path'"),
        ({"httpMethod": 7, "path": "/", "requestContext": {}}, "AttributeError"),
        (http_api("POST", "/feedback", body="no base64", isBase64Encoded=True), "base64 in the body"),
    ],
)
def test_what_is_no_request_is_refused_with_what_came(event: Any, expected: str) -> None:
    with pytest.raises(InvalidEvent, match="Expected ") as refused:
        gateway.read(event)
    assert expected in str(refused.value)


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(), st.lists, max_leaves=3))
def test_no_field_of_an_event_breaks_the_reading(value: Any) -> None:
    for event in (http_api("GET", "/ping"), rest_api("GET", "/ping")):
        for name in event:
            try:
                gateway.read(event | {name: value})
            except InvalidEvent:
                continue


@given(st.integers(100, 599), st.binary())
def test_an_answer_holds_the_body_as_text_or_as_base64(status: int, body: bytes) -> None:
    for payload in (1, 2):
        answer = gateway.answer(1 if payload == 1 else 2, status, [(b"content-type", b"text/plain")], body)
        assert json.loads(json.dumps(answer))["statusCode"] == status
        text = answer["body"]
        assert (base64.b64decode(text) if answer["isBase64Encoded"] else text.encode()) == body


def test_headers_of_an_answer_have_the_payloads_shape() -> None:
    headers = [(b"Vary", b"a"), (b"vary", b"b"), (b"set-cookie", b"x=1, 2"), (b"set-cookie", b"y=2"), (b"X-One", b"1")]
    one = gateway.answer(1, 200, headers, b"")
    assert one["multiValueHeaders"] == {"vary": ["a", "b"], "set-cookie": ["x=1, 2", "y=2"]}
    assert one["headers"] == {"x-one": "1"}
    two = gateway.answer(2, 200, headers, b"")
    assert (two["headers"], two["cookies"]) == ({"vary": "a, b", "x-one": "1"}, ["x=1, 2", "y=2"])
