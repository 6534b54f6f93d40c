"""How a run of the ablations is scored: zero-shot on the suite of real logs, each folded once for all runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from consumer.core.fold import FoldRules
from consumer.core.quality import auroc
from consumer.core.state import States
from model_export.ablation_results import Score
from model_export.artefact import Scorer, raw_log_hazards
from model_export.baselines import Competitor
from model_export.corpus import held_out
from model_export.evaluate import Trial, tasks_of
from model_export.export import torch_scorer
from model_export.likelihood import mean_losses
from model_export.metrics import log_loss
from model_export.model import HazardGPT
from model_export.panel import Panel
from model_export.shop import SHOP_SIZE
from model_export.tasks import Past, Task, read_past


@dataclass(frozen=True)
class Network:
    """A pre-trained network as a model; `deaf` to what the shop token says."""

    scorer: Scorer
    deaf: bool
    shop: np.ndarray

    @classmethod
    def of(cls, model: HazardGPT, deaf: bool) -> "Network":
        """As yet it knows of no shop."""
        return cls(torch_scorer(model), deaf, unknown_shop())

    def with_shop(self, shop: np.ndarray) -> "Network":
        """See `Model.with_shop`."""
        return self if self.deaf else replace(self, shop=shop)

    def log_hazards(self, states: States) -> np.ndarray:
        """See `Model.log_hazards`."""
        return raw_log_hazards(states, self.scorer, self.shop)


def unknown_shop() -> np.ndarray:
    """The token of a shop that nothing is known of: float32 (SHOP_SIZE,)."""
    return np.full(SHOP_SIZE, np.nan, np.float32)


@dataclass(frozen=True)
class Asked:
    """One log and horizon: the tasks, and what came true."""

    trial: Trial
    tasks: tuple[Task, ...]
    stayed_away: np.ndarray  # bool, of all customers of all tasks

    def score(self, competitor: Competitor) -> Score:
        """All cut-offs pooled."""
        foretold = np.concatenate([competitor.predict(task) for task in self.tasks])
        ranking = auroc(self.stayed_away, foretold)
        return Score(
            self.trial.shop,
            self.trial.horizon_days,
            None if np.isnan(ranking) else ranking,
            float(np.mean((foretold - self.stayed_away) ** 2)),
            log_loss(self.stayed_away, foretold),
        )


@dataclass(frozen=True)
class Examination:
    """What every run has to answer; logs and simulated shops are read or drawn once."""

    trials: Sequence[Trial]
    rules: FoldRules
    seed: int

    @cached_property
    def asked(self) -> list[Asked]:
        """Every trial, in order; raises `EventFileError` or `EvaluationError`."""
        found: dict[Trial, Asked] = {}
        for path in dict.fromkeys(trial.path for trial in self.trials):
            whole, pasts = read_past(path, self.rules), dict[int, Past]()
            for trial in (each for each in self.trials if each.path == path):
                tasks = tuple(tasks_of(trial, whole, pasts))
                outcome = [whole.stayed_away(task.past.until_day, task.horizon_days) for task in tasks]
                found[trial] = Asked(trial, tasks, np.concatenate(outcome))
        return [found[trial] for trial in self.trials]

    @cached_property
    def simulated(self) -> Panel:
        """Held-out simulated shops with all habits."""
        return held_out(self.seed).panel

    def prepare(self) -> None:
        """Read and draw now what would otherwise be when the first run is scored: a bad log is told before the work."""
        assert self.asked
        assert len(self.simulated.length)

    def scores(self, competitor: Competitor) -> tuple[Score, ...]:
        """On every trial."""
        return tuple(each.score(competitor) for each in self.asked)

    def simulated_loss(self, model: HazardGPT, deaf: bool) -> float:
        """Of the customers of held-out simulated shops at their moment, nats."""
        panel = self.simulated
        panel = replace(panel, shop=np.full_like(panel.shop, np.nan)) if deaf else panel
        return mean_losses(model, panel)[0]
