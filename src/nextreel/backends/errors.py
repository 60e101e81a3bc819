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
