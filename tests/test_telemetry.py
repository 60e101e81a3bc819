"""Logs carry the request id and no secret; metrics count what was answered."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog
from prometheus_client import REGISTRY

from nextreel import telemetry
from nextreel.types import Event, Kind, Request, Slate, Trace


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def slate(asked: int, given: int, level: str = "full") -> Slate:
    numbers = np.zeros(given, np.float32)
    return Slate(
        request=Request(user_id=1, at=0.0, k=asked),
        rows=np.arange(given, dtype=np.int32),
        video_ids=list(range(given)),
        value=numbers,
        objectives=numbers[:, None],
        sources=["als"] * given,
        reasons=[""] * given,
        propensities=numbers,
        promoted=np.zeros(given, np.bool_),
        trace=Trace(
            milliseconds={"test-stage": 2.0},
            failures={"test-part": "broken"},
            proposed={"test-source": 7},
            removed={"test-filter": 3, "test-idle": 0},
        ),
        release="r",
        level=level,
    )


def test_json_records_carry_the_request_id_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("INFO", "json")
    structlog.contextvars.bind_contextvars(request_id="abc")
    telemetry.get_logger("test").info("started", api_key="hunter2", home=Path("var"))
    logging.getLogger("uvicorn.error").warning("from %s", "the library")
    telemetry.get_logger("test").debug("not shown")
    captured = capsys.readouterr()
    ours, theirs = [json.loads(line) for line in captured.err.splitlines()]
    assert captured.out == ""
    assert (ours["event"], ours["request_id"], ours["level"], ours["logger"]) == ("started", "abc", "info", "test")
    assert (ours["api_key"], ours["home"]) == ("***", "var")
    assert (theirs["event"], theirs["request_id"], theirs["level"]) == ("from the library", "abc", "warning")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_is_in_the_record_without_local_values(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    telemetry.configure_logging("INFO", log_format)
    secret = "hunter" + "2"  # pragma: allowlist secret
    try:
        int("something odd" if secret else secret)
    except ValueError:
        telemetry.get_logger("test").exception("failed")
    shown = capsys.readouterr().err
    assert "something odd" in shown
    assert secret not in shown


def test_text_records_can_be_read_by_people(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("WARNING", "text")
    telemetry.get_logger("test").info("not shown")
    telemetry.get_logger("test").warning("no keys", host="127.0.0.1")
    shown = capsys.readouterr().err
    assert "no keys" in shown
    assert "host=127.0.0.1" in shown
    assert "not shown" not in shown


def test_slates_are_counted_by_rung_and_by_what_they_lack() -> None:
    names = ("nextreel_empty_slates_total", "nextreel_short_slates_total")
    before = [value(name) for name in names]
    for asked, given in ((10, 10), (10, 4), (10, 0)):
        telemetry.observe_slate(slate(asked, given, level="test-rung"))
    assert [value(name) for name in names] == [before[0] + 1, before[1] + 1]
    assert value("nextreel_slates_total", level="test-rung") == 3
    assert value("nextreel_stage_seconds_sum", stage="test-stage") == pytest.approx(0.006)
    assert value("nextreel_part_failures_total", part="test-part") == 3
    assert value("nextreel_source_proposals_total", source="test-source") == 21
    assert value("nextreel_filter_removed_total", filter="test-filter") == 9
    assert REGISTRY.get_sample_value("nextreel_filter_removed_total", {"filter": "test-idle"}) is None


def test_a_stage_is_timed_also_where_it_fails() -> None:
    with pytest.raises(ZeroDivisionError), telemetry.timed("test-failing"):
        _ = 1 / 0
    assert value("nextreel_stage_seconds_count", stage="test-failing") == 1


def test_it_is_known_how_late_events_are_and_which_is_the_newest() -> None:
    before = {le: value("nextreel_event_lag_seconds_bucket", le=le) for le in ("0.25", "0.5", "+Inf")}
    telemetry.observe_applied(np.array([99.7, 100.5]), now=100.0)  # the clock of who wrote the second is ahead
    after = {le: value("nextreel_event_lag_seconds_bucket", le=le) for le in before}
    assert {le: after[le] - before[le] for le in before} == {"0.25": 1, "0.5": 2, "+Inf": 2}
    assert value("nextreel_newest_event_timestamp_seconds") == 100.5


def test_events_and_requests_are_counted() -> None:
    before = value("nextreel_events_total", kind="share")
    telemetry.count_event(Event(1, 0.0, Kind.SHARE, 2))
    telemetry.observe_request("GET", "/test/{x}", 200, 0.004)
    assert value("nextreel_events_total", kind="share") == before + 1
    labels = {"method": "GET", "route": "/test/{x}", "status": "200"}
    assert value("nextreel_request_seconds_bucket", le="0.005", **labels) == 1
    assert value("nextreel_request_seconds_bucket", le="0.0025", **labels) == 0
    body, content_type = telemetry.render_metrics()
    assert b"nextreel_request_seconds_bucket" in body
    assert content_type.startswith("text/plain")


def test_the_gauges_of_a_worker_that_was_killed_are_dropped_and_its_counts_kept(tmp_path: Path) -> None:
    code = (
        "import os; from nextreel import telemetry as t; t.release_serves('r'); t.count_join(); "
        "print(t.render_metrics()[0].decode(), flush=True); os._exit(9)"
    )
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for number in (1, 2):
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)  # noqa: S603  our own code
        assert 'nextreel_release_info{release="r"} 1.0' in run.stdout
        assert f"nextreel_single_flight_joins_total {number}.0" in run.stdout


def test_workers_add_up_their_metrics(tmp_path: Path) -> None:
    count = "from nextreel import telemetry as t; t.observe_request('GET', '/', 200, 0.1)"
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for code in (count, count, count + "; print(t.render_metrics()[0].decode())"):
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)  # noqa: S603  our own code
    assert 'nextreel_request_seconds_count{method="GET",route="/",status="200"} 3.0' in run.stdout
