"""The job of `JOB.md` over a micro-batch: what the contestants in Python share, whatever carries their records.

A customer is one small value: a header, then the active days. Within a micro-batch all events of a customer's day are
folded at once by running sums, closed days become tokens once per customer rather than once per event, and rows are
scored together with others of about their length. As in the log, the events of a customer come in order of time.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.rivals.alerts import Alert, Tiers
from bench.rivals.command import POLICY
from bench.rivals.days import day_rounds, fresh_events, last_days, new_sessions, open_days, remember
from bench.rivals.layout import (
    AT,
    COUNTS,
    DAY_MS,
    NO_DAY,
    PURCHASE,
    SUMS,
    Batch,
    Customers,
    bounds,
    pack,
    running_max,
    unpack,
)
from bench.rivals.model import Model
from bench.rivals.tokens import DECAYS, FARTHEST_DAYS, Past, increments, token_rows


class Job:
    """The whole of it between bytes and bytes."""

    def __init__(self, model_dir: Path, policy: Path = POLICY) -> None:
        self.model, self.tiers = Model(model_dir), Tiers.read(policy)

    def process(self, batch: Batch, stored: Sequence[bytes | None]) -> tuple[list[bytes], list[Alert]]:
        """The values of the batch's customers after its events, and the alerts, in order of arrival."""
        arrival = np.argsort(batch.row, kind="stable")
        events = batch.take(arrival)
        days = events.time_ms // DAY_MS
        customers = unpack(stored, room=int(np.ptp(days)) + 1 if len(days) else 0)
        fresh = fresh_events(customers.header, events)
        events, arrival = events.take(fresh), arrival[fresh]
        if len(arrival):
            probability = self._scored(customers, events)
            alerts = self._alerts(customers.header, events, arrival, probability)
            return pack(customers), alerts
        return list(map(bytes, (value or b"" for value in stored))), []

    def _scored(self, customers: Customers, events: Batch) -> np.ndarray:
        """Fold events, which are sorted by customer, into `customers`; the probability after each."""
        header = customers.header
        events.added[:, AT["sessions"]] = new_sessions(header, events)
        day = running_max(events.time_ms // DAY_MS, events.row, last_days(customers))
        probability = np.empty(len(day))
        for segment in day_rounds(events.row, day):
            probability[segment] = self._scored_days(customers, events.take(segment), day[segment])
        first, last = bounds(events.row)
        rows = events.row[last]
        header["first_ms"][rows] = np.where(
            header["last_ms"][rows] == NO_DAY, events.time_ms[first], header["first_ms"][rows]
        )
        header["last_ms"][rows] = np.maximum(header["last_ms"][rows], np.maximum.reduceat(events.time_ms, first))
        remember(header, events, first)
        return probability

    def _scored_days(self, customers: Customers, events: Batch, day: np.ndarray) -> np.ndarray:
        """The same for events of which each customer's are of one day."""
        first, last = bounds(events.row)
        rows = events.row[first]
        slot = open_days(customers, rows, day[first])
        today = customers.days[rows, slot]
        before = np.concatenate((today["counts"], today["sums"]), axis=1, dtype=np.float64)
        segment = np.repeat(np.arange(len(first)), last - first + 1)
        total = np.cumsum(events.added, axis=0)
        running = total + (before - total[first] + events.added[first])[segment]
        np.round(running[:, -len(SUMS) :], 4, out=running[:, -len(SUMS) :])
        today["counts"], today["sums"] = running[last, : len(COUNTS)], running[last, len(COUNTS) :]
        customers.days[rows, slot] = today
        past = Past.of(customers, rows, slot)
        gap = day - past.last_day[segment]
        tokens = token_rows(
            day,
            running,
            np.where(past.last_day[segment] == NO_DAY, NO_DAY, gap),
            np.where(past.purchase_day[segment] == NO_DAY, NO_DAY, day - past.purchase_day[segment]),
            past.trends[segment] * DECAYS[np.minimum(gap, FARTHEST_DAYS)] + increments(running),
        )
        return self.model.probabilities(past.tokens, past.start[segment], slot[segment], tokens)

    def _alerts(self, header: np.ndarray, events: Batch, arrival: np.ndarray, probability: np.ndarray) -> list[Alert]:
        """Episodes open, escalate and close; `arrival` tells an event's place in the batch."""
        purchase = events.kind == PURCHASE
        first, last = bounds(events.row)
        bought = np.cumsum(purchase) - np.repeat((np.cumsum(purchase) - purchase)[first], last - first + 1)
        may_alert = bought + header["purchases"][events.row] > 0
        reached = np.searchsorted(self.tiers.thresholds, probability, side="right") * (may_alert & ~purchase)
        closes = purchase | (probability < self.tiers.rearm)
        header["purchases"][events.row[last]] += bought[last].astype(np.uint32)
        in_episode = header["tier"] > 0
        in_episode[events.row[reached > 0]] = True
        concerned = np.flatnonzero(in_episode[events.row] & (closes | (reached > 0)))
        tier = header["tier"].tolist()
        alerts = []
        for index, row, reaches, is_closing in zip(
            concerned.tolist(), events.row[concerned].tolist(), reached[concerned].tolist(),
            closes[concerned].tolist(), strict=True,
        ):  # fmt: skip
            if is_closing:
                tier[row] = 0
            elif reaches > tier[row]:
                tier[row] = reaches
                name = self.tiers.names[reaches - 1]
                alerts.append(Alert(int(arrival[index]), events.users[row], name, float(probability[index])))
        header["tier"] = tier
        return sorted(alerts, key=lambda alert: alert.index)
