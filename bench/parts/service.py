"""The service at work on a log, as a process of its own; what is measured begins after so many events."""

import argparse
import json
import time
from contextlib import nullcontext
from pathlib import Path

from bench.parts.clock import StageClock
from bench.parts.stages import COMPUTED, ON_WIRES
from bench.rivals.command import Meter, Options
from bench.rivals.ebbtide_service import serve, settings_of
from consumer.event_loop import run_async
from consumer.logs import configure_logging
from consumer.settings import DEFAULT_MODEL_DIR


class LateMeter(Meter):
    """Begins once `warm_up` records are done, before the next are read."""

    def __init__(self, ready: Path, clock: StageClock, warm_up: int) -> None:
        super().__init__(ready)
        self._clock, self._warm_up = clock, warm_up
        self._records = 0
        self._at_begin: tuple[int, float, dict[str, float]] | None = None

    def reads(self) -> None:
        """See `Meter.reads`."""
        if self._at_begin is None and self._records >= self._warm_up:
            self._at_begin = self._records, time.process_time(), self._clock.seconds()

    def begin(self, records: int = 1) -> None:
        """See `Meter.begin`."""
        self._records += records

    def report(self, events: int) -> None:
        """See `Meter.report`; seconds by stage, and of the process."""
        assert self._at_begin is not None, "there are more events than that"
        records, cpu_s, seconds = self._at_begin
        now = self._clock.seconds()
        stages = {stage: each - seconds.get(stage, 0.0) for stage, each in now.items()}
        print(json.dumps({"events": events - records, "cpu_s": time.process_time() - cpu_s, "stages": stages}))


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--bootstrap", "--redis", "--input", "--group"):
        parser.add_argument(name, required=True)
    parser.add_argument("--events", type=int, required=True, help="Stop once so many have been processed.")
    parser.add_argument("--warm-up", type=int, required=True, help="So many of them are not measured.")
    parser.add_argument("--ready", type=Path, required=True)
    parser.add_argument("--by-stage", action="store_true", help="Tell seconds by stage too.")
    given = parser.parse_args()
    output = f"{given.group}.alerts"
    settings = settings_of(
        Options(
            given.bootstrap, given.redis, given.input, output, given.group, DEFAULT_MODEL_DIR, given.events,
            given.ready, "exactly_once",
        )
    )  # fmt: skip
    configure_logging(settings)
    clock = StageClock()
    meter = LateMeter(given.ready, clock, given.warm_up)
    with clock.attached((*COMPUTED, *ON_WIRES)) if given.by_stage else nullcontext():
        run_async(serve(settings, given.events, meter))


if __name__ == "__main__":
    main()
