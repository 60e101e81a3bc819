"""User state and video counters, advanced by events."""

from nextreel.store.counters import Counters, uploaded_at
from nextreel.store.live import LiveStore, write_snapshot
from nextreel.store.memory import MemoryStore

__all__ = ["Counters", "LiveStore", "MemoryStore", "uploaded_at", "write_snapshot"]
