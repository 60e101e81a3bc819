"""Parts of a backend's URL, and how a URL may be shown: no error or log ever has its password."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from urllib.parse import SplitResult, parse_qsl, urlsplit

from nextreel.backends.errors import InvalidUrl

PREFIX = "nextreel"  # of every key, where the URL names no other: a server can be shared
CONNECT_SECONDS, READ_SECONDS = 0.5, 1.0
TIMEOUTS = ("connect_timeout", "read_timeout")


def shown(url: str) -> str:
    """The URL as errors may show it: without user, password and options.

    >>> shown("redis://ada:secret@cache:6379/0?prefix=a")  # pragma: allowlist secret
    'redis://***@cache:6379/0'
    """
    scheme, mark, rest = url.partition("://")
    # A password may hold '/', '?' or '@' as they are, so all before the last '@' is taken for one.
    _, at, rest = rest.rpartition("@")
    return f"{scheme}{mark}{'***@' if at else ''}{rest.partition('?')[0].partition('#')[0]}"


def split(url: str, known: Collection[str]) -> tuple[SplitResult, dict[str, str]]:
    """The URL's parts and its options, each of them known and said once."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that is no number
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        if "@" in parts.query + parts.fragment:
            raise ValueError  # noqa: TRY301  what looks like options is the end of a password
    except ValueError:
        # raised without its cause, which may quote a password with a '/' in it
        raise InvalidUrl(
            f"Expected a URL like scheme://host:port/path?option=value, got {shown(url)!r}. "
            "Hint: write special characters as %40 for '@', %2F for '/', %3F for '?' and %23 for '#'."
        ) from None
    options = dict(pairs)
    if parts.fragment or len(options) < len(pairs) or not set(options) <= set(known):
        raise InvalidUrl(
            f"Expected of the options {', '.join(sorted(known))} each at most once, "
            f"got {', '.join(name for name, _ in pairs) or 'a fragment'} in {shown(url)!r}. "
            "Hint: correct what follows '?', and write '@' as %40 and '#' as %23."
        )
    return parts, options


def seconds(options: Mapping[str, str]) -> tuple[float, float]:
    """Seconds after which connecting, and waiting for an answer, are given up."""
    found = []
    for name, default in zip(TIMEOUTS, (CONNECT_SECONDS, READ_SECONDS), strict=True):
        text = options.get(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise InvalidUrl(f"Expected {name} to be seconds above 0, got {text!r}. Hint: write it like {name}=0.5.")
        found.append(value)
    return found[0], found[1]
