"""When which fault happens: a schedule that follows from a seed, and its execution, a JSON line for each fault."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from faults.table import FAULTS, Fault
from faults.world import World

_FIRST_AT_S = 1.0
_SNAPSHOT_EVERY_S = 20.0
_LONG_S = 30.0


@dataclass(frozen=True)
class Scheduled:
    """A fault that is to come."""

    at_s: float  # after the nemesis begins
    fault: Fault
    duration_s: float
    seed: int  # for what it still has to choose


@dataclass(frozen=True)
class Inflicted:
    """A fault that was."""

    number: int
    at_s: float
    kind: str
    target: str
    duration_s: float
    took_s: float  # with the waiting for its turn, and until the server was back
    error: str | None = None


def schedule(seed: int, count: int, span_s: float, faults: Sequence[Fault] = FAULTS) -> list[Scheduled]:
    """So many faults, of every kind one if there is room; at irregular times, so that some overlap."""
    chance = random.Random(seed)
    kinds = chance.sample(faults, min(count, len(faults)))
    kinds += chance.choices(faults, [each.weight for each in faults], k=count - len(kinds))
    chance.shuffle(kinds)
    kinds.sort(key=lambda fault: fault.duration_s[0] < _LONG_S)  # the long ones first, so that they end in time
    times_s = sorted(chance.uniform(0, span_s) for _ in kinds)
    even_s = [span_s * index / max(len(kinds), 1) for index in range(len(kinds))]
    return [
        Scheduled(
            _FIRST_AT_S + (at_s + evenly_s) / 2, fault, chance.uniform(*fault.duration_s), chance.randrange(2**32)
        )
        for at_s, evenly_s, fault in zip(times_s, even_s, kinds, strict=True)
    ]


class Nemesis:
    """Carries out a schedule."""

    def __init__(self, world: World, log: Path) -> None:
        self._world, self._log = world, log
        self._began = 0.0
        self.inflicted: list[Inflicted] = []

    async def run(self, faults: Sequence[Scheduled]) -> None:
        """Inflict them all; returns when the last has ended."""
        self._began = time.monotonic()
        snapshots = asyncio.create_task(self._snapshots())
        try:
            async with asyncio.TaskGroup() as group:
                for number, each in enumerate(faults, start=1):
                    await asyncio.sleep(max(self._began + each.at_s - time.monotonic(), 0))
                    group.create_task(self._inflict(number, each))
        finally:
            snapshots.cancel()
            await asyncio.wait([snapshots])

    async def _inflict(self, number: int, scheduled: Scheduled) -> None:
        begun, error, target = time.monotonic(), None, ""
        try:
            target = await scheduled.fault.inflict(self._world, random.Random(scheduled.seed), scheduled.duration_s)
        except Exception as failure:  # the fault was not what it should be: say so, and go on with the others
            error = f"{type(failure).__name__}: {failure}"
        took_s = time.monotonic() - begun
        self._tell(
            Inflicted(
                number,
                round(begun - self._began, 2),
                scheduled.fault.kind,
                target,
                round(scheduled.duration_s, 2),
                round(took_s, 2),
                error,
            )
        )

    def _tell(self, fault: Inflicted) -> None:
        self.inflicted.append(fault)
        with self._log.open("a") as log:
            log.write(json.dumps({"time": round(time.time(), 3)} | asdict(fault)) + "\n")

    async def _snapshots(self) -> None:
        """Now and then an RDB that may be put back later."""
        while True:
            async with self._world.valkey_lock:
                await self._world.snapshot()
            await asyncio.sleep(_SNAPSHOT_EVERY_S)
