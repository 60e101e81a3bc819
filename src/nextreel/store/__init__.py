"""User state and video counters, advanced by events."""

from nextreel.store.bounded import BoundedStore, bounded, within
from nextreel.store.counters import Counters, uploaded_at
from nextreel.store.live import LiveStore, write_snapshot
from nextreel.store.memory import MemoryStore

__all__ = [
    "BoundedStore",
    "Counters",
    "LiveStore",
    "MemoryStore",
    "bounded",
    "uploaded_at",
    "within",
    "write_snapshot",
]
