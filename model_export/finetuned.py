"""The fine-tuned model as a competitor: at every cut-off fitted anew to the log before it, then calibrated."""

from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch

from consumer.core.risk import calibrated, churn_probability
from model_export.artefact import raw_log_hazards
from model_export.bars import FINETUNED
from model_export.calibrate import fit_calibration
from model_export.data import HEADS, PRIMARY_TARGET
from model_export.export import load_weights, torch_scorer
from model_export.finetune import FineTuneRecipe, finetune
from model_export.shop import shop_token
from model_export.tasks import Past, Task

_HEAD = HEADS.index(PRIMARY_TARGET)


@dataclass(frozen=True, eq=False)
class Finetuned:
    """`ebbtide train finetune` on the log before each cut-off, from the weights of folder `base` on."""

    base: Path
    recipe: FineTuneRecipe = field(default_factory=FineTuneRecipe)
    name: str = FINETUNED
    _hazards: WeakKeyDictionary[Past, np.ndarray] = field(default_factory=WeakKeyDictionary, repr=False)

    def hazards(self, past: Past) -> np.ndarray:
        """See `HazardModel.hazards`."""
        if past not in self._hazards:
            torch.set_num_threads(1)
            base = load_weights(self.base)
            tuned = finetune(base, past, self.recipe, lambda *_: None)
            calibration = fit_calibration(past, torch_scorer(tuned.earlier), torch_scorer(base))
            token = shop_token(past.log.states, past.until_day)
            raw = raw_log_hazards(past.log.states.take(past.customers), torch_scorer(tuned.model), token)[:, _HEAD]
            self._hazards[past] = calibrated(raw, calibration.offset)
        return self._hazards[past]

    def predict(self, task: Task) -> np.ndarray:
        """See `Competitor.predict`."""
        silence = task.past.log.silence_days()[task.past.customers]
        return churn_probability(self.hazards(task.past), silence, task.horizon_days)
