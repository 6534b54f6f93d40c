"""A conclusion on the terminal; fits 80 columns."""

from math import isnan

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from consumer.backtest.comparison import Standing
from consumer.backtest.findings import Findings
from consumer.concluding import Conclusion
from consumer.extras import how_to_install
from consumer.tables import how_judged, summary_table


def show(done: Conclusion, console: Console) -> None:
    """Tell what a replay came to, and where to read on."""
    console.print(summary_table(done.summary))
    console.print(how_judged(done.summary), highlight=False)
    if done.findings.levels:
        console.print()
        console.print(contest_table(done.findings))
        console.print(how_compared(done.findings), highlight=False)
    needs = f"No report.html: that needs the extra `report` (in the checkout, {how_to_install('report')})"
    console.print(f"Report: {done.page}" if done.page else needs, highlight=False, soft_wrap=True, markup=False)


def contest_table(findings: Findings) -> Table:
    """How the alerts compare with what is simpler, at the same number."""
    table = Table("method", "precision", "in time", "ours", title="At the same number of alerts")
    for level in findings.levels:
        alerts = level.standings[0].counted
        table.add_section()
        table.add_row(f"[bold]{level.tier.replace('_', ' ')}[/], {alerts:,} alerts", "", "", "")
        for each in level.standings:
            in_time = each.figures["recall_in_time"].value
            shares = f"{each.figures['precision'].value:.1%}", "–" if isnan(in_time) else f"{in_time:.0%}"
            table.add_row(escape(each.title), *shares, _advantage(each))
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    return table


def _advantage(standing: Standing) -> str:
    more, earlier = standing.ours_better_by.get("precision"), standing.ours_earlier_days
    if more is None:
        return ""
    by = f"{more.value * 100:+.1f} ({more.low * 100:+.1f} to {more.high * 100:+.1f}) points"
    if earlier is None or isnan(earlier.value):
        return by
    return f"{by}\n{abs(earlier.value):.1f} days {'earlier' if earlier.value >= 0 else 'later'}"


def how_compared(findings: Findings) -> str:
    """What the numbers in `contest_table` count."""
    words, days = findings.words, f"{findings.window.horizon_days:.0f}"
    return (
        f"Precision: {words.nothing} in the {days} days after. In time: of {findings.lost:,} lost\n"
        f"customers, alerted before {days} days without {words.one} were over. Ours: more\n"
        f"precise by, with 95 % interval, and earlier. Alerts of the last {days} days are not judged."
    )
