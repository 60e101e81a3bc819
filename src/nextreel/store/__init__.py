"""User state and video counters, advanced by events."""

from nextreel.store.bounded import BoundedStore, bounded, within
from nextreel.store.counters import Counters, uploaded_at
from nextreel.store.live import LiveStore
from nextreel.store.memory import MemoryStore
from nextreel.store.snapshots import state_folder, write_snapshot

__all__ = [
    "BoundedStore",
    "Counters",
    "LiveStore",
    "MemoryStore",
    "bounded",
    "state_folder",
    "uploaded_at",
    "within",
    "write_snapshot",
]
