"""Fold, score and decide: what a micro-batch does to its users. Pure but for the model behind the `Scorer` port."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from consumer.core.alerts import Evidence, gather_evidence
from consumer.core.baseline import Baseline
from consumer.core.events import KIND_OF, Events, rounds
from consumer.core.features import tokens
from consumer.core.fold import NEGATIVE_SENTIMENT, Fate, FoldRules, fold_round
from consumer.core.policy import Policy
from consumer.core.reasons import Moments, explain
from consumer.core.state import BINS, MAX_DAYS, States
from consumer.ports import Scorer
from schemas.event import EventType

_COMPLAINTS = tuple(KIND_OF[kind] for kind in (EventType.REFUND, EventType.SUPPORT_TICKET, EventType.UNSUBSCRIBE))


@dataclass(frozen=True)
class Engine:
    """The rules and the model of one shop."""

    fold_rules: FoldRules
    policy: Policy
    scorer: Scorer
    baseline: Baseline

    def on_events(self, states: States, events: Events) -> tuple[np.ndarray, list[Evidence]]:
        """Fold, score and decide every event, in place; returns each event's `Fate` and the alerts in order.

        A user's timer that is due before that user's next event fires before the event is folded.
        """
        fate = np.zeros(len(events), np.int8)
        evidence: list[Evidence] = []
        for index in rounds(events.row):
            part = events.take(index)
            evidence += self._fired(states, part.row, part.time_ms)
            before = self.policy.probability(states, part.row, part.time_ms)
            fate[index] = fold_round(states, part, self.fold_rules)
            folded = fate[index] == Fate.FOLDED
            evidence += self._after_fold(states, part.take(folded), index[folded], before[folded])
        return fate, self._explained(evidence)

    def on_silence(self, states: States, rows: np.ndarray, until_ms: np.ndarray) -> list[Evidence]:
        """Fire the timers of `rows` that are due by `until_ms` (one per row), in place."""
        return self._explained(self._fired(states, rows, until_ms))

    def _fired(self, states: States, rows: np.ndarray, until_ms: np.ndarray) -> list[Evidence]:
        evidence = []
        due = self.policy.due_rows(states, rows, until_ms)
        while len(due):
            decisions = self.policy.after_silence(states, due)
            evidence.append(gather_evidence(states, decisions, self.policy, np.full(len(due), -1)))
            still = np.isin(rows, due)
            due = self.policy.due_rows(states, rows[still], until_ms[still])
        return evidence

    def _after_fold(self, states: States, events: Events, index: np.ndarray, before: np.ndarray) -> list[Evidence]:
        if len(events) == 0:
            return []
        hazards = self.score(states, events.row)
        complaint = np.isin(events.kind, _COMPLAINTS) | (events.sentiment < NEGATIVE_SENTIMENT)
        is_target = self.fold_rules.is_target(events.kind)
        decisions = self.policy.after_events(states, events.row, hazards, is_target, complaint, before)
        if len(decisions) == 0:
            return []
        position = np.argsort(events.row)
        of_event = index[position[np.searchsorted(events.row[position], decisions.row)]]
        return [gather_evidence(states, decisions, self.policy, of_event)]

    def _explained(self, evidence: list[Evidence]) -> list[Evidence]:
        """With reasons; those of all alerts are scored together."""
        if not evidence:
            return []
        reasons = explain(
            Moments.joined([each.moments for each in evidence]),
            self.baseline,
            lambda states: self.score(states, np.arange(len(states))),
            self.policy.rules.horizon_days,
            self.fold_rules.target,
        )
        ends = np.cumsum([len(each.decisions) for each in evidence]).tolist()
        return [
            replace(each, reasons=reasons[end - len(each.decisions) : end])
            for each, end in zip(evidence, ends, strict=True)
        ]

    def score(self, states: States, rows: np.ndarray) -> np.ndarray:
        """Log-hazards (R, bins) of some users; batched by history length, rounded up to a power of two."""
        hazards = np.empty((len(rows), BINS), np.float32)
        for length, members in _by_length(states.header["days"][rows]):
            part = States(states.header[rows[members]], states.days[rows[members], :length])
            batch = tokens(part, length)
            hazards[members] = self.scorer.log_hazards(batch, part.header["days"].astype(np.int64))
        return hazards


def _by_length(days: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Groups of rows whose histories fit into 1, 2, 4 … 64 tokens.

    A user's group depends on their own history alone, so that no other user of the batch changes their score.
    """
    length = 1
    shorter = np.zeros(len(days), np.bool_)
    while length <= MAX_DAYS:
        members = np.flatnonzero((days <= length) & ~shorter)
        if len(members):
            yield length, members
        shorter |= days <= length
        length *= 2
