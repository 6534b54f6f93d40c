"""Takes up a changed policy.toml while the service runs; a wrong one leaves the policy in force as it is."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from consumer.policy_file import PolicyError, PolicyInForce

log = structlog.get_logger()
LOOK_EVERY_S = 2.0
Seen = tuple[int, int, int] | None  # of a file: inode, size, time of change in ns; None: it cannot be seen


class PolicyTelemetry(Protocol):
    """What operators watch of it."""

    def policy_in_force(self, digest: str) -> None:
        """This version of the policy decides from now on."""

    def policy_refused(self) -> None:
        """A changed file was wrong, or cannot be read."""


class PolicyWatch:
    """Looks at the file now and then; each version of it is read once."""

    def __init__(
        self,
        path: Path,
        load: Callable[[], PolicyInForce],
        use: Callable[[PolicyInForce], None],
        telemetry: PolicyTelemetry,
    ) -> None:
        self._path, self._load, self._use, self._telemetry = path, load, use, telemetry
        self._seen: Seen = (0, 0, 0)  # so that the first look reads: the file may have changed since the start
        self._digest = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Read the file if it is another than at the last look; put it in force, or say what is wrong with it."""
        seen = _seen(self._path)
        if seen == self._seen:
            return
        self._seen = seen  # before reading: a change in between is seen by the next look
        try:
            policy = await asyncio.to_thread(self._load)
        except PolicyError as error:
            self._telemetry.policy_refused()
            log.error("policy refused; the one before stays in force", why=str(error))
            return
        if policy.digest != self._digest:
            self._digest = policy.digest
            self._use(policy)
            self._telemetry.policy_in_force(policy.digest)
            log.info("policy in force", file=str(self._path), hash=policy.digest)


def _seen(path: Path) -> Seen:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
