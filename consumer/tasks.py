"""Waiting for tasks, be it for their end because nobody needs them any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Task = asyncio.Future[Any]
_AGAIN_S = 6.0  # longer than a client may take to stop


async def ended(*tasks: Task | None, again_s: float = _AGAIN_S) -> None:
    """Cancel what still runs, and wait until it has ended, however.

    More than once: `asyncio.wait_for` of Python 3.11, with which redis-py sends commands, loses a cancellation that
    comes together with what it waits for.
    """
    running = {task for task in tasks if task is not None}
    for task in running:
        unasked(task)
    while running:
        for task in running:
            task.cancel()
        try:
            _, running = await asyncio.wait(running, timeout=again_s)
        except asyncio.CancelledError:  # nobody will wait for them, so nobody would cancel them again
            for task in running:
                task.cancel()
            raise


def unasked(task: Task) -> None:
    """Nobody will ask for its error: it is none of the event loop's either."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())


async def done_before(event: asyncio.Event, *tasks: Task) -> bool:
    """Wait until the first of some tasks is done, but no longer than until the event; whether one is done."""
    watching = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({watching, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watching.cancel()
    return any(task.done() for task in tasks)


async def run_until(event: asyncio.Event, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T] | None:
    """Run it, but no longer than until the event; its task, or None if it was ended for that."""
    task = asyncio.create_task(coroutine)
    try:
        is_done = await done_before(event, task)
    finally:
        await ended(task)
    return task if is_done else None
