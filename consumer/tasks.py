"""Tasks that nobody needs any more."""

import asyncio
from typing import Any


async def ended(*tasks: "asyncio.Future[Any] | None") -> None:
    """Cancel what still runs, and wait until it has ended, however."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
