"""The service's processes: as many as wanted, each with a log that is kept, replaced when one ends by itself."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from consumer.settings import Settings

_BLOCKABLE = Path(__file__).with_name("blockable.py")
_PASSED_ON = ("PYTHONPATH", "PATH", "HOME", "TMPDIR", "LANG")
_END_DEADLINE_S = 60.0
_LOOK_EVERY_S = 0.2
_RESTART = "only a new process gets on"


def environment(settings: Settings) -> dict[str, str]:
    """What a service finds in its environment."""
    chosen = {name: getattr(settings, name) for name in settings.model_fields_set}
    texts = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in chosen.items()
    }
    ours = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return ours | {f"EBBTIDE_{name.upper()}": str(value) for name, value in texts.items()}


@dataclass
class Service:
    """One process."""

    number: int
    process: asyncio.subprocess.Process
    log: Path
    is_wanted: bool = True  # False: it may end
    is_taken: bool = False  # a fault is at it

    @property
    def name(self) -> str:
        """For people."""
        return f"service-{self.number:03}"

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has a process."""
        return self.process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """A signal, if it is there to get it."""
        if self.is_running:
            self.process.send_signal(number)

    def hit(self, number: signal.Signals) -> None:
        """The same; raises `LookupError` if it is not there any more."""
        if not self.is_running:
            raise LookupError(f"{self.name} has ended by itself")
        self.send(number)

    async def kill(self) -> None:
        """`kill -9`; returns when it is gone."""
        self.is_wanted = False
        self.send(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int | None:
        """SIGTERM; the exit code, None if it had to be killed."""
        self.is_wanted = False
        self.send(signal.SIGTERM)
        with suppress(TimeoutError):
            return await asyncio.wait_for(self.process.wait(), _END_DEADLINE_S)
        await self.kill()
        return None


@dataclass
class Fleet:
    """Services with the same settings."""

    settings: Settings
    folder: Path
    block_s: float
    services: list[Service] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)  # services that ended though nobody had asked
    restarts: int = 0  # those that said that only a new process gets on

    async def start(self) -> Service:
        """One more."""
        number = len(self.services) + 1
        log = self.folder / f"service-{number:03}.log"
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(_BLOCKABLE), str(self.block_s), "run",
                stdin=asyncio.subprocess.DEVNULL, stdout=stream, stderr=stream,
                env=environment(self.settings) | {"EBBTIDE_LOG_FORMAT": "json"},
                cwd=self.folder,
            )  # fmt: skip
        self.services.append(Service(number, process, log))
        return self.services[-1]

    @property
    def running(self) -> list[Service]:
        """Those that are there and wanted."""
        return [each for each in self.services if each.is_running and each.is_wanted]

    def pids(self) -> list[int]:
        """Of all that are there, latest first."""
        return [each.pid for each in reversed(self.services) if each.is_running]

    @asynccontextmanager
    async def taken(self, chance: random.Random, patience_s: float = 45.0) -> AsyncIterator[Service]:
        """A running service that no other fault is at; one more is left alone, so that work goes on."""
        give_up_at = time.monotonic() + patience_s
        while len(free := [each for each in self.running if not each.is_taken]) < 2:
            if time.monotonic() > give_up_at:
                raise TimeoutError("no service to be at")
            await asyncio.sleep(_LOOK_EVERY_S)
        service = chance.choice(free)
        service.is_taken = True
        try:
            yield service
        finally:
            service.is_taken = False

    async def keep(self) -> None:
        """Start another one for each that ends by itself, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            for each in [each for each in self.services if each.is_wanted and not each.is_running]:
                each.is_wanted = False
                if _RESTART in each.log.read_text(errors="replace"):
                    self.restarts += 1
                else:
                    self.exits.append(f"{each.name} ended with code {each.process.returncode}")
                await self.start()

    async def stop(self) -> list[str]:
        """SIGTERM to all; what was wrong with how they ended."""
        ending = [each for each in self.services if each.is_running]
        codes = await asyncio.gather(*(each.stop() for each in ending))
        return [
            f"{each.name} {'did not end' if code is None else f'ended with code {code}'} after SIGTERM"
            for each, code in zip(ending, codes, strict=True)
            if code != 0
        ]

    async def kill(self) -> None:
        """End all at once, whatever happens."""
        await asyncio.gather(*(each.kill() for each in self.services if each.is_running))
