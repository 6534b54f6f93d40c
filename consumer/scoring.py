"""Fold, score and decide: what a micro-batch does to its users. Pure but for the model behind the `Scorer` port."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from consumer.core.actions import choose
from consumer.core.alerts import Evidence, gather_evidence
from consumer.core.conduct import Conduct
from consumer.core.events import ERASE, KIND_OF, Events, rounds
from consumer.core.features import tokens
from consumer.core.fold import NEGATIVE_SENTIMENT, Fate, FoldRules, fold_round
from consumer.core.policy import Policy
from consumer.core.state import BINS, MAX_DAYS, States
from consumer.ports import Scorer
from schemas.alert import Action
from schemas.event import EventType

_COMPLAINTS = tuple(KIND_OF[kind] for kind in (EventType.REFUND, EventType.SUPPORT_TICKET, EventType.UNSUBSCRIBE))


@dataclass(frozen=True)
class Engine:
    """The rules and the model of one shop."""

    fold_rules: FoldRules
    policy: Policy
    scorer: Scorer
    conduct: Conduct = field(default_factory=Conduct)

    def on_events(self, states: States, events: Events) -> tuple[np.ndarray, list[Evidence]]:
        """Fold, score and decide every event, in place; returns each event's `Fate` and the alerts in order.

        A user's timer that is due before that user's next event fires before the event is folded.
        """
        fate = np.zeros(len(events), np.int8)
        evidence: list[Evidence] = []
        acted: list[Evidence] = []
        for index in rounds(events.row):
            part = events.take(index)
            evidence += self._fired(states, part.row, part.time_ms)
            if (part.kind == ERASE).any():  # what was done about users is forgotten with them
                acted, evidence = acted + self._acted(states, evidence), []
            before = self.policy.probability(states, part.row, part.time_ms)
            fate[index] = fold_round(states, part, self.fold_rules)
            folded = fate[index] == Fate.FOLDED
            evidence += self._after_fold(states, part.take(folded), index[folded], before[folded])
        return fate, acted + self._acted(states, evidence)

    def on_silence(self, states: States, rows: np.ndarray, until_ms: np.ndarray) -> list[Evidence]:
        """Fire the timers of `rows` that are due by `until_ms` (one per row), in place."""
        return self._acted(states, self._fired(states, rows, until_ms))

    def _fired(self, states: States, rows: np.ndarray, until_ms: np.ndarray) -> list[Evidence]:
        evidence = []
        due = self.policy.due_rows(states, rows, until_ms)
        while len(due):
            decisions = self.policy.after_silence(states, due)
            if len(decisions):
                evidence.append(gather_evidence(states, decisions, self.policy, np.full(len(decisions), -1)))
            still = np.isin(rows, due)
            due = self.policy.due_rows(states, rows[still], until_ms[still])
        return evidence

    def _after_fold(self, states: States, events: Events, index: np.ndarray, before: np.ndarray) -> list[Evidence]:
        if len(events) == 0:
            return []
        hazards = self.score(states, events.row)
        complaint = is_complaint(events)
        is_target = self.fold_rules.is_target(events.kind)
        decisions = self.policy.after_events(states, events.row, hazards, is_target, complaint, before)
        if len(decisions) == 0:
            return []
        position = np.argsort(events.row)
        of_event = index[position[np.searchsorted(events.row[position], decisions.row)]]
        return [gather_evidence(states, decisions, self.policy, of_event)]

    def _acted(self, states: States, evidence: list[Evidence]) -> list[Evidence]:
        """With the actions, which are noted in `states`."""
        return [replace(each, actions=self._chosen(states, each)) for each in evidence]

    def _chosen(self, states: States, evidence: Evidence) -> list[Action]:
        reasons = [evidence.contributions(index) for index in range(len(evidence.decisions))]
        has_consent = evidence.header["unsubscribed"] == 0
        return choose(states.header, evidence.decisions, has_consent, evidence.day, reasons, self.conduct)

    def score(self, states: States, rows: np.ndarray) -> np.ndarray:
        """Log-hazards (R, bins) of some users; batched by history length, rounded up to a power of two."""
        hazards = np.empty((len(rows), BINS), np.float32)
        for length, members in _by_length(states.header["days"][rows]):
            part = States(states.header[rows[members]], states.days[rows[members], :length])
            batch = tokens(part, length)
            hazards[members] = self.scorer.log_hazards(batch, part.header["days"].astype(np.int64))
        return hazards


def is_complaint(events: Events) -> np.ndarray:
    """Which events say that the customer is displeased."""
    return np.isin(events.kind, _COMPLAINTS) | (events.sentiment < NEGATIVE_SENTIMENT)


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
