"""Policies and plans as people read them: tables."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from consumer.backtest.wording import WORDINGS
from consumer.policy_file import PolicyInForce
from consumer.policy_plan import Plan
from consumer.policy_trial import Trial
from schemas.alert import Tier


def plan_json(plan: Plan) -> dict[str, Any]:
    """For machines."""
    return {
        "events": plan.events,
        "customers": plan.users,
        "lost_customers": plan.lost,
        "horizon_days": plan.period.horizon_days,
        "judged_days": plan.period.days,
        "thresholds": [asdict(trial) for trial in plan.thresholds],
        "budgets": [{"budget_per_day": each.alerts_per_day} | asdict(each.trial) for each in plan.budgets],
        "best": asdict(plan.best),
    }


def plan_table(plan: Plan) -> Table:
    """A row for each threshold, then for each budget; the best is marked."""
    with_money = plan.best.net is not None
    table = Table(
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        title=f"{plan.events:,} events of {plan.users:,} customers, judged over {plan.period.days:,.0f} days",
    )
    for name in ("", "from", "alerts", "a day", "precision", "caught", "lead", *_money_names(with_money)):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for trial in plan.thresholds:
        table.add_row("", *_cells(trial, with_money), style=_style(trial, plan))
    table.add_section()
    for each in plan.budgets:
        label = f"≤ {each.alerts_per_day:,g}/day"
        table.add_row(label, *_cells(each.trial, with_money), style=_style(each.trial, plan))
    return table


def plan_notes(plan: Plan) -> str:
    """What the numbers count."""
    words, days = WORDINGS[plan.target], f"{plan.period.horizon_days:g}"
    best = "the highest net gain" if plan.best.net is not None else "the best balance of precision and caught"
    return (
        f"from: the threshold. precision: {words.none} in the {days} days after the alert.\n"
        f"caught: of the {plan.lost:,} times that {days} days passed without {words.one},\n"
        "those alerted before they had passed; lead: how long before (median).\n"
        f"Alerts of the last {days} days cannot be judged, and are not counted.\n"
        f"Best: from {plan.best.threshold:.4g} on, with {best}."
    )


def policy_json(policy: PolicyInForce) -> dict[str, Any]:
    """For machines; times as they are written."""
    return {"hash": policy.digest, "rules": asdict(policy.rules), "conduct": asdict(policy.conduct)}


def policy_table(policy: PolicyInForce, path: str) -> Table:
    """What is in force, with thresholds worked out."""
    rules, conduct = policy.rules, policy.conduct
    quiet = conduct.quiet_hours
    rows = {
        **{str(tier): f"from {value:.4g} on" for tier, value in zip(Tier, rules.thresholds, strict=False)},
        "episode ends": f"below {rules.rearm:.4g}, or with a target event",
        "horizon": f"{rules.horizon_days:g} days",
        "complaints": "alert at once" if rules.complaints_at_once else "wait for grace and cool-down",
        "silence": "alerts when it is noticed" if rules.on_silence else "raises no alerts",
        "grace": f"{rules.grace_days:g} days after a target event",
        "cool-down": f"{rules.cooldown_days:g} days after an alert",
        "history": f"at least {rules.min_target_events} target events",
        "budget": "none" if conduct.alerts_per_day is None else f"{conduct.alerts_per_day:g} alerts a day",
        "quiet hours": f"{quiet.start:%H:%M} to {quiet.end:%H:%M}, {quiet.timezone}" if quiet else "none",
        "consent": "required" if conduct.requires_consent else "not required",
        "control group": f"{conduct.control.share:.1%}, salt {conduct.control.salt!r}",
        "expected spend": f"over {conduct.value.horizon_days:g} days; prior {_prior(policy)}",
        "caps": ", ".join([f"{conduct.caps.default_days:g} days", *_caps(conduct.caps.by_action)]),
        "language": conduct.language,
    }
    table = Table("rule", "value", title=f"{escape(path)} ({policy.digest})")
    for name, value in rows.items():
        table.add_row(name.replace("_", " "), escape(value))
    return table


def _prior(policy: PolicyInForce) -> str:
    prior = policy.conduct.value
    spend = "the shop's mean" if prior.spend is None else f"{prior.spend:g}"
    return f"{spend} per purchase, as {prior.purchases:g} purchases"


def _caps(by_action: Sequence[tuple[str, float]]) -> list[str]:
    return [f"{action.replace('_', ' ')} {days:g} days" for action, days in by_action]


def _money_names(with_money: bool) -> tuple[str, ...]:
    return ("cost", "saved", "net") if with_money else ()


def _cells(trial: Trial, with_money: bool) -> list[str]:
    cells = [
        f"{trial.threshold:.4g}",
        f"{trial.alerts:,}",
        f"{trial.alerts_per_day:,.1f}",
        _share(trial.precision),
        _share(trial.caught),
        "–" if trial.median_lead_days is None else f"{trial.median_lead_days:.0f} d",
    ]
    money = (trial.offers_cost, trial.margin_saved, trial.net) if with_money else ()
    return [*cells, *("–" if value is None else f"{value:,.0f}" for value in money)]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _style(trial: Trial, plan: Plan) -> str:
    return "bold green" if trial == plan.best else ""
