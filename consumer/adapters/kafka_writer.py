"""The one producer through which a partition's states, messages and offset are committed together."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed
from aiokafka.structs import RecordMetadata

from consumer.adapters.kafka import MAX_BATCH_BYTES, MAX_MESSAGE_BYTES, connection, start_client, stopped
from consumer.errors import UnavailableError
from consumer.records import Message
from consumer.settings import Settings
from consumer.tasks import unasked

KeyValue = tuple[bytes, bytes | None]


class Writer:
    """Writes to partition `partition` of the state topic, and to other topics.

    With `delivery=exactly_once` the newest writer of a partition fences all older ones; after a call that failed it
    must be abandoned.
    """

    def __init__(self, settings: Settings, partition: int) -> None:
        self._settings, self._partition = settings, partition
        self._is_transactional = settings.delivery == "exactly_once"
        self._deadline_s = settings.kafka_transaction_timeout_ms / 1000
        self._producer = AIOKafkaProducer(
            **connection(settings),
            **self._delivery(),
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_MESSAGE_BYTES,
        )

    def _delivery(self) -> dict[str, Any]:
        if not self._is_transactional:
            return {"enable_idempotence": True}
        return {
            "transactional_id": f"{self._settings.group_id}.{self._settings.events_topic}.{self._partition}",
            "transaction_timeout_ms": self._settings.kafka_transaction_timeout_ms,
        }

    async def start(self) -> None:
        """Connect; from then on older writers can commit no more, and what they left open is aborted."""
        try:
            async with asyncio.timeout(self._deadline_s):
                await start_client(self._producer.start, self._producer.stop)
        except TimeoutError as error:
            raise UnavailableError("kafka", "no transaction coordinator answers") from error

    async def commit(self, states: Sequence[KeyValue], messages: Sequence[Message]) -> int:
        """All or nothing (once delivery is exactly_once); the offset of the last of the states."""
        async with asyncio.timeout(self._deadline_s):
            for topic in {self._settings.state_topic, *(message.topic for message in messages)}:
                await self._producer.partitions_for(topic)  # so that `_send` need not wait for it
            if self._is_transactional:
                await self._producer.begin_transaction()
            offset = await self._written(states, messages)
            if self._is_transactional:
                await self._producer.commit_transaction()
        return offset

    async def _written(self, states: Sequence[KeyValue], messages: Sequence[Message]) -> int:
        """Send everything and await all acknowledgements; the offset of the last of the states."""
        sent: list[asyncio.Future[RecordMetadata]] = []
        try:
            # All partitions are named before the event loop runs, so that one request adds them all to the transaction.
            for message in messages:
                send = self._producer.send(message.topic, message.value, message.key, headers=list(message.headers))
                sent.append(await send)
            if not self._is_transactional:  # a position may never be there before what it says was sent
                await asyncio.gather(*sent)
            in_last_batch = await self._send_states(states, sent)
            *_, last = await asyncio.gather(*sent)
        except BaseException:
            for acknowledgement in sent:
                acknowledgement.cancel()  # nobody will ask for its error
            raise
        if last.offset < 0:
            raise ProducerClosed("the broker does not say where it has put the records")
        return int(last.offset) + in_last_batch - 1

    async def _send_states(self, states: Sequence[KeyValue], sent: list[asyncio.Future[RecordMetadata]]) -> int:
        """In batches, which keep their order; how many records the last one has."""
        batch = self._producer.create_batch()
        for key, value in states:
            if batch.append(key=key, value=value, timestamp=None) is None:
                sent.append(await self._send_batch(batch))
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        sent.append(await self._send_batch(batch))
        return int(batch.record_count())

    async def _send_batch(self, batch: Any) -> Any:
        batch.close()
        return await self._producer.send_batch(batch, self._settings.state_topic, partition=self._partition)

    async def stop(self) -> None:
        """Disconnect; nothing is under way."""
        await stopped(self._producer.stop)

    def died_of(self) -> BaseException | None:
        """The error that ended the producer's background task, if one did."""
        sender = self._producer._sender.sender_task
        return sender.exception() if sender and sender.done() and not sender.cancelled() else None

    async def abandon(self) -> None:
        """Disconnect, whatever is under way: what was not sent never will be, be it after newer states.

        aiokafka 0.14 has no call for it: `stop` flushes first, and may hang or end in a stray cancellation.
        """
        producer, self._producer._closed = self._producer, True
        sender = producer._sender.sender_task
        sender.cancel()
        producer._message_accumulator.fail_all(ProducerClosed())
        for future in self._waited_for():
            unasked(future)
        await stopped(producer.client.close)
        await asyncio.wait([sender], timeout=1.0)
        sender.cancel()

    def _waited_for(self) -> Iterator[asyncio.Future[Any]]:
        accumulator = self._producer._message_accumulator
        for batch in chain(accumulator._pending_batches, *accumulator._batches.values()):
            yield from (batch.future, batch._drain_waiter)
        if ending := self._producer._txn_manager._transaction_waiter:
            yield ending
