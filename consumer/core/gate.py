"""Who of those that the policy would alert is alerted: all, or those above the day's bar."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from consumer.core.conduct import SpendPrior
from consumer.core.state import States
from consumer.core.value import expected_spend


@dataclass
class Gate:
    """For one micro-batch; collects the candidates' ranks."""

    bar: np.ndarray  # float64 (U,): by row of the batch
    prior: SpendPrior
    rows: list[np.ndarray] = field(default_factory=list)
    ranks: list[np.ndarray] = field(default_factory=list)

    def passes(self, states: States, rows: np.ndarray, day: np.ndarray, probability: np.ndarray) -> np.ndarray:
        """Which candidates (no row twice) are alerted; a customer of unknown spend ranks by the probability."""
        spend = expected_spend(states.take(rows), day, self.prior)
        rank = probability * np.where(np.isnan(spend), 1.0, spend)
        self.rows.append(rows)
        self.ranks.append(rank)
        return rank >= self.bar[rows]

    def by_partition(self, partition_of_row: np.ndarray) -> Mapping[int, np.ndarray]:
        """Ranks of all candidates so far."""
        if not self.rows:
            return {}
        partition, ranks = partition_of_row[np.concatenate(self.rows)], np.concatenate(self.ranks)
        return {each: ranks[partition == each] for each in np.unique(partition).tolist()}
