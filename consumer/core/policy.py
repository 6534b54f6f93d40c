"""(state, risk, now) to decisions: when an episode of being at risk opens, escalates and closes.

An episode opens when the risk reaches a tier's threshold and closes on a target event, or when the risk falls below
the re-arm level. It alerts once per tier: a customer already reported at a tier is not reported again until then.
The moment at which silence alone will reach the next tier is solved from the risk curve and kept as a timer. A timer is
a look, not an alert: whoever is not at risk then, by the policy in force at that moment, gets another timer.
"""

from dataclasses import dataclass

import numpy as np

from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.gate import Gate
from consumer.core.risk import RiskAhead, churn_probability
from consumer.core.state import NO_TIME, States

BY_EVENT, BY_SILENCE, BY_COMPLAINT = 0, 1, 2
FARTHEST_DAYS = 3650.0  # a crossing beyond ten years is none
_ROUNDING = 1e-5  # a timer is rounded up to a millisecond, so that the risk may be a little below the threshold again


@dataclass(frozen=True)
class PolicyRules:
    """Thresholds ascend with the tier; tier k (from 1) has `thresholds[k - 1]`."""

    thresholds: tuple[float, ...]
    rearm: float
    horizon_days: float = 30.0
    grace_days: float = 7.0  # nobody is lost so soon after buying, unless they complain
    cooldown_days: float = 0.0  # nobody is alerted so soon after their last alert, unless they complain
    min_target_events: int = 1
    on_silence: bool = True  # False: no timers, alerts at events alone
    complaints_at_once: bool = True  # False: whoever complains waits for grace and cool-down too


@dataclass(frozen=True)
class Decisions:
    """M alerts as columns, each of shape (M,)."""

    row: np.ndarray  # int64: which user of the batch
    at_ms: np.ndarray  # int64: event time of the decision
    cause: np.ndarray  # int8: BY_EVENT, BY_SILENCE or BY_COMPLAINT
    tier: np.ndarray  # int8, from 1
    probability: np.ndarray  # float64: risk at the decision
    silence_days: np.ndarray  # float64
    anchor_id: np.ndarray  # uint64: id hash of the last event when the episode opened; identifies the episode
    episode_ms: np.ndarray  # int64: when the episode opened

    def __len__(self) -> int:
        return len(self.row)


