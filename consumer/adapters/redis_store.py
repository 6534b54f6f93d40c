"""User states in Redis or Valkey: per partition a header, and per generation a hash of states and a set of timers."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from consumer.adapters import redis_scripts as scripts
from consumer.adapters.redis_client import Command, connect
from consumer.errors import ConfigurationError, LostPartitionError
from consumer.records import Chunk, Header, Headers, Logged, UserState, View

_FILL_USERS = 250  # in one script: more are slower, and others have to wait
_UNFINISHED_EXPIRE_S = 3_600
_NO_EVICTION = "noeviction"


@dataclass(frozen=True)
class Keys:
    """The names of all keys. The hash tag keeps those of a partition on one node of a cluster."""

    group_id: str

    def of(self, partition: int, generation: str) -> tuple[str, str, str]:
        """Header, users and timers."""
        tag = f"{{{self.group_id}:{partition}}}"
        return f"{tag}:header", f"{tag}:users:{generation}", f"{tag}:due:{generation}"

    def filled(self, partition: int, generation: str) -> tuple[str, str, str, str]:
        """The same, and how many parts of an unfinished generation are written."""
        return (*self.of(partition, generation), f"{{{self.group_id}:{partition}}}:fill:{generation}")


class RedisStore:
    """The `StateStore` of the service. Nothing is repeated: a call without an answer raises `UnavailableError`."""

    def __init__(self, url: str, group_id: str, timeout_s: float) -> None:
        self._client = connect(url, timeout_s)
        self._keys = Keys(group_id)

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.close()

    async def view(self, partition: int) -> View:
        """See `StateStore.view`."""
        keys = self._keys.of(partition, "")
        [[header, is_intact]] = await self._client.run([_eval(scripts.VIEW, keys)])
        try:
            return View(Header.parse(header) if header else None, bool(is_intact))
        except (ValueError, TypeError):
            raise ConfigurationError(f"Redis holds something that is no header under {keys[0]}: {header!r}") from None

    async def load(self, users: Mapping[int, Sequence[str]], at: Headers) -> dict[int, list[bytes | None]]:
        """See `StateStore.load`."""
        return await self._read(scripts.LOAD, users, at)

    async def due(self, until_ms: Mapping[int, int], at: Headers, limit: int) -> dict[int, list[str]]:
        """See `StateStore.due`."""
        asked = {partition: (until, limit) for partition, until in until_ms.items()}
        found = await self._read(scripts.DUE, asked, at)
        return {partition: [user.decode() for user in users] for partition, users in found.items()}

    async def step(self, partition: int, before: Header, after: Header, users: Sequence[UserState]) -> None:
        """See `StateStore.step`."""
        keys = self._keys.of(partition, before.generation)
        await self._change(partition, before, [_eval(scripts.STEP, keys, str(before), str(after), *_arguments(users))])

    async def catch_up(self, partition: int, before: Header, chunk: Chunk, last: Logged | None) -> Header:
        """See `StateStore.catch_up`."""
        at = chunk.logged.position if chunk.logged else before
        is_last = last is not None and chunk.last_offset >= last.offset
        arguments = (
            str(before),
            f"{before.genesis} {chunk.last_offset} {before.generation}",
            f"{at.next_offset} {at.watermark_ms}",
            str(Header.of(last, before.generation)) if last and is_last else "",
            *_arguments(chunk.users),
        )
        keys = self._keys.of(partition, before.generation)
        return Header.parse(await self._change(partition, before, [_eval(scripts.CATCH_UP, keys, *arguments)]))

    async def discard(self, partition: int, before: Header) -> None:
        """See `StateStore.discard`."""
        keys = self._keys.of(partition, before.generation)
        await self._change(partition, before, [_eval(scripts.DISCARD, keys, str(before))])

    async def fill(self, partition: int, generation: str, part: int, users: Sequence[UserState]) -> None:
        """See `StateStore.fill`."""
        keys = self._keys.filled(partition, generation)
        starts = range(0, len(users) or 1, _FILL_USERS)
        commands = [
            _eval(
                scripts.FILL, keys, generation, part, part + (start == starts[-1]), _UNFINISHED_EXPIRE_S,
                *_arguments(users[start : start + _FILL_USERS]),
            )
            for start in starts
        ]  # fmt: skip
        await self._change(partition, f"{part} parts of generation {generation}, not in use", commands)

    async def switch(self, partition: int, seen: Header | None, parts: int, header: Header) -> None:
        """See `StateStore.switch`."""
        old = self._keys.of(partition, seen.generation)[1:] if seen else ()
        keys = (*self._keys.filled(partition, header.generation), *old)
        expected = f"{seen} or nothing, and {header} in {parts} parts"
        await self._change(partition, expected, [_eval(scripts.SWITCH, keys, str(seen or ""), parts, str(header))])

    async def policy_problem(self) -> str | None:
        """What is wrong if Redis drops states when its memory is full, and the command that mends it.

        Raises `ConfigurationError` if it may not be asked.
        """
        policies = await self._policies()
        wrong = sorted({policy for policy in policies if policy != _NO_EVICTION})
        if not wrong:
            return None
        return (
            f"Redis drops states when its memory is full (maxmemory-policy {', '.join(wrong)}), and they are restored "
            f"from Kafka over and over: run `CONFIG SET maxmemory-policy {_NO_EVICTION}` on every master, and write "
            f"`maxmemory-policy {_NO_EVICTION}` in redis.conf (or the parameter group of a managed service)"
        )

    async def _policies(self) -> list[str]:
        """Of every master."""
        with suppress(ConfigurationError, KeyError):  # managed services forbid it
            answers = await self._client.ask_masters("CONFIG GET", "maxmemory-policy")
            return [answer["maxmemory-policy"] for answer in answers]
        return [answer["maxmemory_policy"] for answer in await self._client.ask_masters("INFO", "memory")]

    async def _read(self, script: str, asked: Mapping[int, Sequence[str | int]], at: Headers) -> dict[int, list[Any]]:
        """By partition, what a script finds at one of the headers; raises `LostPartitionError` for all that refuse."""
        commands = [
            _eval(script, self._keys.of(partition, _generation(at[partition])), *_accepted(at[partition]), *arguments)
            for partition, arguments in asked.items()
        ]
        answers = dict(zip(asked, await self._client.run(commands), strict=True))
        expected = {partition: " or ".join(map(str, at[partition])) for partition in asked}
        _refuse({partition: (answer, expected[partition]) for partition, answer in answers.items()})
        return {partition: found for partition, (_, found) in answers.items()}

    async def _change(self, partition: int, expected: object, commands: Sequence[Command]) -> bytes:
        """The result of the last command; raises `LostPartitionError` if one refuses."""
        answers: list[Any] = await self._client.run(commands)
        for answer in answers:
            _refuse({partition: (answer, str(expected))})
        result: bytes = answers[-1][1]
        return result


def _eval(script: str, keys: Sequence[str], *arguments: str | bytes | int) -> Command:
    return ("EVAL", script, len(keys), *keys, *arguments)


def _generation(headers: Sequence[Header]) -> str:
    return headers[0].generation if headers else ""


def _accepted(headers: Sequence[Header]) -> tuple[str | int, ...]:
    return (len(headers), *map(str, headers))


def _arguments(users: Sequence[UserState]) -> list[str | bytes | int]:
    return [
        part
        for user in users
        for part in (user.user_id, user.value, "" if user.due_ms is None else user.due_ms)
    ]  # fmt: skip


def _refuse(answers: Mapping[int, tuple[Any, str]]) -> None:
    """Raise what refusals mean; by partition, the answer of a script and what was expected."""
    refused = {partition: told for partition, told in answers.items() if told[0][0] != scripts.FOUND}
    if refused:
        raise LostPartitionError("; ".join(_refusal(*each) for each in refused.items()), refused)


def _refusal(partition: int, told: tuple[Any, str]) -> str:
    (code, header, users, timers, parts), expected = told
    if code == scripts.GIVEN_UP:
        return (
            f"partition {partition} has {users} users and {timers} timers in Redis after a change from "
            f"{header.decode()}, not as many as the changelog says: this view of it is given up"
        )
    filled = f" in {parts.decode()} parts" if parts != b"0" else ""
    return (
        f"partition {partition} stands at {header.decode() or 'nothing'} in Redis with {users} users and {timers} "
        f"timers{filled}, not at {expected}"
    )
