"""`ebbtide repartition`: all states into a new state topic, as many partitions as the input has now.

Nothing that exists changes but for barriers in the old state topic, so that a run which ended in the middle is undone
by deleting the new topic. It holds places with positions that no service works on, and ends with the true ones.
"""

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from secrets import token_hex

import structlog

from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.kafka_unread import UnreadInput, members, retained
from consumer.adapters.topics import create_topics, partition_count, topic_problems
from consumer.errors import ConfigurationError, EbbtideError
from consumer.ports import Changelog
from consumer.repartition_move import Move, NewPartition, last_positions, refuse, waiting
from consumer.repartition_plan import Drafts, InputNow, Plan, Split, kept_for
from consumer.settings import Settings

log = structlog.get_logger()
_TELL_EVERY_S = 5.0


@dataclass(frozen=True)
class Choices:
    """What an operator has allowed."""

    requeue_unread: bool = False
    drop_early: bool = False


@dataclass(frozen=True)
class Moved:
    """What was done."""

    state_topic: str
    partitions: list[NewPartition]
    requeued_records: int
    dropped_early_users: int

    def what_to_do(self) -> str:
        """The next step of the operator."""
        lines = [
            f"Set EBBTIDE_STATE_TOPIC={self.state_topic} for every process of the service and start it: it restores",
            "Redis by itself. The old state topic is not needed any more once it runs.",
        ]
        if self.requeued_records:
            lines.append(f"{self.requeued_records:,} unread records were published anew, at the end of the input.")
        if self.dropped_early_users:
            lines.append(f"{self.dropped_early_users:,} users had two states; the later and shorter one was dropped.")
        return "\n".join(lines)


async def repartition(settings: Settings, into: str | None, choices: Choices) -> Moved | None:
    """Make the new state topic; None where nothing has to move. Raises `EbbtideError` for what stands against it."""
    now = await partition_count(settings, settings.events_topic)
    states_in = await partition_count(settings, settings.state_topic)
    target = _target(settings, into or f"{settings.state_topic}-{now}")
    async with AsyncExitStack() as stack:
        old, new, unread = KafkaChangelog(settings), KafkaChangelog(target), UnreadInput(settings)
        for each in (old, new, unread):
            stack.push_async_callback(each.close)
        if states_in == now and await _fits(old, settings, now):
            return None
        await _refuse_members(settings)
        logged = await last_positions(old, states_in)
        from_end = settings.auto_offset_reset == "latest"
        input_now = InputNow(await retained(settings, settings.events_topic, now), from_end)
        plan = Plan(logged, kept_for(logged.values(), states_in, now), input_now)
        found = await waiting(unread, plan)
        if not choices.requeue_unread:
            refuse(found)
        await _make(target, now)
        move = Move(old, new, Drafts(plan, [token_hex(8) for _ in range(now)]), Split(plan.kept_for, now))
        try:
            await move.begin()
            await move.copy(_Progress().tell)
            dropped = await move.take_early(choices.drop_early)
            requeued = await move.requeue(unread, found)
            await _refuse_members(settings)  # one that has come since
            return Moved(target.state_topic, await move.end(), requeued, dropped)
        except EbbtideError as error:
            raise EbbtideError(
                f"{error}\nThe service has lost nothing; delete {target.state_topic} or choose another topic with "
                "--into, and run this again"
            ) from error


def _target(settings: Settings, state_topic: str) -> Settings:
    if state_topic in settings.topics:
        raise ConfigurationError(f"{state_topic} is in use: choose another topic with --into")
    return settings.model_copy(update={"state_topic": state_topic})


async def _fits(changelog: Changelog, settings: Settings, now: int) -> bool:
    """Whether users are where they belong, as far as one sees beside a service that may be running."""
    ends = await retained(settings, settings.state_topic, now, with_open=False)
    found = [await changelog.last(partition, end - 1) for partition, (_, end) in enumerate(ends)]
    return kept_for([each for each in found if each], now, now) == now


async def _refuse_members(settings: Settings) -> None:
    if hosts := await members(settings):
        raise EbbtideError(
            f"the service runs: group {settings.group_id} has {len(hosts)} members, at {', '.join(sorted({*hosts}))}. "
            f"Stop it first; one that did not leave is a member for {settings.kafka_session_timeout_ms // 1000} s more"
        )


async def _make(target: Settings, now: int) -> None:
    """The topic, empty; raises `ConfigurationError` if the service could not use it."""
    if target.state_topic not in await create_topics(target):
        partitions = await partition_count(target, target.state_topic)
        if any(end for _, end in await retained(target, target.state_topic, partitions)):
            raise EbbtideError(
                f"{target.state_topic} holds records, maybe of a run that was interrupted: delete it, or choose "
                "another topic with --into"
            )
    if problems := await topic_problems(target):
        raise ConfigurationError("; ".join(problems))


class _Progress:
    """How far it is, and when it will end."""

    def __init__(self) -> None:
        self._started = self._told = time.monotonic()

    def tell(self, share: float, records: int) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            took_s = now - self._started
            left_s, speed = took_s * (1 - share) / max(share, 1e-9), records / took_s
            log.info("moving users", done=f"{share:.0%}", left_s=round(left_s), users_per_s=round(speed))
