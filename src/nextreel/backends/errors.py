"""What can go wrong in a backend that a person can act on."""

from __future__ import annotations

from nextreel.types import NextreelError


class UnknownBackend(NextreelError):
    """A URL names a backend that does not exist."""


class InvalidKey(NextreelError):
    """A blob's key would leave its store."""


class BlobNotFound(NextreelError):
    """There is nothing under that key."""


class UnreadableRecord(NextreelError):
    """Stored bytes are not what this version writes or once wrote."""


class InvalidUrl(NextreelError):
    """A backend's URL says something that the backend does not understand."""


class Unreachable(NextreelError):
    """A backend's server did not answer, or refused to."""


class NotWritable(NextreelError):
    """A file was to be written where this process may only read."""


class TooLarge(NextreelError):
    """A value is larger, or a write has more keys, than the backend takes."""


class StillRead(NextreelError):
    """Somebody reads what was to be overwritten, and does not end."""
