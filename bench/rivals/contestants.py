"""Who takes part: names, commands, and what they need."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RIVALS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
RIVALS_JAVA = ROOT / "bench" / "rivals" / "kafka-streams"
RIVALS_JAR = RIVALS_JAVA / "target" / "rival.jar"


@dataclass(frozen=True)
class Contestant:
    """A command that does the job of `JOB.md`."""

    name: str
    title: str
    command: tuple[str, ...]
    needs: tuple[Path, ...] = ()
    share: float = 1.0  # of the log that it is given: whoever takes very long gets less of it
    is_ours: bool = False

    @property
    def missing(self) -> str | None:
        """What it cannot run without, if that is not there."""
        if shutil.which(self.command[0]) is None:
            return f"there is no {self.command[0]}"
        return next((f"there is no {path.relative_to(ROOT)}" for path in self.needs if not path.exists()), None)


def _ours(delivery: str) -> Contestant:
    command = (sys.executable, "-m", "bench.rivals.ebbtide_service", "--delivery", delivery)
    return Contestant(f"ebbtide-{delivery}", f"Ebbtide, {delivery.replace('_', ' ')}", command, is_ours=True)


def _python(name: str, title: str, module: str, *more: str, share: float = 1.0) -> Contestant:
    return Contestant(name, title, (str(RIVALS_PYTHON), "-m", f"bench.rivals.{module}", *more), share=share)


def _streams(mode: str) -> Contestant:
    command = (str(RIVALS_JAVA / "run"), "--mode", mode)  # with the JVM's options as tuned
    return Contestant(f"streams-{mode}", f"Kafka Streams, {mode}, exactly once", command, (RIVALS_JAR,))


CONTESTANTS = (
    _ours("exactly_once"),
    _ours("at_least_once"),
    _python("loop", "hand-tuned loop, at least once", "loop"),
    _streams("batched"),
    _streams("per-event"),
    _python("bytewax", "Bytewax, at least once", "bytewax_flow"),
    _python("faust", "Faust-streaming, at least once", "faust_app"),
    _python("quix-at_least_once", "Quix Streams, at least once", "quix", "--delivery", "at_least_once", share=0.25),
    _python("quix-exactly_once", "Quix Streams, exactly once", "quix", "--delivery", "exactly_once", share=0.25),
    _python("day", "the loop of a day, at least once", "day", share=0.1),
)
