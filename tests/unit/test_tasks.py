"""Tasks that nobody needs any more, and races against a deadline."""

import asyncio
import gc

from consumer.tasks import done_before, ended, run_until

AGAIN_S = 0.01


async def test_a_task_that_loses_a_cancellation_ends_all_the_same() -> None:
    """As calls of aiokafka do on Python 3.11, in a loop that would go on for ever."""
    lost = 0

    async def retrying() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.create_task(retrying())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await ended(task, again_s=AGAIN_S)
    assert task.cancelled()
    assert lost == 3


async def test_nothing_to_end() -> None:
    await ended(None)
    await ended()


async def test_what_failed_already_has_ended() -> None:
    async def failing() -> None:
        raise ValueError

    task = asyncio.create_task(failing())
    await asyncio.wait([task])
    await ended(task, None)
    assert isinstance(task.exception(), ValueError)


async def test_a_race_ends_with_the_first_task() -> None:
    slow, quick = (asyncio.create_task(asyncio.sleep(pause_s)) for pause_s in (3600, 0))
    assert await done_before(asyncio.Event(), slow, quick)
    assert quick.done()
    assert not slow.done()
    await ended(slow)


async def test_a_race_ends_with_the_event() -> None:
    event, slow = asyncio.Event(), asyncio.create_task(asyncio.sleep(3600))
    event.set()
    assert not await done_before(event, slow)
    assert not slow.done()
    await ended(slow)


async def test_nobody_is_told_of_an_error_that_nobody_asked_for() -> None:
    """Neither of a task that had failed before, nor of one that fails when it is cancelled."""
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def failing() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            raise ValueError

    tasks = [asyncio.create_task(failing()), asyncio.create_task(failing())]
    await asyncio.wait(tasks[:1])
    await ended(*tasks)
    del tasks
    gc.collect()
    assert told == []


async def test_who_is_cancelled_meanwhile_cancels_once_more() -> None:
    """Nobody would wait for them any longer."""
    cancellations = 0

    async def deaf() -> None:
        nonlocal cancellations
        while cancellations < 2:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancellations += 1

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    ending = asyncio.create_task(ended(task))
    await asyncio.sleep(0)
    ending.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait([ending, task])
    assert ending.cancelled()
    assert cancellations == 2


async def test_what_is_done_before_the_event_has_its_result() -> None:
    async def answer() -> int:
        return 7

    done = await run_until(asyncio.Event(), answer())
    assert done is not None
    assert done.result() == 7


async def test_what_is_not_done_by_the_event_is_ended() -> None:
    event, ended_as = asyncio.Event(), []

    async def for_ever() -> None:
        event.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            ended_as.append(error)
            raise

    assert await run_until(event, for_ever()) is None
    assert len(ended_as) == 1
