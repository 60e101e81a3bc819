"""Who may ask: API keys, and loopback alone where there are none."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from ipaddress import ip_address
from typing import Annotated

from fastapi import Security
from fastapi.security import APIKeyHeader
from pydantic import SecretStr
from starlette.requests import HTTPConnection

from nextreel.serving.problems import Problem
from nextreel.settings import Settings
from nextreel.types import NextreelError

# Load balancers and Prometheus carry no key. Everything else needs one, so a new route cannot be left open by mistake.
OPEN = frozenset({"/ping", "/health", "/health/live", "/health/ready", "/metrics"})

_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="one of the keys in API_KEYS")


class UnsafeHost(NextreelError):
    """The server would answer strangers without a key."""


def guard(keys: Sequence[SecretStr]) -> Callable[..., Awaitable[None]]:
    """A dependency that lets a request pass when its path is open or its X-API-Key is one of the keys."""
    digests = [_digest(key.get_secret_value()) for key in keys]

    async def check(connection: HTTPConnection, key: Annotated[str | None, Security(_header)]) -> None:
        if connection.url.path in OPEN:
            return
        given = _digest(key or "")
        # every key is compared, in constant time: neither length nor position nor prefix can be measured
        if not sum(hmac.compare_digest(given, digest) for digest in digests):
            raise Problem(
                401,
                f"Expected a valid key in the header X-API-Key, got {'another' if key else 'none'}.",
                {"WWW-Authenticate": "ApiKey"},
            )

    return check


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


def require_safe_host(host: str, settings: Settings) -> None:
    """Returns when keys are configured or the host is this machine alone; raises `UnsafeHost` otherwise."""
    if not settings.api_keys and not is_loopback(host):
        raise UnsafeHost(
            f"Expected a loopback host (127.0.0.1, ::1, localhost) while no API keys are configured, got {host!r}. "
            "Hint: set API_KEYS to one or more secrets, separated by commas, or leave --host at 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """True when only this machine can reach the host; names other than localhost are not looked up.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "", "example.org")]
    [True, True, True, False, False, False]
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