class Policy:
    """The rules, in one shop's calendar."""

    def __init__(self, rules: PolicyRules, calendar: Calendar) -> None:
        self.rules = rules
        self.calendar = calendar

    def probability(self, states: States, rows: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
        """Churn probability of some rows at some instants, from their stored curves."""
        silence = self.silence_days(states, rows, at_ms)
        return churn_probability(states.header["log_hazards"][rows], silence, self.rules.horizon_days)

    def silence_days(self, states: States, rows: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
        """Days since the end of each row's last active day; 0 during that day."""
        return np.maximum(at_ms - self._silent_from_ms(states, rows), 0) / DAY_MS

    def after_events(
        self,
        states: States,
        rows: np.ndarray,
        log_hazards: np.ndarray,
        is_target: np.ndarray,
        complaint: np.ndarray,
        gate: Gate | None = None,
    ) -> Decisions:
        """Take new curves (R, bins) into `states`, in place, and decide on each row (no row twice).

        Whom the `gate` keeps back counts as alerted, but for the cool-down.
        """
        header, rules = states.header, self.rules
        now_ms = header["last_ms"][rows]
        header["log_hazards"][rows] = log_hazards
        risk = self.probability(states, rows, now_ms)

        closes = is_target | (risk < rules.rearm)
        self.close(states, rows[closes])
        reached = np.searchsorted(rules.thresholds, risk, side="right")
        alerts = ~is_target & self._may_alert(states, rows, reached, now_ms, complaint)
        cause = np.where(complaint, BY_COMPLAINT, BY_EVENT)[alerts]
        decisions = self._alert(states, rows[alerts], now_ms[alerts], reached[alerts], cause, gate)
        self.set_timers(states, rows, now_ms)
        return decisions

    def due_rows(self, states: States, rows: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
        """Those of `rows` whose timer fires at or before `at_ms`."""
        due_ms = states.header["due_ms"][rows]
        return rows[(due_ms != NO_TIME) & (due_ms <= at_ms)]

    def after_silence(self, states: States, rows: np.ndarray, gate: Gate | None = None) -> Decisions:
        """Fire the pending timers of `rows` (no row twice), in place, each at its own due time.

        Those alert who are at risk by the rules in force now, which the timer may not have been set by; the others'
        timers are set anew, later than they were.
        """
        due_ms = states.header["due_ms"][rows].copy()
        reached = self._reached_by_silence(states, rows, due_ms)
        alerts = self._may_alert(states, rows, reached, due_ms, complaint=np.zeros(len(rows), np.bool_))
        alerts &= self.rules.on_silence  # the timer may be from before
        alerted = rows[alerts]
        cause = np.full(len(alerted), BY_SILENCE)
        decisions = self._alert(states, alerted, due_ms[alerts], reached[alerts], cause, gate)
        self.set_timers(states, rows, np.where(alerts, due_ms, due_ms + 1))
        return decisions

    def _reached_by_silence(self, states: States, rows: np.ndarray, due_ms: np.ndarray) -> np.ndarray:
        """Tier reached at each row's due time; that which the timer was set for counts despite rounding."""
        risk, due_tier = self.probability(states, rows, due_ms), states.header["due_tier"][rows].astype(np.int64)
        reached = np.searchsorted(self.rules.thresholds, risk, side="right")
        set_for = np.append(self.rules.thresholds, np.inf)[np.minimum(due_tier, len(self.rules.thresholds) + 1) - 1]
        return np.where(risk >= set_for - _ROUNDING, np.maximum(reached, due_tier), reached)

    def _may_alert(
        self, states: States, rows: np.ndarray, reached: np.ndarray, now_ms: np.ndarray, complaint: np.ndarray
    ) -> np.ndarray:
        """Who has reached a tier not yet alerted, and may be alerted now."""
        header = states.header
        is_news = reached > header["alerted_tier"][rows]
        bought = header["target_events"][rows], header["last_target_ms"][rows]
        return is_news & self.is_open(states, rows, now_ms, complaint, *bought)

    def is_open(
        self,
        states: States,
        rows: np.ndarray,
        at_ms: np.ndarray,
        complaint: np.ndarray,
        target_events: np.ndarray,
        last_target_ms: np.ndarray,
    ) -> np.ndarray:
        """Whom an alert at `at_ms` is allowed of, whatever the risk, with so many target events by then: bool (R,)."""
        eligible = target_events >= self.rules.min_target_events
        at_once = complaint & self.rules.complaints_at_once
        return eligible & (at_once | (at_ms >= self._earliest_ms(states, rows, last_target_ms)))

    def _earliest_ms(self, states: States, rows: np.ndarray, last_target_ms: np.ndarray) -> np.ndarray:
        """When both grace and cool-down of each row are over."""
        grace_ends = last_target_ms + round(self.rules.grace_days * DAY_MS)
        if not self.rules.cooldown_days:
            return grace_ends
        last_alert_ms = states.header["last_alert_ms"][rows]
        cooled_down = last_alert_ms + round(self.rules.cooldown_days * DAY_MS)
        return np.where(last_alert_ms == NO_TIME, grace_ends, np.maximum(grace_ends, cooled_down))

    def _silent_from_ms(self, states: States, rows: np.ndarray) -> np.ndarray:
        """The end of each row's last active day; 1970 for a user of whom nothing is known."""
        return self.calendar.start_of(np.maximum(states.last_day(rows).astype(np.int64) + 1, 0))

    def close(self, states: States, rows: np.ndarray) -> None:
        """End the episodes of `rows`, in place."""
        states.header["alerted_tier"][rows] = 0
        states.header["episode_ms"][rows] = NO_TIME
        states.header["anchor_id"][rows] = 0

    def _alert(
        self,
        states: States,
        rows: np.ndarray,
        at_ms: np.ndarray,
        tier: np.ndarray,
        cause: np.ndarray,
        gate: Gate | None,
    ) -> Decisions:
        header = states.header
        opens = rows[header["alerted_tier"][rows] == 0]
        header["episode_ms"][opens] = at_ms[header["alerted_tier"][rows] == 0]
        header["anchor_id"][opens] = states.last_id(opens)
        header["alerted_tier"][rows] = tier
        probability = self.probability(states, rows, at_ms)
        if gate is not None:
            passed = gate.passes(states, rows, self.calendar.day_of(at_ms), probability)
            rows, at_ms, tier, cause, probability = (each[passed] for each in (rows, at_ms, tier, cause, probability))
        header["last_alert_ms"][rows] = np.maximum(header["last_alert_ms"][rows], at_ms)
        return Decisions(
            row=rows,
            at_ms=at_ms,
            cause=cause.astype(np.int8),
            tier=tier.astype(np.int8),
            probability=probability,
            silence_days=self.silence_days(states, rows, at_ms),
            anchor_id=header["anchor_id"][rows],
            episode_ms=header["episode_ms"][rows],
        )

    def set_timers(self, states: States, rows: np.ndarray, now_ms: np.ndarray) -> None:
        """Set each row's timer to the first moment from `now_ms` on at which silence reaches a tier not yet alerted."""
        if not len(rows):
            return
        header, rules = states.header, self.rules
        silent_from = self._silent_from_ms(states, rows)
        earliest_ms = self._earliest_ms(states, rows, header["last_target_ms"][rows])
        earliest = np.maximum(np.maximum(earliest_ms, now_ms) - silent_from, 0) / DAY_MS
        due_days = np.full(len(rows), np.inf)
        due_tier = np.zeros(len(rows), np.uint8)
        eligible = (header["target_events"][rows] >= rules.min_target_events) & rules.on_silence
        ahead = RiskAhead.of(header["log_hazards"][rows], earliest, rules.horizon_days)
        for tier, threshold in enumerate(rules.thresholds, start=1):
            days = ahead.crossing_days(threshold)
            open_ = eligible & (tier > header["alerted_tier"][rows]) & (days <= np.minimum(due_days, FARTHEST_DAYS))
            due_days = np.where(open_, days, due_days)
            due_tier = np.where(open_, tier, due_tier).astype(np.uint8)
        waits = due_tier > 0
        due_ms = silent_from + np.ceil(np.where(waits, due_days, 0.0) * DAY_MS).astype(np.int64)
        header["due_ms"][rows] = np.where(waits, due_ms, NO_TIME)
        header["due_tier"][rows] = due_tier
