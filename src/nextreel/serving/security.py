"""Who may ask what: API keys and their scopes, and loopback alone where there are none."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import Any, ClassVar

import structlog
from fastapi import APIRouter, FastAPI, Request, Security
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.security import APIKeyHeader
from starlette.responses import Response

from nextreel import keys
from nextreel.keys import Scope
from nextreel.serving.limits import Buckets
from nextreel.serving.outgoing import ProblemOut
from nextreel.serving.problems import Problem
from nextreel.settings import Settings
from nextreel.types import NextreelError

# Load balancers and Prometheus carry no key, and the documentation says nothing that is not public. Every other route
# is made by `guarded`; the app does not start with one that is neither here nor there.
OPEN = frozenset(
    {"/ping", "/health", "/health/live", "/health/ready", "/metrics"}
    | {"/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
)
HEADER = "X-API-Key"

_header = APIKeyHeader(name=HEADER, auto_error=False, description="a key of API_KEYS that has the scope named here")


class UnsafeHost(NextreelError):
    """The server would answer strangers without a key."""


class UndeclaredRoute(NextreelError):
    """A route says neither which scope it needs nor that it is open."""


class GuardedRoute(APIRoute):
    """A route that asks the app's guard before anything of the body is read, which a dependency would come after."""

    needs: ClassVar[Scope]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the guard."""
        answer = super().get_route_handler()

        async def guarded_answer(request: Request) -> Response:
            guard: Guard = request.app.state.guard
            guard.admit(request.headers.get(HEADER, ""), self.needs, request.client.host if request.client else "")
            return await answer(request)

        return guarded_answer


def guarded(needs: Scope, tag: str) -> APIRouter:
    """A router whose routes answer those alone who have the scope."""
    return APIRouter(
        tags=[tag],
        route_class=type("GuardedRoute", (GuardedRoute,), {"needs": needs}),
        dependencies=[Security(_header, scopes=[needs])],  # tells the documentation; the guard has looked before
        responses={
            401: {"model": ProblemOut, "description": f"no key, or one that is not valid, in the header {HEADER}"},
            403: {"model": ProblemOut, "description": f"a key without the scope {needs}"},
            429: {"model": ProblemOut, "description": "more requests than RATE_LIMIT allows; see Retry-After"},
        },
    )


class Guard:
    """Lets a request pass when its key, or without configured keys this machine, has the scope."""

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.api_keys
        self._local = frozenset(keys.SCOPES) if settings.admin_on_loopback else keys.PLAIN
        self._rate = settings.rate_limit
        self._buckets = Buckets(settings.rate_limit, settings.rate_burst) if settings.rate_limit else None

    def admit(self, given: str, needs: Scope, address: str) -> None:
        """Returns when the request may pass; a `Problem` 401, 403 or 429 otherwise."""
        key = keys.find(self._keys, given)
        self._count(f"key {key.name}" if key else f"address {address}")  # who guesses at keys is counted too
        if not self._keys:  # `require_safe_host` has seen to it that only this machine asks
            if needs not in self._local:
                raise Problem(
                    403,
                    f"Expected a key with the scope {needs}, but no API keys are configured. Hint: make one by "
                    f"`nextreel keys new --scope {needs}`, or set ADMIN_ON_LOOPBACK=true on a machine of your own.",
                )
            return
        if key is None:
            raise Problem(
                401,
                f"Expected a valid key in the header {HEADER}, got {'another' if given else 'none'}.",
                {"WWW-Authenticate": "ApiKey"},
            )
        structlog.contextvars.bind_contextvars(caller=key.name)  # in every record of this request
        if needs not in key.scopes:
            raise Problem(
                403, f"Expected a key with the scope {needs}, got one with {' and '.join(sorted(key.scopes))}."
            )

    def _count(self, caller: str) -> None:
        if self._buckets is not None and (wait := self._buckets.take(caller)):
            raise Problem(
                429,
                f"Expected at most {self._rate:g} requests a second, got more.",
                {"Retry-After": str(math.ceil(wait))},
            )


def install(app: FastAPI, settings: Settings) -> None:
    """Gives the app its guard; `UndeclaredRoute` names the routes that would go past it."""
    app.state.guard = Guard(settings)
    if undeclared := sorted(path for path, needs in declared(app) if needs is None and path not in OPEN):
        raise UndeclaredRoute(
            f"Expected every route to say which scope it needs, got none from {', '.join(undeclared)}. "
            "Hint: make its router by `guarded`, or list the path in OPEN where strangers may ask."
        )


def declared(app: FastAPI) -> list[tuple[str, Scope | None]]:
    """The path of every route of the app and the scope it needs, None where it says none."""
    return [
        (str(route.path), getattr(route.original_route, "needs", None)) for route in iter_route_contexts(app.routes)
    ]


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
