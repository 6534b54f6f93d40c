"""The shipped model as a competitor: it has never seen the shop, and gets what all others get."""

from typing import Final, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from consumer.core.risk import churn_probability
from model_export.bars import ZEROSHOT
from model_export.comparison import Example
from model_export.score import Model
from model_export.shop import shop_token
from model_export.tasks import Past, Task

_PURCHASE_HEAD: Final = 0
_EXAMPLES: Final = ((1, "bought once"), (2, "bought on 2 days"), (4, "bought on 4 days"), (10, "bought on 10 days"))
_SILENCE_SHOWN_DAYS: Final = 180


class HazardModel(Protocol):
    """A competitor that knows the risk at every silence, and not only at the cut-off."""

    def hazards(self, past: Past) -> np.ndarray:
        """Log-hazards of the next purchase of each customer: float32 (C, BINS)."""


class Zeroshot:
    """One set of weights, told about the shop by the shop token of the log before the cut-off."""

    def __init__(self, model: Model, name: str = ZEROSHOT) -> None:
        self.name = name
        self._model = model
        self._hazards: WeakKeyDictionary[Past, np.ndarray] = WeakKeyDictionary()

    def hazards(self, past: Past) -> np.ndarray:
        """See `HazardModel.hazards`."""
        if past not in self._hazards:
            told = self._model.with_shop(shop_token(past.log.states, past.until_day))
            self._hazards[past] = told.log_hazards(past.log.states.take(past.customers))[:, _PURCHASE_HEAD]
        return self._hazards[past]

    def predict(self, task: Task) -> np.ndarray:
        """See `Competitor.predict`."""
        silence = task.past.log.silence_days()[task.past.customers]
        return churn_probability(self.hazards(task.past), silence, task.horizon_days)


def examples(model: HazardModel, task: Task) -> list[Example]:
    """Customers with few and many purchases, as typical as can be: their risk at every silence."""
    past = task.past
    hazards, silence = model.hazards(past), past.log.silence_days()[past.customers]
    shown = []
    for purchase_days, label in _EXAMPLES:
        alike = np.flatnonzero(past.purchase_day_counts == purchase_days)
        if len(alike):
            middle = alike[np.argsort(silence[alike], kind="stable")[len(alike) // 2]]
            days = np.arange(_SILENCE_SHOWN_DAYS + 1)
            risk = churn_probability(np.repeat(hazards[[middle]], len(days), axis=0), days, task.horizon_days)
            shown.append(Example(label, int(silence[middle]), [round(float(each), 4) for each in risk]))
    return shown
