"""User state and video counters, advanced by events."""

from nextreel.store.counters import Counters
from nextreel.store.memory import MemoryStore

__all__ = ["Counters", "MemoryStore"]
