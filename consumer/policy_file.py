"""policy.toml to the rules in force; what is wrong in it is named at once, with file, line and reason."""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from consumer.core.conduct import ActionCaps, Conduct, ControlGroup, QuietHours, SpendPrior
from consumer.core.policy import PolicyRules
from consumer.errors import ConfigurationError
from consumer.toml_lines import key_lines, line_of
from schemas.manifest import Manifest
from schemas.policy import ACTIONS, TABLES, PolicyFile, PolicyTier, Problem, tier_problems

DEFAULT_REARM = 0.05
_PLAINLY = {  # where the validator speaks of Python's types
    "missing": "is missing",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "tuple_type": "must be tables, each under [[tiers]]",
    "too_short": "must be one or two",
    "too_long": "must be one or two",
}
_TIERS = TypeAdapter(tuple[PolicyTier, ...])


class PolicyError(ConfigurationError):
    """A policy cannot be used; every line of the message is file:line: reason."""


@dataclass(frozen=True)
class PolicyText:
    """A valid policy, and the text that says so."""

    path: Path
    text: str
    policy: PolicyFile

    @property
    def digest(self) -> str:
        """Names this version of the file."""
        return sha256(self.text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class PolicyInForce:
    """What the service goes by: when to alert, what may be done about it, and which text said so."""

    rules: PolicyRules
    conduct: Conduct
    digest: str


def read_policy(path: Path) -> PolicyText:
    """The file, valid by itself; raises `PolicyError` naming all that is wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a text with a mark
        raw = tomllib.loads(text)
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: byte {error.start} is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(_not_toml(path, text, error)) from error
    try:
        policy, problems = PolicyFile.model_validate(raw), []
    except ValidationError as error:
        policy, problems = None, [_explained(each) for each in _said(error)]
    problems += _among_tiers(raw.get("tiers"))
    if policy is None or problems:
        raise PolicyError(_listed(path, text, problems))
    return PolicyText(path, text, policy)


def in_force(read: PolicyText, manifest: Manifest, timezone: str) -> PolicyInForce:
    """The policy with what the model and the shop add to it; raises `PolicyError` if they do not fit."""
    policy, known = read.policy, manifest.thresholds.model_dump()
    thresholds = tuple(known[tier.name] if tier.threshold is None else tier.threshold for tier in policy.tiers)
    problems = tier_problems(policy.tiers, thresholds)
    if problems:
        about = f" (the model's are {known['at_risk']:g} and {known['critical']:g})"
        raise PolicyError(_listed(read.path, read.text, [(path, reason + about) for path, reason in problems]))
    rearm = DEFAULT_REARM if policy.tiers[0].rearm is None else policy.tiers[0].rearm
    rules = PolicyRules(
        thresholds=thresholds,
        rearm=max(thresholds[0] - rearm, 0.0),
        horizon_days=manifest.horizon_days,
        grace_days=policy.grace_days,
        on_silence=policy.on_silence,
        complaints_at_once=policy.complaints_at_once,
        cooldown_days=policy.cooldown_days,
        min_target_events=policy.min_target_events,
    )
    return PolicyInForce(rules, _conduct(policy, timezone, manifest), read.digest)


def load_policy(path: Path, manifest: Manifest, timezone: str) -> PolicyInForce:
    """Both steps."""
    return in_force(read_policy(path), manifest, timezone)


def _conduct(policy: PolicyFile, timezone: str, manifest: Manifest) -> Conduct:
    quiet, value, actions = policy.quiet_hours, policy.value, policy.actions
    return Conduct(
        control=ControlGroup(policy.control_group.share, policy.control_group.salt),
        alerts_per_day=policy.budget.alerts_per_day if policy.budget else None,
        quiet_hours=QuietHours(quiet.start, quiet.end, quiet.timezone or timezone) if quiet else None,
        requires_consent=policy.consent.require,
        value=SpendPrior(
            value.horizon_days,
            _usual_spend(manifest) if value.prior_spend is None else value.prior_spend,
            value.prior_purchases,
        ),
        caps=ActionCaps(actions.cap_days, tuple(sorted(actions.caps_days.items()))),
        language=policy.language,
    )


def _usual_spend(manifest: Manifest) -> float | None:
    """Of a purchase day in the shop that the model was adapted to, as a log-normal mean; None where it is not known."""
    shop = dict(zip(manifest.shop_token_names, manifest.shop_token, strict=True))
    mean, deviation = shop.get("mean_log1p_spend", 0.0), shop.get("std_log1p_spend", 0.0)
    return math.exp(mean + deviation**2 / 2) - 1 if manifest.shop is not None and mean > 0 else None


def _not_toml(path: Path, text: str, error: tomllib.TOMLDecodeError) -> str:
    reason, _, place = str(error).partition(" (at ")
    words = place.split()
    line = int(words[1].rstrip(",")) if words[:1] == ["line"] else text.count("\n") + 1
    return f"{path}:{line}: {reason[:1].lower()}{reason[1:]}"


def _among_tiers(raw: Any) -> list[Problem]:
    """What is wrong with the tiers among each other, if each is right by itself."""
    try:
        tiers = _TIERS.validate_python(tuple(raw))
    except (TypeError, ValidationError):
        return []
    return tier_problems(tiers, [tier.threshold for tier in tiers]) if tiers else []


def _said(error: ValidationError) -> list[Mapping[str, Any]]:
    """Without complaints about how many tiers there are, where those that are wrong were not counted."""
    details = error.errors(include_url=False)
    wrong = {detail["loc"][:1] for detail in details if len(detail["loc"]) > 1}
    return [each for each in details if each["type"] != "too_short" or each["loc"] not in wrong]


def _explained(detail: Mapping[str, Any]) -> Problem:
    """Pydantic's complaint as a path in the file and a sentence."""
    path = tuple(part for part in detail["loc"] if part != "[key]")
    name = path[-1] if path else ""
    table = next((part for part in path[:-1] if isinstance(part, str)), "")
    if detail["type"] == "extra_forbidden":
        model = TABLES.get(table)
        known = [field.alias or each for each, field in model.model_fields.items()] if model else []
        return path, f"{name!r} is no key {f'of {table}' if table else 'of a policy'}{_hint(str(name), known)}"
    if detail["type"] in _PLAINLY:
        return path, f"{name} {_PLAINLY[detail['type']]}"
    reason = detail["msg"].removeprefix("Value error, ")
    if detail["loc"][-1] == "[key]":
        return path, reason + _hint(str(name), ACTIONS)
    return path, f"{name}: {reason[:1].lower()}{reason[1:]}"


def _hint(name: str, known: Iterable[str]) -> str:
    nearest = get_close_matches(name, list(known), 1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _listed(path: Path, text: str, problems: Iterable[Problem]) -> str:
    lines = key_lines(text)
    placed = sorted((line_of(lines, where), reason) for where, reason in problems)
    return "\n".join(f"{path}:{line}: {reason}" for line, reason in placed)
