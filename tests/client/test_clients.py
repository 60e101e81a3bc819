"""Both clients against a real server, and against servers that fail in every way."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import msgspec
import pytest
import stamina

from nextreel.client import ApiError, AsyncClient, Client, Context, Feedback, Filters, NoAnswer, Upload, Wanted
from nextreel.client.errors import UnexpectedAnswer

if TYPE_CHECKING:
    from tests.conftest import Served

SOMEONE = "person-8"
TRENDING = {"videos": [], "request_id": "r", "model_version": "m", "total_latency_ms": 0.1, "newer": 1}
ACCEPTED = {"status": "accepted", "event_id": "e", "request_id": "r"}


@pytest.fixture
def no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


class Answers:
    """A server that gives the answers of a list, one after another, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.asked: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)  # each is read once


Asks = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def asks(request: pytest.FixtureRequest) -> Asks:
    """Asks one thing of either client: `asks(name, *arguments, transport=…)`."""

    def sync(name: str, *args: Any, url: str = "http://server", **options: Any) -> Any:
        with Client(url, **options) as client:
            found = getattr(client, name)(*args)
            return list(found) if inspect.isgenerator(found) else found

    def asynchronous(name: str, *args: Any, url: str = "http://server", **options: Any) -> Any:
        async def go() -> Any:
            async with AsyncClient(url, **options) as client:
                found = getattr(client, name)(*args)
                return [page async for page in found] if inspect.isasyncgen(found) else await found

        return anyio.run(go)

    return sync if request.param == "sync" else asynchronous


def problem(status: int, **headers: str) -> httpx.Response:
    document = {
        "type": "about:blank",
        "title": "T",
        "status": status,
        "detail": "why",
        "instance": "/",
        "request_id": "r",
    }
    return httpx.Response(
        status, content=json.dumps(document), headers={"content-type": "application/problem+json"} | headers
    )


def test_everything_can_be_asked_of_a_real_server(asks: Asks, served: Served) -> None:
    def ask(name: str, *args: Any) -> Any:
        return asks(name, *args, url=served.url, api_key=served.key)

    slate = ask("recommendations", SOMEONE, 3)
    assert (slate.user_id, slate.level, len(slate.recommendations), slate.cursor) == (SOMEONE, "full", 3, None)
    first = slate.recommendations[0]
    why = ask("explain", SOMEONE, first.video_id, 3)
    assert (why.outcome, why.place, why.video.title) == ("shown", 1, first.title)
    filters = Filters(categories=(first.category,))
    posted = ask("recommend", Wanted(user_id=SOMEONE, context=Context(device="tv"), filters=filters))
    assert {one.category for one in posted.recommendations} == {first.category}
    assert len(ask("similar", first.video_id, 4).videos) == len(ask("trending", 4).videos) == 4
    assert len(ask("invocations", SOMEONE, 2).recommendations) == 2
    sent = Feedback(user_id=SOMEONE, event_type="hide", video_id=first.video_id, request_id=slate.request_id)
    assert ask("feedback", sent).status == "accepted"
    assert len(ask("feedback_all", [sent, sent]).event_ids) == 2
    assert first.video_id not in [one.video_id for one in ask("recommendations", SOMEONE).recommendations]
    video = Upload(
        video_id="new-1", title="How Bridges Sing", category=first.category, published_at="2026-01-01T08:00:00Z"
    )
    assert [one.video_id for one in ask("upload", video).videos] == ["new-1"]
    assert [one.new for one in ask("upload_all", [video]).videos] == [False]
    assert ask("withdraw", "new-1").status == "withdrawn"
    clicked = Feedback(session_id="tab-1", event_type="like", video_id="v5")
    assert ask("feedback", clicked).status == "accepted"
    assert "v5" not in [one.video_id for one in ask("session_recommendations", "tab-1", 100).recommendations]
    assert ask("merge", "tab-1", "somebody-new").merged
    assert ask("forget", "somebody-new").counts["event log"] > 0
    assert ask("health").status == "healthy"
    assert [ask(name).status for name in ("live", "ready", "ping")] == ["alive", "ready", "ok"]
    assert ask("models").production == slate.model_version
    assert ask("promote", slate.model_version).serving == slate.model_version
    for name, version in (("rollback", ()), ("rollback_from", ("another",))):
        with pytest.raises(ApiError, match="POST /models/") as nothing_before:
            ask(name, *version)
        assert nothing_before.value.status in {404, 409}
    assert (ask("features", SOMEONE).known, ask("features", "nobody").known) == (True, False)
    assert ask("experiments").assignment == "off"
    assert "# TYPE" in ask("metrics")


def test_pages_go_on_without_repeats_until_the_list_ends(asks: Asks, served: Served) -> None:
    wanted = Wanted(user_id=SOMEONE, num_recommendations=40)
    pages = asks("pages", wanted, url=served.url, api_key=served.key)
    shown = [one.video_id for page in pages for one in page.recommendations]
    assert len(pages) >= 2
    assert len(set(shown)) == len(shown) > 40
    assert pages[-1].cursor is None


