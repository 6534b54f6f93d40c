"""Is the service ready, and does it get on? Answers for /readyz and /healthz, and one log line per change."""

from collections.abc import Mapping, Sequence

import structlog

from consumer.telemetry import Telemetry

log = structlog.get_logger()
_NOT_YET = "not connected yet"
_NO_SERVER = ("input",)  # it may fail while Kafka answers, and then a restart may help


class Health:
    """What is known of the dependencies and of progress. What that comes to is the watchdog's."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._away: dict[str, str] = {"kafka": _NOT_YET, "redis": _NOT_YET}
        self._held: dict[int, str] = {}
        self._problems: Sequence[str] = ()
        self._live = 0
        self._lag = 0
        self.rounds = 0  # of the main loop

    def up(self, dependency: str) -> None:
        """A call to `dependency` worked."""
        if self._away.pop(dependency, None) is not None:
            log.info("connected", dependency=dependency)
            self._telemetry.dependency(dependency, True)

    def down(self, dependency: str, why: str) -> None:
        """A call to `dependency` failed; it is tried again."""
        if self._away.get(dependency) in (None, _NOT_YET):
            log.warning("away, trying again", dependency=dependency, why=why)
            self._telemetry.dependency(dependency, False)
        self._away[dependency] = why

    def hold(self, partition: int, why: str) -> None:
        """Only a person can let this partition go on."""
        if self._held.get(partition) != why:
            log.error("held", partition=partition, why=why)
        self._held[partition] = why

    def release(self, partition: int) -> None:
        """It is claimed now, or is not ours any more."""
        if self._held.pop(partition, None) is not None:
            log.info("no longer held", partition=partition)

    def progress(self, live_partitions: int, lag: int) -> None:
        """The main loop has come round."""
        self._live, self._lag = live_partitions, lag
        self.rounds += 1
        self._telemetry.partitions_live(live_partitions)

    def found(self, problems: Sequence[str]) -> None:
        """What the watchdog has found, in sentences."""
        self._problems = problems

    def away(self) -> set[str]:
        """Servers that do not answer."""
        return self._away.keys() - set(_NO_SERVER)

    def input_failure(self) -> str | None:
        """Why the input cannot be read."""
        return self._away.get("input")

    def held(self) -> Mapping[int, str]:
        """By partition, what a person has to decide."""
        return dict(self._held)

    def why_not_ready(self) -> list[str]:
        """Sentences; empty when ready."""
        reasons = {**self._away, **{f"partition {partition}": why for partition, why in self._held.items()}}
        return [f"{name}: {why}" for name, why in sorted(reasons.items())]

    def why_not_healthy(self) -> list[str]:
        """Sentences; empty when healthy."""
        return list(self._problems)

    def summary(self) -> dict[str, object]:
        """For the body of both endpoints."""
        return {"partitions_live": self._live, "lag_records": self._lag}
