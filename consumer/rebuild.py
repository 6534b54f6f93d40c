"""Bringing the view of a partition in place from the changelog: all of it, or what it has not seen yet."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

import structlog

from consumer.ports import Changelog, StateStore
from consumer.records import Chunk, Header, Logged
from consumer.tasks import ended
from consumer.telemetry import Telemetry

log = structlog.get_logger()
T = TypeVar("T")
_TELL_EVERY_S = 5.0


class Rebuild:
    """Reads ahead one chunk while the store takes in another: memory holds two chunks, whatever the partition holds."""

    def __init__(
        self, changelog: Changelog, store: StateStore, telemetry: Telemetry, partition: int, logged: Logged
    ) -> None:
        self._changelog, self._store, self._telemetry = changelog, store, telemetry
        self._partition, self._logged = partition, logged

    async def restore(self, seen: Header | None, generation: str) -> Header:
        """Fill a new generation of keys and switch to it."""
        parts = 0
        async with aclosing(self._chunks("restore", after=-1)) as chunks:
            async for chunk in chunks:
                await self._store.fill(self._partition, generation, parts, chunk.users)
                parts += 1
        header = Header.of(self._logged, generation)
        await self._store.switch(self._partition, seen, parts, header)
        return header

    async def catch_up(self, header: Header) -> Header:
        """Apply what was committed after the header."""
        async with aclosing(self._chunks("catch-up", after=header.offset)) as chunks:
            async for chunk in chunks:
                header = await self._store.catch_up(self._partition, header, chunk, self._logged)
        return header

    async def _chunks(self, what: str, after: int) -> AsyncGenerator[Chunk, None]:
        """The changelog's chunks, with progress told."""
        progress = _Progress(what, self._partition, after, self._logged.offset)
        try:
            async with aclosing(_ahead(self._changelog.read(self._partition, after, self._logged.offset))) as chunks:
                async for chunk in chunks:
                    yield chunk
                    self._telemetry.rebuilding(self._partition, progress.advance(chunk))
            progress.end()
        finally:
            self._telemetry.rebuilding(self._partition, None)


class _Progress:
    """How far a rebuild is, and when it will end."""

    def __init__(self, what: str, partition: int, after: int, through: int) -> None:
        self._what, self._partition, self._after, self._through = what, partition, after, through
        self._started = self._told = time.monotonic()
        self._records = 0

    def advance(self, chunk: Chunk) -> float:
        """The share that is done."""
        self._records += len(chunk.users)
        share = (chunk.last_offset - self._after) / max(self._through - self._after, 1)
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            left_s = (now - self._started) * (1 - share) / max(share, 1e-9)
            log.info(
                f"{self._what} under way", partition=self._partition, done=f"{share:.0%}", left_s=round(left_s),
                users_per_s=round(self._records / (now - self._started)),
            )  # fmt: skip
        return share

    def end(self) -> None:
        took_s = time.monotonic() - self._started
        log.info(f"{self._what} done", partition=self._partition, users=self._records, took_s=round(took_s, 3))


async def _ahead(items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same items, the next one being fetched while one is used."""
    fetching = asyncio.ensure_future(anext(items, None))
    try:
        while (item := await fetching) is not None:
            fetching = asyncio.ensure_future(anext(items, None))
            yield item
    finally:
        await ended(fetching)
        await items.aclose()
