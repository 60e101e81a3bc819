"""Who answers now: routes ask for the system of each request, so that another release can take its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nextreel.system import System


class Serving:
    """The system that answers now. A handler asks once: what it reads belongs to one release."""

    def __init__(self, system: System) -> None:
        self._system = system

    def __call__(self) -> System:
        """The system for one request."""
        return self._system

    def close(self) -> None:
        """Closes the system."""
        self._system.close()
