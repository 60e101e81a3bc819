"""What can go wrong between a client and the server."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from nextreel.client.shapes import Problem

MEDIA_TYPE = "application/problem+json"
LONGEST = 200  # characters of an answer that is no problem document


class ClientError(Exception):
    """Base of every error of the client."""


class NoAnswer(ClientError):
    """The server did not answer, as often as it was asked."""


class UnexpectedAnswer(ClientError):
    """The answer is not one that the API gives; something else than the server may have sent it."""


class ApiError(ClientError):
    """The server refused or failed; `problem` is what it told, None where the answer is no problem document."""

    def __init__(self, asked: str, status: int, problem: Problem | None, text: str, retry_after: float | None) -> None:
        told = text[:LONGEST] if problem is None else problem.detail
        super().__init__(f"{asked} was answered by {status}: {told}")
        self.status = status
        self.problem = problem
        self.retry_after = retry_after  # seconds after which the server would be asked again

    @property
    def request_id(self) -> str | None:
        """The number by which the logs of the server know the request."""
        return None if self.problem is None else self.problem.request_id


def api_error(asked: str, status: int, headers: Mapping[str, str], content: bytes) -> ApiError:
    """The error that an answer tells of."""
    problem = None
    if headers.get("content-type", "").startswith(MEDIA_TYPE):
        try:
            problem = msgspec.json.decode(content, type=Problem)
        except msgspec.DecodeError as error:
            raise UnexpectedAnswer(f"{asked} was answered by {status} and no problem document: {error}") from error
    seconds = headers.get("retry-after", "")
    retry_after = float(seconds) if seconds.isascii() and seconds.isdigit() else None  # a date is left to the backoff
    return ApiError(asked, status, problem, content.decode(errors="replace"), retry_after)
