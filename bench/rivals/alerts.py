"""When an alert is due, and how it is written."""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tiers:
    """When alerts are due."""

    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    rearm: float  # below which an episode ends

    @staticmethod
    def read(path: Path) -> "Tiers":
        """From a policy file."""
        tiers = tomllib.loads(path.read_text(encoding="utf-8"))["tiers"]
        thresholds = tuple(tier["threshold"] for tier in tiers)
        return Tiers(tuple(tier["name"] for tier in tiers), thresholds, thresholds[0] - tiers[0]["rearm"])


@dataclass(frozen=True)
class Alert:
    """Event `index` of the batch has raised it."""

    index: int
    user_id: str
    tier: str
    probability: float

    def record(self, partition: int, offset: int) -> bytes:
        """As it is written."""
        return (
            f'{{"user_id":"{self.user_id}","tier":"{self.tier}","churn_probability":{self.probability:.6f},'
            f'"source":{{"partition":{partition},"offset":{offset}}}}}'
        ).encode()
