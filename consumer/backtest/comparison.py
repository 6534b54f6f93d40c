"""Ours, the rule of thumb and a daily job of the same model at the same number of alerts."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from consumer.backtest.bootstrap import Drawn, Estimate, Ratio, draw, number
from consumer.backtest.history import History
from consumer.backtest.judging import Raised, Window, lost_stretches
from consumer.core.calendar import DAY_MS

OURS, RULE, EARLY_RULE, DAILY = "ours", "rule", "rule_as_early", "daily_job"
FIGURES = ("precision", "recall", "recall_in_time", "silence_days")


@dataclass(frozen=True)
class Method:
    """Somebody's alerts, at most one for each stretch, all of which are judged."""

    key: str  # OURS, RULE, EARLY_RULE or DAILY
    title: str
    raised: Raised


@dataclass(frozen=True)
class Standing:
    """How a method did with as many of its alerts as ours: the mean over all choices at random where they are more.

    One choice alone would add its own chance to every figure and interval.
    """

    key: str
    title: str
    alerts: Raised  # all that it raised
    counted: int  # as many as ours, or fewer
    figures: Mapping[str, Estimate]  # by FIGURES
    median_silence_days: float
    median_lead_days: float  # of alerts about lost customers: until their horizon without a target event is over
    ours_better_by: Mapping[str, Estimate]  # ours less theirs, by FIGURES; nothing for ours
    ours_earlier_days: Estimate | None  # mean over the stretches that both alerted

    def as_json(self) -> dict[str, object]:
        """As `summary.json` has it."""
        return {
            "title": self.title,
            "alerts_raised": len(self.alerts),
            "alerts": self.counted,
            **{name: each.as_json() for name, each in self.figures.items()},
            "median_silence_days": number(self.median_silence_days, 2),
            "median_lead_days": number(self.median_lead_days, 2),
            "ours_less_theirs": {name: each.as_json() for name, each in self.ours_better_by.items()},
            "ours_earlier_days": self.ours_earlier_days.as_json() if self.ours_earlier_days else None,
        }

    @property
    def share(self) -> float:
        """Of its alerts, those that count."""
        return self.counted / len(self.alerts)


@dataclass(frozen=True)
class Contest:
    """The past that methods are compared on."""

    history: History
    window: Window
    seed: int = 1

    def standings(self, methods: list[Method], alerts: int | None = None) -> list[Standing]:
        """Of every method with as many alerts as the first, which is ours, or as `alerts` says."""
        ours = methods[0]
        alerts = len(ours.raised) if alerts is None else alerts
        counted = {each.key: min(len(each.raised), alerts) for each in methods}
        ratios = {
            f"{each.key}.{name}": ratio
            for each in methods
            for name, ratio in self._ratios(each.raised, counted[each.key] / len(each.raised)).items()
        } | {f"{each.key}.earlier": self._earlier(ours.raised, each.raised) for each in methods[1:]}
        drawn = draw(ratios, self.seed)
        return [self._standing(each, counted[each.key], drawn) for each in methods]

    def _ratios(self, raised: Raised, share: float) -> dict[str, Ratio]:
        history, window = self.history, self.window
        lost = lost_stretches(history, window)
        at_ms = np.full(len(history.user), np.iinfo(np.int64).max)
        at_ms[raised.stretch] = raised.at_ms
        in_time = at_ms[lost] - window.horizon_ms <= history.time_ms[lost]
        alerts = self._by_user(raised.stretch)
        losses = self._by_user(lost)
        silence_days = history.silence_days(raised.stretch, raised.at_ms)
        return {
            "precision": Ratio(self._by_user(raised.stretch, raised.are_right(history, window)), alerts),
            "recall": Ratio(share * self._by_user(lost, np.isin(lost, raised.stretch)), losses),
            "recall_in_time": Ratio(share * self._by_user(lost, in_time), losses),
            "silence_days": Ratio(self._by_user(raised.stretch, silence_days), alerts),
        }

    def _earlier(self, ours: Raised, theirs: Raised) -> Ratio:
        both, mine, other = np.intersect1d(ours.stretch, theirs.stretch, return_indices=True)
        days = (theirs.at_ms[other] - ours.at_ms[mine]) / DAY_MS
        return Ratio(self._by_user(both, days), self._by_user(both))

    def _by_user(self, stretch: np.ndarray, value: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(self.history.user[stretch], value, minlength=self.history.users).astype(np.float64)

    def _standing(self, method: Method, counted: int, drawn: Mapping[str, Drawn]) -> Standing:
        is_ours = method.key == OURS
        silence_days = self.history.silence_days(method.raised.stretch, method.raised.at_ms)
        lead_days = self.window.horizon_days - silence_days[method.raised.are_right(self.history, self.window)]
        return Standing(
            method.key,
            method.title,
            method.raised,
            counted,
            {name: drawn[f"{method.key}.{name}"].estimate() for name in FIGURES},
            _median(silence_days),
            _median(lead_days),
            {} if is_ours else {name: drawn[f"{OURS}.{name}"].minus(drawn[f"{method.key}.{name}"]) for name in FIGURES},
            None if is_ours else drawn[f"{method.key}.earlier"].estimate(),
        )


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")
