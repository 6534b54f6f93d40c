"""What scores and features looked like where a model was made: drift is measured against it."""

from itertools import pairwise
from math import isclose
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_ROUNDING = 1e-3  # shares are written with a few decimals


class _Value(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Distribution(_Value):
    """Shares of values by bin: up to and with each edge, above the last one, and not defined."""

    edges: tuple[float, ...] = Field(max_length=20, description="Ascending.")
    shares: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(description="Two more than edges; they sum to 1.")

    @model_validator(mode="after")
    def _is_whole(self) -> "Distribution":
        if len(self.shares) != len(self.edges) + 2:
            raise ValueError(f"{len(self.edges)} edges need {len(self.edges) + 2} shares, not {len(self.shares)}")
        if not all(one < other for one, other in pairwise(self.edges)):
            raise ValueError("edges do not ascend")
        if not isclose(sum(self.shares), 1.0, abs_tol=_ROUNDING):
            raise ValueError(f"shares sum to {sum(self.shares)}, not to 1")
        return self


class Reference(_Value):
    """Distributions over events: of each one's user just after it."""

    source: Literal["log", "simulated"] = Field(description="The shop's own log, or simulated shops.")
    days: int = Field(description="The events are of so many last days.")
    observations: int
    churn_probability: dict[str, Distribution] = Field(description="By target: within the model's horizon.")
    features: dict[str, Distribution] = Field(description="By name, see consumer/core/drift.py.")
