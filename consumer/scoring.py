"""Fold, score and decide: what a micro-batch does to its users. Pure but for the model behind the `Scorer` port."""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from consumer.core.actions import choose
from consumer.core.alerts import Evidence, gather_evidence
from consumer.core.baseline import Baseline
from consumer.core.conduct import Conduct
from consumer.core.day_sums import NEGATIVE_SENTIMENT
from consumer.core.drift import Drift
from consumer.core.events import ERASE, KIND_OF, Events
from consumer.core.fold import FoldRules, Opened, open_runs
from consumer.core.gate import Gate
from consumer.core.outcomes import OutcomeRules, Outcomes, drawn, is_drawn, sample, set_timers, settle, watch
from consumer.core.policy import Decisions, Policy
from consumer.core.reasons import Moments, explain
from consumer.core.risk import churn_probability
from consumer.core.runs import Runs, Schedule, outcomes_known_ms
from consumer.core.standing import Standings, changed, is_news
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
        scorer = self.scorer if entries is not None else self.scorer.afresh()
        entries = scorer.cache.entries([*map(str, range(len(states)))]) if entries is None else entries
        schedule = Schedule(states, events, watermark_ms, self._is_drawn(events), self.fold_rules.calendar)
        while runs := schedule.next(outcomes_known_ms(states, self.outcome_rules.horizon_ms)):
            begins = runs.index[runs.first]
            found += self._fired(states, events.row[begins], schedule.reach_ms[begins], gate)
            if (events.kind[begins] == ERASE).any():  # what was done about users is forgotten with them
                told += self._told(states, found)
                found = Findings()
            opened = open_runs(states, events, runs, self.fold_rules)
            if len(opened.events):
                scored = scorer.score_runs(states, opened, entries[opened.rows])
                found += self._taken(states, opened, scored.hazards, gate)
                scored.remember(states, opened.runs.last)
            fate[begins] = opened.fate
        told += self._told(states, found)
        return fate, told

    def _is_drawn(self, events: Events) -> np.ndarray:
        """After which events (N,) the state is looked at."""
        if self.observer:
            return np.ones(len(events), np.bool_)
        return is_drawn(events.id_hash, self.outcome_rules.share)

    def _taken(self, states: States, opened: Opened, log_hazards: np.ndarray, gate: Gate | None) -> Findings:
        """Fold runs up to where something is decided, decide it, and so on to their ends."""
        found = Findings()
        while len(opened.events):
            closes, count = self._undecided(states, opened, log_hazards)
            opened.close(states, count, self.fold_rules)
            earlier = opened.runs.kept(count - 1)  # they can at most end an episode
            self.policy.close(states, np.unique(opened.events.row[earlier[closes[earlier]]]))
            found += self._decided(states, opened, count, log_hazards, gate)
            left, opened = opened.rest(count)
            log_hazards = log_hazards[left]
        return found

    def _undecided(self, states: States, opened: Opened, log_hazards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which events (N,) end an episode, and how many of each run (R,) can be taken at once: up to the first at
        which something is done. Of runs of one it is left to the policy."""
        runs, events = opened.runs, opened.events
        if len(events) == len(runs.count):
            return np.zeros(len(events), np.bool_), runs.count
        header, run, rows = states.header, runs.run, opened.rows
        rules, is_target = self.policy.rules, self.fold_rules.is_target(events.kind)
        risk = churn_probability(log_hazards, np.zeros(len(events)), rules.horizon_days)
        closes = is_target | (risk < rules.rearm)
        closed: np.ndarray = np.cumsum(closes) - closes
        tier = np.where(closed > closed[runs.first][run], 0, header["alerted_tier"][rows][run])
        stops = ~is_target & (np.searchsorted(rules.thresholds, risk, side="right") > tier)
        targets = _targets(header, rows, runs, events.time_ms, is_target)
        stops &= self.policy.is_open(states, rows[run], events.time_ms, is_complaint(events), *targets)
        if self.score_step is not None:
            stops |= is_news(header["published_risk"][rows][run], risk, self.score_step)
        first = np.minimum.reduceat(np.where(stops, runs.place, len(events)), runs.first)
        return closes, np.minimum(first + 1, runs.count)

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

    def _decided(
        self, states: States, opened: Opened, count: np.ndarray, log_hazards: np.ndarray, gate: Gate | None
    ) -> Findings:
        """After the last of the first `count` (R,) events of each run."""
        runs, rows = opened.runs, opened.rows
        last = runs.first + count - 1
        events = opened.events.take(last)
        is_target, complaint = self.fold_rules.is_target(events.kind), is_complaint(events)
        decisions = self.policy.after_events(states, rows, log_hazards[last], is_target, complaint, gate)
        place = np.empty(len(states), np.int64)
        place[rows] = opened.index[last]
        alerts = self._alerted(states, decisions, place[decisions.row])
        self._sample(states, rows)
        if self.drift:
            taken = runs.kept(count)
            self.drift.add(states, opened.events.row[taken], opened.events.id_hash[taken])
        if self.observer:
            self.observer.add(states, rows)
        set_timers(states, rows, self.outcome_rules)
        return Findings(alerts, standings=self._standings(states, rows, states.header["last_ms"][rows]))

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


def _targets(
    header: np.ndarray, rows: np.ndarray, runs: Runs, time_ms: np.ndarray, is_target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many target events the users (R,) have by each event (N,) of their runs, and when the last one was."""
    run, first = runs.run, runs.first[runs.run]
    count = np.cumsum(is_target)
    count += header["target_events"][rows][run] - (count - is_target)[first]
    latest = np.maximum.accumulate(np.where(is_target, np.arange(len(run)), -1))
    return count, np.where(latest >= first, time_ms[latest], header["last_target_ms"][rows][run])
