"""Results that people compare, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from consumer.backtest.wording import WORDINGS
from consumer.core.calendar import DAY_MS
from consumer.core.features import WINDOWS_DAYS
from schemas.alert import RetentionAlert
from schemas.read_report import ReadReport, local_time


def summary_table(summary: Mapping[str, Any]) -> Table:
    """What a replayed log led to, and what became of the customers."""
    words = WORDINGS[summary["target"]]
    table = Table(
        "group",
        "alerts",
        f"customers × {summary['judged_dates']} dates",
        f"{words.stayed} within {summary['horizon_days']:.0f} days",
        title="{events:,} events, customers: {users:,}, dead letters: {dead_letters:,}".format(**summary),
    )
    for group, outcome in summary["stayed_within_horizon"].items():
        alerts = summary["alerts"].get(group)
        table.add_row(
            group.replace("_", " "),
            "" if alerts is None else f"{alerts:,}",
            f"{outcome['customers']:,}",
            f"{outcome['stayed']:,} ({outcome['share']:.1%})",
        )
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def how_judged(summary: Mapping[str, Any]) -> str:
    """What the numbers in `summary_table` count."""
    words, days = WORDINGS[summary["target"]], f"{summary['horizon_days']:.0f}"
    if not summary["judged_dates"]:
        return f"The log is too short to tell what customers did: that takes {days} days before and {days} after."
    return (
        f"Alerts are of the whole log. On {summary['judged_dates']} dates, every {days} days "
        f"from {summary['judged_from']} on, each\n"
        f"customer known by then is put into the highest tier alerted since their last\n"
        f"{words.last}, and followed for {days} days. All that is counted is later than what the\n"
        "model knows of this shop; alerts still open then may be older."
    )


def alerts_table(alerts: Sequence[RetentionAlert]) -> Table:
    """The latest alerts, as a marketer would read them; fits 80 columns."""
    title = "Latest alerts, each raised when the risk reached its tier"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0, show_edge=False)
    for name in ("customer", "on", "tier"):
        table.add_column(name, no_wrap=True)
    for name in ("risk", "silent", "bought", "every"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what to do", no_wrap=True)
    for alert in alerts:
        gap, silent = (alert.features[name] for name in ("purchase_gap_mean_days", "days_since_last_event"))
        actions = ", ".join(action.replace("_", " ") for action in alert.suggested_actions)
        table.add_row(
            escape(alert.user_id),
            f"{alert.decided_at:%Y-%m-%d}",
            alert.tier.replace("_", " "),
            f"{alert.risk_curve[0].churn_probability:.0%} → {alert.churn_probability:.0%}",
            f"{silent or 0:.0f} d",
            f"{alert.features['total_target_events'] or 0:.0f}×",
            "–" if gap is None else f"{gap:.0f} d",
            "nothing: control" if alert.control_group else actions,
        )
    return table


def features_table(found: Mapping[str, Any]) -> Table:
    """One user's features: windows side by side, the rest below."""
    features: dict[str, float | None] = dict(found["features"])
    table = Table(
        "feature", *(f"{days} d" for days in WINDOWS_DAYS), "overall",
        title=f"user {escape(found['user_id'])}, as of the end of {found['as_of']}",
    )  # fmt: skip
    windowed = [name.removesuffix(f"_{WINDOWS_DAYS[0]}d") for name in features if name.endswith(f"_{WINDOWS_DAYS[0]}d")]
    for name in windowed:
        table.add_row(name, *(_number(features.pop(f"{name}_{days}d")) for days in WINDOWS_DAYS), "")
    for name, value in features.items():
        table.add_row(name, *("" for _ in WINDOWS_DAYS), _number(value))
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def features_facts(found: Mapping[str, Any]) -> str:
    """What else is known of the user, in a few lines."""
    none = f"none before {at}" if (at := found["next_outcome_known_at"]) else "none"  # an outcome is looked at then
    favourites = [*found["favourite_categories"], *found["favourite_items"]]
    return (
        f"first event   {found['first_event_at']}\nlast event    {found['last_event_at']}\n"
        f"favourites    {', '.join(favourites) or 'none'}\n"
        f"alerted       {found['alerted_tier'] or 'no'}\n"
        f"next alert    {found['next_alert_due_at'] or none} (if nothing is heard until then)"
    )


def read_notes(report: ReadReport) -> list[str]:
    """What a person should know of how an event log was read; nothing where there was nothing unusual."""
    notes = []
    if report.ignored_columns:
        notes.append(f"columns that no event has, ignored: {', '.join(report.ignored_columns)}")
    if report.without_zone:
        among = f" of {report.without_zone + report.with_zone:,}" if report.with_zone else ""
        notes.append(f"times without a zone, in {report.without_zone:,}{among} rows, were read in {report.timezone}")
    if report.out_of_order:
        notes.append(f"rows were not in time order ({report.out_of_order:,} came after a later one): {report.order}")
    if report.used and not report.purchases:
        notes.append(f"none of the {report.used:,} events is a purchase: there is nobody to lose")
    if report.users == 1:
        notes.append("all events are of one customer: there is nobody to compare with")
    return [*notes, *_bad_rows(report), *_extent(report)]


def _bad_rows(report: ReadReport) -> list[str]:
    if not report.bad:
        return []
    by_code = ", ".join(f"{count:,} {code}" for code, count in report.bad.most_common())
    first = "" if report.bad_rows == len(report.first_bad) else f"; the first {len(report.first_bad)}"
    lines = [f"  {report.line_name} {each.line:,}: {each.reason}" for each in report.first_bad]
    return [f"rows that cannot be used: {report.bad_rows:,} of {report.rows:,} ({by_code}){first}:", *lines]


def _extent(report: ReadReport) -> list[str]:
    if report.first_ms is None or report.last_ms is None:
        return []
    first, last = (local_time(each, report.timezone) for each in (report.first_ms, report.last_ms))
    notes = []
    if first[:10] == last[:10]:
        notes.append(f"all events are from one day, {first[:10]}: there is little to tell customers apart by")
    if report.until_ms is not None and not report.later and report.until_ms - report.last_ms > DAY_MS:
        days = (report.until_ms - report.last_ms) / DAY_MS
        notes.append(
            f"the log ends on {last}, {days:,.1f} days before {local_time(report.until_ms, report.timezone)}: "
            "all customers are taken to have been silent in between"
        )
    return notes


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}".rstrip("0").rstrip(".")
