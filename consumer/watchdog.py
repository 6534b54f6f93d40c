"""Never stall silently: what is wrong with a service, from facts and how long they last. No I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass

from consumer.settings import Settings
from consumer.watch_checks import CHECKS, Check, Sight, Sights, Subject
from consumer.watch_facts import Facts

MAX_STEP_S = 5.0  # between two looks; more of it is not counted: nobody was there to see what happened


@dataclass(frozen=True)
class Finding:
    """A check that has failed."""

    check: Check
    subject: Subject
    sentence: str


@dataclass(frozen=True)
class Report:
    """What one look has found, and by check and subject how long what it saw has lasted."""

    findings: list[Finding]
    lasting_s: Mapping[Check, Mapping[Subject, float]]


class Watchdog:
    """Looks at the facts again and again, and remembers since when something has been as it is."""

    def __init__(self, settings: Settings) -> None:
        self._limits_s = {check: float(getattr(settings, check.limit)) if check.limit else 0.0 for check in CHECKS}
        self._lasting: dict[Check, dict[Subject, tuple[Sight, float]]] = {check: {} for check in CHECKS}
        self._looked_s: float | None = None

    def look(self, facts: Facts, now_s: float) -> Report:
        """What is wrong now; `now_s` never goes back."""
        step_s = min(now_s - (now_s if self._looked_s is None else self._looked_s), MAX_STEP_S)
        self._looked_s = now_s
        for check in CHECKS:
            passed_s = 0.0 if check.waits_for_servers and facts.away else step_s
            self._lasting[check] = _lasting(self._lasting[check], check.sees(facts), passed_s)
        return Report(
            [finding for check in CHECKS for finding in self._findings(check)],
            {check: {subject: s for subject, (_, s) in seen.items()} for check, seen in self._lasting.items()},
        )

    def _findings(self, check: Check) -> list[Finding]:
        limit_s = self._limits_s[check]
        return [
            Finding(check, subject, sight.after(seconds, check.limit is not None))
            for subject, (sight, seconds) in self._lasting[check].items()
            if seconds >= limit_s
        ]


def _lasting(
    before: Mapping[Subject, tuple[Sight, float]], sights: Sights, passed_s: float
) -> dict[Subject, tuple[Sight, float]]:
    """What is seen now, each with how long it has lasted; what cannot be seen stays."""
    lasting = {}
    for subject, sight in sights.items():
        known, seconds = before.get(subject, (None, 0.0))
        if sight is not None:
            is_same = known is not None and known.sign == sight.sign
            counted_s = seconds + passed_s if is_same else 0.0
            lasting[subject] = sight, counted_s if sight.seconds is None else sight.seconds
        elif known is not None:
            lasting[subject] = known, seconds
    return lasting
