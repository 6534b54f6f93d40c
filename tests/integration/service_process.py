"""`ebbtide run` and the other commands as processes of their own: signals, exit codes, what they say."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout
from pydantic import SecretStr

from consumer.settings import Settings
from support import DEADLINE_S, unique, until

COMMAND = (sys.executable, "-W", "error", "-m", "consumer")
_OURS = ("PATH", "HOME", "TMPDIR", "LANG")


def environment(settings: Settings | None = None, **variables: str) -> dict[str, str]:
    """What a command finds in its environment: nothing of Ebbtide's but what is named here."""
    chosen = {name: getattr(settings, name) for name in settings.model_fields_set} if settings else {}
    ours = {name: os.environ[name] for name in _OURS if name in os.environ}
    return ours | {f"EBBTIDE_{name.upper()}": _text(value) for name, value in chosen.items()} | variables


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@dataclass(frozen=True)
class Finished:
    """What is left of a command."""

    code: int
    out: str
    err: str


async def ebbtide(
    *arguments: str, settings: Settings | None = None, folder: Path | None = None, **variables: str
) -> Finished:
    """Run a command to its end, `variables` being further ones of the environment."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(settings, **({"COLUMNS": "200"} | variables)),
        cwd=folder,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())


class ServiceProcess:
    """A running `ebbtide run`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process, self._log = process, log

    def lines(self, text: str = "") -> list[dict[str, Any]]:
        """Its log lines whose message holds `text`; fails if one is no JSON, such as a traceback."""
        whole = self._log.read_text().rpartition("\n")[0]
        return [line for line in map(json.loads, whole.splitlines()) if text in line["event"]]

    async def url(self) -> str:
        """Where it listens, once it does."""
        await self.until(lambda: self.lines("listening"), "listening")
        return str(self.lines("listening")[0]["url"])

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of an endpoint."""
        async with ClientSession(timeout=ClientTimeout(10)) as session, session.get(await self.url() + path) as answer:
            return answer.status, await answer.text()

    async def problems(self) -> list[str] | None:
        """What /readyz complains about; None when it is ready."""
        status, body = await self.get("/readyz")
        content = json.loads(body)
        assert (status, content["ok"]) in ((200, True), (503, False))
        return None if status == 200 else list(content["problems"])

    async def until_ready(self) -> None:
        """Wait for /readyz."""
        await self.until(self._is_ready, "ready")

    async def until(self, holds: Any, what: str, deadline_s: float = DEADLINE_S) -> None:
        """As `support.until`, and fail at once, with its log, when the process ends."""

        def check() -> Any:
            assert self._process.returncode is None, f"it ended while waiting for: {what}\n{self._log.read_text()}"
            return holds()

        await until(check, what, deadline_s)

    async def _is_ready(self) -> bool:
        return await self.problems() is None

    async def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; the exit code."""
        self._process.send_signal(number)
        code = await asyncio.wait_for(self._process.wait(), DEADLINE_S)
        print(self._log.read_text())  # shown where a test fails
        return code

    def suspend(self) -> None:
        """Stop it in its tracks, as a machine that swaps or a debugger would."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def cpu_s(self) -> float:
        """CPU time it has used, seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def service(settings: Settings, folder: Path, **variables: str) -> AsyncIterator[ServiceProcess]:
    """`ebbtide run`; killed when the block ends, if it has not ended before."""
    log = folder / f"{unique('service')}.log"
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "run",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=environment(settings, EBBTIDE_LOG_FORMAT="json", **variables),
            cwd=folder,
        )
    try:
        yield ServiceProcess(process, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def metric(exposition: str, name: str, **labels: str) -> float:
    """Sum of a metric's samples that have these labels, in Prometheus' text format."""
    total = 0.0
    for line in exposition.splitlines():
        found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if found and labels.items() <= _labels(found[1] or "").items():
            total += float(found[2])
    return total


def _labels(text: str) -> Mapping[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', text))
