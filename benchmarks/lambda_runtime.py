"""A small Runtime API of AWS Lambda, events of API Gateway, and a process that runs the handler, for real.

Both the benchmark of the cold start and the tests of the handler use it.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess  # the runtime client, with fixed arguments
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

HANDLER = "nextreel.serving.lambda_handler.handler"
KEY = "a-key-that-callers-send"  # in every event here
PATIENCE = 60.0  # seconds after which a function counts as broken
_API = "/2018-06-01/runtime"


class RuntimeApi:
    """What Lambda's Runtime API is to a process: events out, answers and errors in, one after another."""

    def __init__(self) -> None:
        self._events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.told: queue.Queue[tuple[str, Any]] = queue.Queue()  # (the end of the path, what was posted there)
        self._count = 0
        events, told = self._events, self.told

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes, of which the second would wait 40 ms

            def do_GET(self) -> None:
                number, body = events.get()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", number)
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + PATIENCE) * 1000)))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()
                told.put((self.path.removeprefix(_API), json.loads(body)))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False  # a process that waits for the next event waits for good
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> RuntimeApi:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        """Host and port, as AWS_LAMBDA_RUNTIME_API has them."""
        return f"127.0.0.1:{self._server.server_port}"

    def invoke(self, event: Any) -> Any:
        """What the function answers to the event. Raises `RuntimeError` with what it says when it fails instead."""
        self._count += 1
        number = f"request-{self._count}"
        self._events.put((number, json.dumps(event).encode()))
        path, answer = self.told.get(timeout=PATIENCE)
        if path != f"/invocation/{number}/response":
            raise RuntimeError(f"Expected an answer to {number}, got {answer} at {path}.")
        return answer


def http_api(method: str, path: str, query: str = "", body: str | None = None, **more: Any) -> dict[str, Any]:
    """An event of an HTTP API (payload 2.0), whose path is decoded."""
    about = {"stage": "$default", "domainName": "a1.execute-api.eu-west-1.amazonaws.com"}
    http = {"method": method, "path": path, "sourceIp": "192.0.2.1", "protocol": "HTTP/1.1"}
    headers = {"x-api-key": KEY} | ({} if body is None else {"content-type": "application/json"})
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": about | {"http": http},
        "body": body,
        "isBase64Encoded": False,
    } | more


def rest_api(
    method: str, path: str, query: Mapping[str, list[str]] | None = None, body: str | None = None, **more: Any
) -> dict[str, Any]:
    """An event of a REST API (payload 1.0), whose path is as it was sent and whose query is decoded."""
    headers = {"X-API-Key": [KEY]} | ({} if body is None else {"Content-Type": ["application/json"]})
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "multiValueQueryStringParameters": query,
        "requestContext": {"stage": "prod", "path": f"/prod{path}", "identity": {"sourceIp": "192.0.2.1"}},
        "body": body,
        "isBase64Encoded": False,
    } | more


def function(
    api: RuntimeApi, environment: Mapping[str, str], around: Sequence[str] = (), **options: Any
) -> subprocess.Popen[bytes]:
    """A new process that runs the handler against the Runtime API; `around` is a command that starts it."""
    given: dict[str, str] = {
        name: value for name, value in os.environ.items() if name not in ("API_KEYS", "NEXTREEL_HOME")
    }
    return subprocess.Popen(  # noqa: S603  a fixed command
        [*around, sys.executable, "-m", "awslambdaric", HANDLER],
        env={**given, "AWS_LAMBDA_RUNTIME_API": api.address, **environment},
        **options,
    )
