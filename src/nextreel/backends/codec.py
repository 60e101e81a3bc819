"""Events as bytes: one version byte, then MessagePack of the fields by name, so that fields can be added later."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from nextreel.backends.errors import UnreadableRecord
from nextreel.types import Event, NextreelError

VERSION = b"\x01"


def _native(value: Any) -> Any:
    """The Python number of a NumPy one: ids taken out of a catalogue's columns arrive so."""
    if isinstance(value, np.generic):
        return value.item()
    raise NextreelError(
        f"Expected texts and numbers in an event, got a {type(value).__name__}: {value!r:.80}. "
        "Hint: ids are integers or texts, times are seconds."
    )


_encoder = msgspec.msgpack.Encoder(enc_hook=_native)
_decoder = msgspec.msgpack.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """The event's bytes.

    >>> from nextreel.types import Kind
    >>> decode_event(encode_event(Event("ada", 1.5, Kind.LIKE, video_id=7))).video_id
    7
    """
    return VERSION + _encoder.encode(event)


def decode_event(body: bytes) -> Event:
    """The event of these bytes; `UnreadableRecord` when they were written by a newer version or are damaged."""
    if body[:1] != VERSION:
        raise UnreadableRecord(
            f"Expected an event that starts with version byte {VERSION.hex()}, got {body[:1].hex() or 'nothing'}. "
            "Hint: the log was written by a newer nextreel; read it with that one."
        )
    try:
        return _decoder.decode(body[1:])
    except msgspec.DecodeError as error:
        raise UnreadableRecord(
            f"Expected a MessagePack event of {len(body)} bytes, got {error}. Hint: the log is damaged; restore a copy."
        ) from error
