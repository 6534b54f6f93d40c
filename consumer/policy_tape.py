"""Every curve that a log leads to, scored once: so that any number of policies can be tried on them.

What the policy sees of a user after an event is kept for each event. A trial runs the policy itself over that, events
and timers in the order in which the service would take them, without fold and inference.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from consumer.core.events import Events, rounds
from consumer.core.fold import open_runs
from consumer.core.policy import Decisions, Policy
from consumer.core.runs import Runs
from consumer.core.state import BINS, HEADER, USER_DAY, States, empty_states, reset
from consumer.scoring import Engine, is_complaint

USERS_AT_ONCE = 4_096
_SEEN = ("last_ms", "last_target_ms", "target_events")  # of the header, by the policy


@dataclass(frozen=True)
class Tape:
    """N folded events of U users, round after round, and each user's curve after each."""

    user: np.ndarray  # (U,) int64: which of the log's users
    row: np.ndarray  # (N,) int64, below U
    arrived_ms: np.ndarray  # (N,) int64
    is_target: np.ndarray  # (N,) bool
    complaint: np.ndarray  # (N,) bool
    seen: np.ndarray  # (N,) of HEADER's fields _SEEN
    last_day: np.ndarray  # (N,) int32
    log_hazards: np.ndarray  # (N, BINS) float32
    round_ends: np.ndarray  # int64

    def alerts(self, policy: Policy, until_ms: int) -> "TapeAlerts":
        """What `policy` would have alerted up to `until_ms`."""
        states = States(np.zeros(len(self.user), HEADER), np.zeros((len(self.user), 1), USER_DAY))
        reset(states.header, np.arange(len(self.user)))
        decisions: list[Decisions] = []
        start = 0
        for end in self.round_ends.tolist():
            part = slice(start, end)
            decisions += _fired(policy, states, self.row[part], self.arrived_ms[part])
            decisions.append(self._decided(policy, states, part))
            start = end
        rows = np.arange(len(self.user))
        decisions += _fired(policy, states, rows, np.full(len(rows), until_ms))
        return TapeAlerts.of(decisions, self.user)

    def _decided(self, policy: Policy, states: States, part: slice) -> Decisions:
        row = self.row[part]
        for name in _SEEN:
            states.header[name][row] = self.seen[name][part]
        states.header["days"][row], states.days["day"][row, 0] = 1, self.last_day[part]
        return policy.after_events(states, row, self.log_hazards[part], self.is_target[part], self.complaint[part])


@dataclass(frozen=True)
class TapeAlerts:
    """M alerts as columns."""

    user: np.ndarray  # int64: which of the log's users
    at_ms: np.ndarray  # int64
    tier: np.ndarray  # int8
    probability: np.ndarray  # float64

    @classmethod
    def of(cls, decisions: list[Decisions], user: np.ndarray) -> "TapeAlerts":
        """Alerts in the order of decision."""
        row, at_ms, tier, probability = (
            np.concatenate([getattr(each, name) for each in decisions])
            for name in ("row", "at_ms", "tier", "probability")
        )
        return cls(user[row], at_ms, tier, probability)

    @classmethod
    def joined(cls, parts: list["TapeAlerts"]) -> "TapeAlerts":
        """Of several tapes."""
        columns = ("user", "at_ms", "tier", "probability")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def record_tapes(engine: Engine, events: Events, users: int) -> Iterator[Tape]:
    """Tapes of some thousand users each, those with about as many events together: rounds are few and full."""
    order = np.argsort(-np.bincount(events.row, minlength=users), kind="stable")
    place = np.empty(users, np.int64)
    place[order] = np.arange(users)
    for start in range(0, users, USERS_AT_ONCE):
        user = order[start : start + USERS_AT_ONCE]
        row = place[events.row] - start
        mine = (row >= 0) & (row < len(user))
        yield _recorded(engine, replace(events.take(mine), row=row[mine]), user)


def _recorded(engine: Engine, events: Events, user: np.ndarray) -> Tape:
    states, scorer = empty_states(len(user)), engine.scorer.afresh()
    entries = scorer.cache.entries([str(each) for each in user.tolist()])
    parts, seen, days, hazards = [events.take(np.arange(0))], [states.header[list(_SEEN)][:0]], [], []
    for index in rounds(events.row):
        opened = open_runs(states, events, Runs.singles(index), engine.fold_rules)
        part = opened.events
        scored = scorer.score_runs(states, opened, entries[part.row])
        opened.close(states, opened.runs.count, engine.fold_rules)
        scored.remember(states, opened.runs.first)
        parts.append(part)
        seen.append(states.header[list(_SEEN)][part.row])
        days.append(states.last_day(part.row))
        hazards.append(scored.hazards)
    folded = Events.concatenate(parts)
    return Tape(
        user=user,
        row=folded.row,
        arrived_ms=folded.time_ms,
        is_target=engine.fold_rules.is_target(folded.kind),
        complaint=is_complaint(folded),
        seen=np.concatenate(seen),
        last_day=np.concatenate(days) if days else np.empty(0, np.int32),
        log_hazards=np.concatenate(hazards) if hazards else np.empty((0, BINS), np.float32),
        round_ends=np.cumsum([len(part) for part in parts[1:]], dtype=np.int64),
    )


def _fired(policy: Policy, states: States, rows: np.ndarray, until_ms: np.ndarray) -> Iterator[Decisions]:
    """Fire the timers of `rows` that are due by `until_ms` (one per row), as `Engine.on_silence` does."""
    due = policy.due_rows(states, rows, until_ms)
    while len(due):
        yield policy.after_silence(states, due)
        still = np.isin(rows, due)
        due = policy.due_rows(states, rows[still], until_ms[still])
