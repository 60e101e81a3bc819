"""The server's side of a connection, with a limit on what comes before and between bodies.

uvicorn's parser keeps a line or a header of any length in memory until it ends. Here the bytes are counted in which
nothing of a body came: a request's line and headers, but also trailers and extensions of chunks, which nobody counts
otherwise. What comes after a long head is not read.
"""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from nextreel.serving.problems import problem
from nextreel.settings import get_settings
from nextreel.telemetry import get_logger

TOO_LARGE = 431

log = get_logger(__name__)


class LimitedHttp(HttpToolsProtocol):
    """uvicorn's protocol, which answers 431 to a head of more than `MAX_HEAD_BYTES` and closes the connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._most = get_settings().max_head_bytes
        self._read = 0  # bytes since the last body byte, or the last end of a head or of a request

    def data_received(self, data: bytes) -> None:
        """Lets the parser have what came, as far as the limit goes."""
        while data and not self.transport.is_closing():
            if self._read >= self._most:
                self._refuse()
                return
            piece, data = data[: self._most - self._read], data[self._most - self._read :]
            self._read += len(piece)  # before the parser's callbacks begin anew
            super().data_received(piece)

    def on_headers_complete(self) -> None:
        """The head was short enough."""
        self._read = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Bytes of a body, which the app counts."""
        self._read = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The next byte is of another request."""
        self._read = 0
        super().on_message_complete()

    def _refuse(self) -> None:
        log.warning("head of a request too long", limit=self._most)
        answering = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        if answering is None or answering.response_complete:  # not into the middle of another answer
            told = problem(TOO_LARGE, f"Expected at most {self._most} bytes of line and headers, got more.", "")
            headers = [*told.raw_headers, (b"connection", b"close")]
            lines = [b"%b: %b\r\n" % header for header in headers]
            self.transport.write(b"".join([STATUS_LINE[TOO_LARGE], *lines, b"\r\n", bytes(told.body)]))
        self.transport.close()
