"""Is the service ready, and does it get on? Answers for /readyz and /healthz, and one log line per change."""

import structlog

from consumer.ports import Clock, Telemetry

log = structlog.get_logger()


class Health:
    """What is known of the dependencies and of progress."""

    def __init__(self, clock: Clock, telemetry: Telemetry, stall_s: float) -> None:
        self._clock, self._telemetry, self._stall_ms = clock, telemetry, stall_s * 1000
        self._away: dict[str, str] = {"kafka": "not connected yet", "redis": "not connected yet"}
        self._live = 0
        self._lag = 0
        self._progress_ms = clock.now_ms()

    def up(self, dependency: str) -> None:
        """A call to `dependency` worked."""
        if self._away.pop(dependency, None) is not None:
            log.info("connected", dependency=dependency)
            self._telemetry.dependency(dependency, True)

    def down(self, dependency: str, why: str) -> None:
        """A call to `dependency` failed; it is tried again."""
        if self._away.get(dependency) in (None, "not connected yet"):
            log.warning("away, trying again", dependency=dependency, why=why)
            self._telemetry.dependency(dependency, False)
        self._away[dependency] = why

    def progress(self, live_partitions: int, lag: int, worked: bool) -> None:
        """The main loop has come round; it `worked` if it processed anything."""
        self._live, self._lag = live_partitions, lag
        if worked or lag == 0:
            self._progress_ms = self._clock.now_ms()
        self._telemetry.partitions_live(live_partitions)

    def why_not_ready(self) -> list[str]:
        """Sentences; empty when ready."""
        return [f"{name}: {why}" for name, why in sorted(self._away.items())]

    def why_not_healthy(self) -> list[str]:
        """Sentences; empty when healthy. A server that is away does not count: a restart would not bring it back."""
        still_ms = self._clock.now_ms() - self._progress_ms
        if self._away or still_ms < self._stall_ms:
            return []
        return [f"no progress for {still_ms / 1000:.0f} s with {self._lag} records waiting"]

    def summary(self) -> dict[str, object]:
        """For the body of both endpoints."""
        return {"partitions_live": self._live, "lag_records": self._lag}
