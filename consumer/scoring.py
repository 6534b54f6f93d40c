"""Fold, score and decide: what a micro-batch does to its users. Pure but for the model behind the `Scorer` port."""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from consumer.core.actions import choose
from consumer.core.alerts import Evidence, gather_evidence
from consumer.core.baseline import Baseline
from consumer.core.conduct import Conduct
from consumer.core.drift import Drift
from consumer.core.events import ERASE, KIND_OF, Events, rounds
from consumer.core.fold import NEGATIVE_SENTIMENT, Fate, FoldRules, fold_round
from consumer.core.gate import Gate
from consumer.core.outcomes import OutcomeRules, Outcomes, drawn, sample, set_timers, settle, watch
from consumer.core.policy import Decisions, Policy
from consumer.core.reasons import Moments, explain
from consumer.core.standing import Standings, changed
from consumer.core.state import NO_TIME, States
from consumer.prefix_scorer import PrefixScorer
from schemas.alert import Action
from schemas.event import EventType

_COMPLAINTS = tuple(KIND_OF[kind] for kind in (EventType.REFUND, EventType.SUPPORT_TICKET, EventType.UNSUBSCRIBE))


@dataclass
class Findings:
    """What a micro-batch has come to, each user's in order."""

    alerts: list[Evidence] = field(default_factory=list)
    outcomes: list[Outcomes] = field(default_factory=list)
    standings: list[Standings] = field(default_factory=list)

    def __iadd__(self, more: "Findings") -> "Findings":
        self.alerts += more.alerts
        self.outcomes += more.outcomes
        self.standings += more.standings
        return self


class Observer(Protocol):
    """Looks at every score, and changes nothing."""

    def add(self, states: States, rows: np.ndarray) -> None:
        """An event of each of `rows` was folded, scored and decided."""


