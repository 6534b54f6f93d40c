"""The group's offsets: what lag tools look at. Nothing is decided by them."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from consumer.errors import EbbtideError
from consumer.ports import Clock, Source
from consumer.tasks import ended, run_until


class GroupOffsets:
    """Tells where partitions stand: now and then in the background, and at the end."""

    def __init__(self, source: Source, clock: Clock, every_ms: int) -> None:
        self._source, self._clock, self._every_ms = source, clock, every_ms
        self._told: dict[int, int] = {}
        self._told_ms = 0
        self._telling: asyncio.Task[None] | None = None

    def start(self, stands: Mapping[int, int]) -> None:
        """Tell what is new, if that was not done lately."""
        now_ms = self._clock.now_ms()
        is_telling = self._telling is not None and not self._telling.done()
        if not is_telling and abs(now_ms - self._told_ms) >= self._every_ms and (news := self._news(stands)):
            self._told_ms = now_ms
            self._telling = asyncio.create_task(self._tell(news))

    async def finish(self, stands: Mapping[int, int], giving_up: asyncio.Event) -> None:
        """Tell for the last time, but wait no longer than until `giving_up`; nothing is told after that."""
        await ended(self._telling)
        if (news := self._news(stands)) and not giving_up.is_set():
            await run_until(giving_up, self._tell(news))

    def _news(self, stands: Mapping[int, int]) -> dict[int, int]:
        return {partition: offset for partition, offset in stands.items() if self._told.get(partition) != offset}

    async def _tell(self, news: Mapping[int, int]) -> None:
        with suppress(EbbtideError):  # the next time then; what is wrong for good, other calls say
            await self._source.tell(news)
            self._told |= news
