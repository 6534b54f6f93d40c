"""Clocks: the system's, and one that a test or a replay moves."""

import time


class SystemClock:
    """The wall clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """Stands still until moved; refuses to go backwards."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        """The instant it was last moved to."""
        return self._now_ms

    def move_to(self, now_ms: int) -> None:
        """Raises `ValueError` for an instant that has passed."""
        if now_ms < self._now_ms:
            raise ValueError(f"a clock cannot go back from {self._now_ms} to {now_ms}")
        self._now_ms = now_ms