@dataclass(frozen=True)
class Engine:
    """The rules and the model of one shop."""

    fold_rules: FoldRules
    policy: Policy
    scorer: PrefixScorer
    outcome_rules: OutcomeRules
    baseline: Baseline
    conduct: Conduct = field(default_factory=Conduct)
    score_step: float | None = None  # scores are told when they have changed by more; None: never
    drift: Drift | None = None  # told of every score; no decision depends on it
    observer: Observer | None = None  # the same

    def on_events(
        self,
        states: States,
        events: Events,
        watermark_ms: np.ndarray,
        gate: Gate | None = None,
        entries: np.ndarray | None = None,
    ) -> tuple[np.ndarray, Findings]:
        """Fold, score and decide every event, in place; returns each event's `Fate`, alerts and outcomes.

        `entries` (U,) are the users' numbers in the scorer's cache; None: nothing is remembered.

        A user's timer that is due before that user's next event fires before the event is folded, and so does one that
        is due by the `watermark_ms` (N,) at which the event comes: as if timers were looked at after every record.
        """
        fate = np.zeros(len(events), np.int8)
        told, found = Findings(), Findings()
        for index in rounds(events.row):
            part = events.take(index)
            found += self._fired(states, part.row, np.maximum(part.time_ms, watermark_ms[index]), gate)
            if (part.kind == ERASE).any():  # what was done about users is forgotten with them
                told += self._told(states, found)
                found = Findings()
            fate[index] = fold_round(states, part, self.fold_rules)
            folded = fate[index] == Fate.FOLDED
            found += self._after_fold(states, part.take(folded), index[folded], gate, entries)
        told += self._told(states, found)
        if self.drift:
            self.drift.count()
        return fate, told

    def on_silence(self, states: States, rows: np.ndarray, until_ms: np.ndarray, gate: Gate | None = None) -> Findings:
        """Fire the timers of `rows` that are due by `until_ms` (one per row), in place."""
        return self._told(states, self._fired(states, rows, until_ms, gate))

    def _fired(self, states: States, rows: np.ndarray, until_ms: np.ndarray, gate: Gate | None) -> Findings:
        found = Findings()
        due = self.policy.due_rows(states, rows, until_ms)
        while len(due):
            found += self._fire(states, due, gate)
            still = np.isin(rows, due)
            due = self.policy.due_rows(states, rows[still], until_ms[still])
        return found

    def _fire(self, states: States, rows: np.ndarray, gate: Gate | None) -> Findings:
        """One timer of each: an alert, or outcomes that are known now."""
        of_outcome = states.header["due_tier"][rows] == 0
        known = rows[of_outcome]
        outcomes = settle(states, known, self.outcome_rules)
        self._set_alert_timers(states, known)
        decisions = self.policy.after_silence(states, rows[~of_outcome], gate)
        alerts = self._alerted(states, decisions, np.full(len(decisions), -1))
        set_timers(states, rows, self.outcome_rules)
        standings = self._standings(states, decisions.row, decisions.at_ms)
        return Findings(alerts, [each for each in outcomes if len(each)], standings)

    def _set_alert_timers(self, states: States, rows: np.ndarray) -> None:
        """After an outcome, as they were set before it, to the millisecond; under another policy, from now on."""
        header = states.header
        now_ms = header["due_ms"][rows].copy()
        self.policy.set_timers(states, rows, np.maximum(header["last_ms"][rows], header["last_alert_ms"][rows]))
        passed = (header["due_ms"][rows] != NO_TIME) & (header["due_ms"][rows] < now_ms)
        self.policy.set_timers(states, rows[passed], now_ms[passed])

    def _alerted(self, states: States, decisions: Decisions, event: np.ndarray) -> list[Evidence]:
        """What is to be told of alerts that were just decided, each by its `event` (-1: silence)."""
        if len(decisions) == 0:
            return []
        watch(states, decisions.row, decisions.at_ms, decisions.probability, decisions.tier)
        return [gather_evidence(states, decisions, self.policy, event, self.conduct.value)]

    def _after_fold(
        self, states: States, events: Events, index: np.ndarray, gate: Gate | None, entries: np.ndarray | None
    ) -> Findings:
        if len(events) == 0:
            return Findings()
        hazards = self._score(states, events, entries)
        complaint = is_complaint(events)
        is_target = self.fold_rules.is_target(events.kind)
        decisions = self.policy.after_events(states, events.row, hazards, is_target, complaint, gate)
        position = np.argsort(events.row)
        of_event = index[position[np.searchsorted(events.row[position], decisions.row)]]
        alerts = self._alerted(states, decisions, of_event)
        self._sample(states, events.row)
        if self.drift:
            self.drift.add(states, events.row)
        if self.observer:
            self.observer.add(states, events.row)
        set_timers(states, events.row, self.outcome_rules)
        return Findings(alerts, standings=self._standings(states, events.row, states.header["last_ms"][events.row]))

    def _score(self, states: States, events: Events, entries: np.ndarray | None) -> np.ndarray:
        if entries is None:
            return self.scorer.score(states, events.row)
        is_late = events.time_ms < states.header["last_ms"][events.row]
        return self.scorer.score_after_events(states, events.row, entries[events.row], is_late)

    def _standings(self, states: States, rows: np.ndarray, at_ms: np.ndarray) -> list[Standings]:
        if self.score_step is None:
            return []
        return [changed(states, rows, at_ms, self.policy, self.conduct.value, self.score_step)]

    def _sample(self, states: States, rows: np.ndarray) -> None:
        """Draw some of the scores of these users, of those that could raise an alert."""
        rows = rows[states.header["target_events"][rows] >= max(self.policy.rules.min_target_events, 1)]
        rows = drawn(states, rows, self.outcome_rules)
        at_ms = states.header["last_ms"][rows]
        sample(states, rows, at_ms, self.policy.probability(states, rows, at_ms))

    def _told(self, states: States, found: Findings) -> Findings:
        """With reasons, and with the actions that they ask for, which are noted in `states`."""
        alerts = [replace(each, actions=self._chosen(states, each)) for each in self._explained(found.alerts)]
        return Findings(alerts, found.outcomes, found.standings)

    def _chosen(self, states: States, evidence: Evidence) -> list[Action]:
        reasons = [evidence.contributions(index) for index in range(len(evidence.decisions))]
        has_consent = evidence.header["unsubscribed"] == 0
        return choose(states.header, evidence.decisions, has_consent, evidence.moments.day, reasons, self.conduct)

    def _explained(self, evidence: list[Evidence]) -> list[Evidence]:
        """With reasons; those of all alerts are scored together."""
        if not evidence:
            return []
        reasons = explain(
            Moments.joined([each.moments for each in evidence]),
            self.baseline,
            lambda states: self.scorer.score(states, np.arange(len(states))),
            self.policy.rules.horizon_days,
            self.fold_rules.target,
        )
        ends = np.cumsum([len(each.decisions) for each in evidence]).tolist()
        return [
            replace(each, reasons=reasons[end - len(each.decisions) : end])
            for each, end in zip(evidence, ends, strict=True)
        ]


def is_complaint(events: Events) -> np.ndarray:
    """Which events say that the customer is displeased."""
    return np.isin(events.kind, _COMPLAINTS) | (events.sentiment < NEGATIVE_SENTIMENT)
