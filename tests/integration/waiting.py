"""Waiting for what only a server knows, with a deadline; needs nothing of the service."""

import asyncio
import time
from collections.abc import Awaitable, Callable

DEADLINE_S = 120.0


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Return once `holds` does; fail after the deadline, saying what was waited for."""
    give_up_at = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < give_up_at, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(0.02)


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """As `wait_until`, in an event loop."""
    give_up_at = time.monotonic() + DEADLINE_S
    while not await holds():
        assert time.monotonic() < give_up_at, f"not within {DEADLINE_S:.0f} s: {what}"
        await asyncio.sleep(0.05)
