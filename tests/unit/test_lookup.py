"""What is told of one user."""

import numpy as np

from consumer.core.alerts import instant
from consumer.lookup import describe
from consumer.tables import features_facts
from histories import DAY_0, DAY_MS, Happened, Run, day, engine
from schemas.event import EventType

BUY = EventType.PURCHASE


def told(run: Run) -> dict[str, object]:
    return describe(run.states, "anna", np.array([DAY_0]))


def test_what_comes_next_is_told_for_what_it_is() -> None:
    """First the alert that silence will raise, and after both alerts the moment at which their outcome is known."""
    run = Run(engine())
    run.events(Happened(BUY, day(0), item="lamp", category="light"))
    found = told(run)
    assert (found["alerted_tier"], found["next_outcome_known_at"]) == (None, None)
    assert found["next_alert_due_at"] == instant(int(run.states.header["due_ms"][0])).isoformat()
    assert "favourites    light, lamp" in features_facts(found)
    first, _ = run.silence(day(8))
    found = told(run)
    assert (found["alerted_tier"], found["next_alert_due_at"]) == ("critical", None)
    assert found["next_outcome_known_at"] == instant(first.at_ms + 30 * DAY_MS).isoformat()
    assert "next alert    none before 2024-" in features_facts(found)


def test_nothing_may_come() -> None:
    """Once the outcome is known, and until the next event."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    run.silence(day(60))
    assert "next alert    none (if nothing" in features_facts(told(run))
