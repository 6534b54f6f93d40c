"""policy.toml: who is alerted, how often, and what may be done about it."""

from collections.abc import Iterator, Sequence
from datetime import time
from itertools import pairwise
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, model_validator

from schemas.alert import Action, Tier

MODELS: Final = "model"  # a threshold: the one in the model's manifest
ACTIONS: Final = tuple(action.value for action in Action if action.value != "none")
Problem = tuple[tuple[str | int, ...], str]  # where, as ("tiers", 0, "threshold"), and what
MAX_DAYS: Final = 3_650.0
MAX_SALT_BYTES: Final = 64  # what the hash takes


def _threshold(value: Any) -> float | None:
    if value == MODELS:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ValueError(f'{value!r} is neither a probability between 0 and 1, both exclusive, nor "{MODELS}"')
    return float(value)


def _local_time(value: Any) -> time:
    try:
        found = value if isinstance(value, time) else time.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{value!r} is no time of day such as "21:30"') from error
    if found.tzinfo is not None:
        raise ValueError(f"{value!r} has a zone of its own: give it as timezone")
    return found


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:  # unknown, no name at all, a folder of names
        raise ValueError(f"{value!r} is no IANA time zone such as Europe/Berlin") from error
    return value


def _action(value: str) -> str:
    if value not in ACTIONS:
        raise ValueError(f"{value!r} is no action")
    return value


def _salt(value: str) -> str:
    if len(value.encode()) > MAX_SALT_BYTES:
        raise ValueError(f"has more than {MAX_SALT_BYTES} bytes")
    return value


Days = Annotated[float, Field(ge=0, le=MAX_DAYS)]
LocalTime = Annotated[time, PlainValidator(_local_time)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class PolicyTier(_Table):
    """A level of risk that is alerted."""

    name: Literal["at_risk", "critical"]
    threshold: Annotated[float | None, PlainValidator(_threshold)] = Field(
        description='Churn probability at which it begins; "model" (here: None): as the manifest says.'
    )
    rearm: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="Of the lowest tier: the episode is over when the risk is so far below the threshold."
    )


class PolicyQuietHours(_Table):
    """When nobody is to be disturbed; over midnight if it ends before it begins."""

    start: LocalTime = Field(alias="from")
    end: LocalTime = Field(alias="to")
    timezone: Annotated[str, AfterValidator(_zone)] | None = Field(None, description="The shop's if absent.")

    @model_validator(mode="after")
    def _lasting(self) -> "PolicyQuietHours":
        if self.start == self.end:
            raise ValueError("from and to are the same: that may mean never or always")
        return self


class PolicyBudget(_Table):
    """How many alerts people can take care of."""

    alerts_per_day: Annotated[float, Field(ge=0)]


class PolicyConsent(_Table):
    """Whether an unsubscribed customer is left alone."""

    require: bool = True


class PolicyControlGroup(_Table):
    """Customers who are alerted but never contacted, to measure what contacting the others is worth."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.1
    salt: Annotated[str, AfterValidator(_salt)] = Field("", description="Another one draws another group.")


class PolicyValue(_Table):
    """What a customer is expected to spend: their own mean, shrunk to the prior."""

    horizon_days: Annotated[float, Field(gt=0, le=MAX_DAYS)] = 365.0
    prior_spend: Annotated[float, Field(ge=0)] | None = Field(None, description="Per purchase, in the shop's currency.")
    prior_purchases: Annotated[float, Field(ge=0)] = Field(3.0, description="How many purchases the prior weighs.")


class PolicyActions(_Table):
    """How often the same customer gets the same."""

    cap_days: Days = Field(14.0, description="Days between two of the same action.")
    caps_days: dict[Annotated[str, AfterValidator(_action)], Days] = Field({}, description="By action, if not so.")


class PolicyFile(_Table):
    """The whole file."""

    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = Field(
        "en", description="For customers whose own is not known."
    )
    grace_days: Days = Field(7.0, description="No alert so soon after a purchase, complaints aside.")
    cooldown_days: Days = Field(0.0, description="No alert so soon after the customer's last one, complaints aside.")
    min_target_events: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        1, description="Customers with fewer are not alerted."
    )
    on_silence: bool = Field(True, description="Alerts when silence is noticed; false: at events alone.")
    complaints_at_once: bool = Field(True, description="A complaint waits for neither grace nor cool-down.")
    tiers: Annotated[tuple[PolicyTier, ...], Field(strict=False, min_length=1, max_length=len(Tier))]
    quiet_hours: PolicyQuietHours | None = None
    budget: PolicyBudget | None = None
    consent: PolicyConsent = PolicyConsent()
    control_group: PolicyControlGroup = PolicyControlGroup()
    value: PolicyValue = PolicyValue()
    actions: PolicyActions = PolicyActions()


TABLES: Final[dict[str, type[BaseModel]]] = {
    "": PolicyFile, "tiers": PolicyTier, "quiet_hours": PolicyQuietHours, "budget": PolicyBudget,
    "consent": PolicyConsent, "control_group": PolicyControlGroup, "value": PolicyValue, "actions": PolicyActions,
}  # fmt: skip


def tier_problems(tiers: Sequence[PolicyTier], thresholds: Sequence[float | None]) -> list[Problem]:
    """What is wrong with the tiers among each other; thresholds that are not known are None."""
    rearm, lowest = tiers[0].rearm, thresholds[0]
    found: list[Problem] = []
    if rearm is not None and lowest is not None and rearm >= lowest:
        found.append((("tiers", 0, "rearm"), f"no risk is {rearm:g} below a threshold of {lowest:g}"))
    return [*found, *_misplaced(tiers), *_overlapping(tiers, thresholds)]


def _misplaced(tiers: Sequence[PolicyTier]) -> Iterator[Problem]:
    for index, (tier, expected) in enumerate(zip(tiers, Tier, strict=False)):
        if tier.name != expected:
            yield ("tiers", index, "name"), f"tiers ascend: {', then '.join(Tier)}; {expected} is expected here"
        if index and tier.rearm is not None:
            yield ("tiers", index, "rearm"), "an episode ends as a whole: only the lowest tier has a rearm"


def _overlapping(tiers: Sequence[PolicyTier], thresholds: Sequence[float | None]) -> Iterator[Problem]:
    for index, (low, high) in enumerate(pairwise(thresholds), start=1):
        if low is not None and high is not None and low >= high:
            begins = f"{tiers[index].name} begins at {high:g}, which is not above {low:g} of {tiers[index - 1].name}"
            yield ("tiers", index, "threshold"), f"the tiers overlap: {begins}"
