"""Panels to padded training batches."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model_export.data import HEADS, Panel
from model_export.loss import Gaps

_SORTED_TOGETHER = 16  # batches whose users are sorted by length, so that padding is rare


@dataclass(frozen=True)
class Batch:
    """B users, M real user-days among them."""

    tokens: Tensor  # float32 (B, L, TOKEN_SIZE), zero-padded on the right
    real: Tensor  # bool (B, L): M are true
    index: np.ndarray  # int64 (M,): which of the panel's user-days they are
    gaps: Gaps  # of shape (M, heads)


def random_batches(lengths: np.ndarray, users: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Every user once, in random batches of users with about as many user-days: row numbers, up to (users,) each."""
    order = rng.permutation(len(lengths))
    batches = []
    for together in np.split(order, np.arange(users * _SORTED_TOGETHER, len(order), users * _SORTED_TOGETHER)):
        by_length = together[np.argsort(lengths[together], kind="stable")]
        batches += np.split(by_length, np.arange(users, len(by_length), users))
    return [batches[index] for index in rng.permutation(len(batches))]


def padded(panel: Panel, users: np.ndarray) -> Batch:
    """The user-days of some users (B,) side by side."""
    length = panel.length[users]
    real = np.arange(length.max()) < length[:, None]
    at = np.where(real, panel.start[users][:, None] + np.arange(length.max()), 0)
    tokens = np.where(real[..., None], panel.tokens[at], np.float32(0))
    index = at[real]
    return Batch(torch.from_numpy(tokens), torch.from_numpy(real), index, gaps_of(panel, index))


def gaps_of(panel: Panel, index: np.ndarray, from_day: int = 0) -> Gaps:
    """What came after some user-days (M,), shape (M, heads); silence before day `from_day` does not count."""
    entry_days = np.repeat(panel.entry_days(from_day)[index, None], len(HEADS), axis=1)
    return Gaps(
        torch.from_numpy(panel.gap_days[index].astype(np.float32)),
        torch.from_numpy(panel.observed[index]),
        torch.from_numpy(entry_days.astype(np.float32)),
    )
