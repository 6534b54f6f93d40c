"""A policy as the text of a policy.toml."""

import json
from collections.abc import Iterator
from datetime import time
from typing import Any

from schemas.policy import MODELS, PolicyFile, PolicyTier


def with_threshold(policy: PolicyFile, threshold: float, critical: float | None) -> PolicyFile:
    """The same policy with this threshold for its lowest tier; `critical`, in force now, stays if it is higher."""
    low, *higher = policy.tiers
    rearm = None if low.rearm is not None and low.rearm >= threshold else low.rearm
    kept = [tier for tier in higher if critical is not None and critical > threshold]
    tiers = (low.model_copy(update={"threshold": threshold, "rearm": rearm}), *kept)
    return policy.model_copy(update={"tiers": tiers})


def policy_text(policy: PolicyFile, comments: list[str]) -> str:
    """All that the policy says, defaults included; reading it gives the same policy."""
    content = policy.model_dump(by_alias=True, exclude_none=True) | {"tiers": [_tier(each) for each in policy.tiers]}
    lines = [*(f"# {each}" for each in comments), *_lines("", content)]
    return "\n".join(lines) + "\n"


def _tier(tier: PolicyTier) -> dict[str, Any]:
    values = tier.model_dump(exclude_none=True)
    return {"name": values.pop("name"), "threshold": MODELS} | values  # an own threshold comes after, and counts


def _lines(table: str, content: dict[str, Any]) -> Iterator[str]:
    """Plain values first: what follows a table's header belongs to it."""
    for key, value in content.items():
        if not isinstance(value, dict | list):
            yield f"{key} = {_value(value)}"
    for key, value in content.items():
        name = f"{table}.{key}".removeprefix(".")
        if isinstance(value, list):
            for each in value:
                yield from ("", f"[[{name}]]", *_lines(name, each))
        elif isinstance(value, dict) and value:
            yield from ("", f"[{name}]", *_lines(name, value))


def _value(value: object) -> str:
    if isinstance(value, time):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
