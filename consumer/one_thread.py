"""A thread of one's own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class OneThread:
    """Runs one call after the other, always in the same thread.

    The C library keeps memory for each thread apart, as much as the largest micro-batch has needed; in a pool, every
    thread comes to have that.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, name)

    async def run(self, call: Callable[[], T]) -> T:
        """The call's result, or what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Take nothing any more; does not wait."""
        self._executor.shutdown(wait=False)
