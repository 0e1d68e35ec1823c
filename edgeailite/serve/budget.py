"""A budget for the bytes of bodies that all connections hold together: one number, counted by whoever receives."""

from __future__ import annotations

import threading


class Budget:
    """At most `limit` bytes are taken at any time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Take so many; False, and nothing taken, where they are not left."""
        with self._lock:
            if self.used + count > self.limit:
                return False
            self.used += count
            return True

    def give_back(self, count: int) -> None:
        """Return bytes to the budget."""
        with self._lock:
            self.used -= count