def test_a_refusal_is_an_error_with_the_problem_in_it(asks: Asks, served: Served) -> None:
    with pytest.raises(ApiError, match="GET /similar/a%2Fb was answered by 404: Video 'a/b' is not in") as missing:
        asks("similar", "a/b", url=served.url, api_key=served.key)
    assert missing.value.problem is not None
    assert (missing.value.status, missing.value.problem.instance) == (404, "/similar/a/b")
    assert missing.value.request_id == missing.value.problem.request_id
    with pytest.raises(ApiError, match="401") as refused:
        asks("trending", url=served.url, api_key="not-the-key-of-this")  # pragma: allowlist secret
    assert "not-the-key" not in repr(refused.value)
    with pytest.raises(ApiError, match=r"body\.num_recommendations") as wrong:
        asks("recommend", Wanted(num_recommendations=0), url=served.url, api_key=served.key)
    assert wrong.value.problem is not None
    assert wrong.value.problem.errors == [
        {"field": "body.num_recommendations", "message": "Input should be greater than or equal to 1"}
    ]
    with pytest.raises(ApiError, match="User 'nobody' not found") as unknown:
        asks("invocations", "nobody", url=served.url, api_key=served.key)
    assert (unknown.value.problem, unknown.value.request_id) == (None, None)


def test_the_key_comes_from_the_argument_or_the_environment(asks: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    def sent(**options: Any) -> str | None:
        answers = Answers(httpx.Response(200, json=TRENDING))
        asks("trending", transport=httpx.MockTransport(answers), **options)
        key: str | None = answers.asked[0].headers.get("x-api-key")
        return key

    monkeypatch.delenv("NEXTREEL_API_KEY", raising=False)
    assert sent() is None
    monkeypatch.setenv("NEXTREEL_API_KEY", "of-the-environment")
    assert sent() == "of-the-environment"
    assert sent(api_key="given") == "given"  # pragma: allowlist secret
    assert sent(api_key="") is None


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    "first", [problem(503), problem(429), httpx.Response(502, text="bad gateway"), httpx.ConnectError("refused")]
)
def test_what_may_pass_is_asked_again(asks: Asks, first: httpx.Response | Exception) -> None:
    answers = Answers(first, first, httpx.Response(200, json=TRENDING))
    assert asks("trending", transport=httpx.MockTransport(answers)).videos == []
    assert len(answers.asked) == 3


@pytest.mark.usefixtures("no_waiting")
def test_asking_again_has_an_end(asks: Asks) -> None:
    answers = Answers(*[problem(503)] * 3)
    with pytest.raises(ApiError, match="503: why"):
        asks("trending", transport=httpx.MockTransport(answers))
    silent = Answers(*[httpx.ReadTimeout("too slow")] * 3)
    with pytest.raises(NoAnswer, match="GET /trending, got ReadTimeout"):
        asks("trending", transport=httpx.MockTransport(silent))
    assert (len(answers.asked), len(silent.asked)) == (3, 3)
    once = Answers(problem(503))
    with pytest.raises(ApiError):
        asks("trending", transport=httpx.MockTransport(once), attempts=1)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500])
def test_what_will_not_pass_is_asked_once(asks: Asks, status: int) -> None:
    answers = Answers(problem(status))
    with pytest.raises(ApiError):
        asks("trending", transport=httpx.MockTransport(answers))
    assert len(answers.asked) == 1


@pytest.mark.usefixtures("no_waiting")
def test_what_does_more_when_it_is_done_twice_is_asked_once(asks: Asks) -> None:
    answers = Answers(httpx.ReadTimeout("too slow"))
    with pytest.raises(NoAnswer):
        asks("rollback", transport=httpx.MockTransport(answers))
    assert len(answers.asked) == 1


@pytest.mark.usefixtures("no_waiting")
def test_feedback_that_is_sent_again_is_the_same_event(asks: Asks) -> None:
    answers = Answers(httpx.ReadError("gone"), httpx.Response(202, json=ACCEPTED))
    asks("feedback", Feedback(user_id=1, event_type="like", video_id=2), transport=httpx.MockTransport(answers))
    first, second = (json.loads(request.content) for request in answers.asked)
    assert first == second
    assert first.keys() == {"user_id", "event_type", "video_id", "event_id"}
    assert len(first["event_id"]) == 32


def test_the_server_says_when_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    later = problem(429, **{"retry-after": "2"})
    much_later = problem(503, **{"retry-after": "3600"})
    answers = Answers(later, much_later, httpx.Response(200, json=TRENDING))
    Client("http://server", transport=httpx.MockTransport(answers)).trending()
    assert waited == [2.0, 5.0]


def test_an_answer_of_something_else_is_told_as_such(asks: Asks) -> None:
    for content in (b"<html>", b"{}"):
        answers = Answers(httpx.Response(200, content=content))
        with pytest.raises(UnexpectedAnswer, match="GET /trending was answered by what this client cannot read"):
            asks("trending", transport=httpx.MockTransport(answers))
    broken = Answers(httpx.Response(404, content=b"{}", headers={"content-type": "application/problem+json"}))
    with pytest.raises(UnexpectedAnswer, match="no problem document"):
        asks("trending", transport=httpx.MockTransport(broken))


def test_an_unhealthy_server_still_tells_its_health(asks: Asks) -> None:
    body = {"status": "unhealthy", "version": "1", "timestamp": "t", "checks": []}
    answers = Answers(httpx.Response(503, json=body))
    assert asks("health", transport=httpx.MockTransport(answers)).status == "unhealthy"
    assert len(answers.asked) == 1


def test_what_is_not_said_is_not_sent() -> None:
    assert msgspec.json.encode(Wanted(user_id="a", exclude=("b",))) == b'{"user_id":"a","exclude":["b"]}'
    assert msgspec.json.encode(Wanted()) == b"{}"
