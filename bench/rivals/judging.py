"""Whether two contestants have raised the same alerts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

TOLERANCE = 1e-3
LEVELS = (0.68, 0.73, 0.81)  # of policy.toml: where an episode ends, and the tiers
Key = tuple[str, str, int, int]  # user, tier, partition and offset of the deciding event
Alerts = Mapping[Key, float]  # to the churn probability


@dataclass(frozen=True)
class Verdict:
    """How some alerts differ from the reference."""

    alerts: int
    missing: int
    extra: int
    unexplained: int  # differences of customers none of whose differing alerts is close to a threshold
    farthest: float  # largest difference of probability among those that both have

    @property
    def is_same(self) -> bool:
        """But for what rounding decides."""
        return self.unexplained == 0 and self.farthest <= TOLERANCE


def compare(reference: Alerts, found: Alerts, thresholds: Iterable[float]) -> Verdict:
    """Judge `found`; one alert that rounding decided changes what else is told in that customer's episode."""
    levels = tuple(thresholds)
    missing, extra = reference.keys() - found.keys(), found.keys() - reference.keys()
    differing = {key: reference[key] if key in reference else found[key] for key in missing | extra}
    excused = {
        key[0]
        for key, probability in differing.items()
        if any(abs(probability - level) <= TOLERANCE for level in levels)
    }
    return Verdict(
        alerts=len(found),
        missing=len(missing),
        extra=len(extra),
        unexplained=sum(key[0] not in excused for key in differing),
        farthest=max((abs(reference[key] - found[key]) for key in reference.keys() & found.keys()), default=0.0),
    )
