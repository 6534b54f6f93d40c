"""`report.html`: the back-test as a page that needs nothing else. Needs the extra `report`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment, StrictUndefined

from consumer.backtest.bootstrap import Estimate
from consumer.backtest.comparison import OURS, Standing
from consumer.backtest.examples import examples
from consumer.backtest.findings import Findings, Level
from consumer.backtest.judging import Window
from consumer.backtest.plots import plots
from consumer.backtest.usage import usage
from consumer.core.calendar import DAY_MS
from model_export.canvas import svg
from schemas.manifest import Manifest

REPORT_FILE: Final = "report.html"
_WIDE: Final = {"over_time": (11.0, 3.2)}


@dataclass(frozen=True)
class Shop:
    """What the page says of the log."""

    name: str
    currency: str
    summary: Mapping[str, Any]  # as in summary.json
    spend_days: float  # in which customers are expected to spend what their alerts say


def write_page(out: Path, shop: Shop, findings: Findings, manifest: Manifest, alerts_file: Path) -> Path:
    """The page in folder `out`; returns its path."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(
        files("consumer.backtest").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    shown = examples(findings, alerts_file)
    content = template.render(
        shop=shop,
        findings=findings,
        words=findings.words,
        model=manifest,
        follow=f"{findings.window.follow_ms / DAY_MS:.0f}",
        horizon=f"{findings.window.horizon_days:.0f}",
        period=[_day(each) for each in _bounds_ms(findings.window)],
        plots={key: (text, svg(draw, _WIDE.get(key, (5.4, 3.7)))) for key, text, draw in _drawn(findings, manifest)},
        examples=[(each, svg(each.draw, (3.6, 2.2))) for each in shown],
        verdict=_verdict,
        percent=_percent,
        days=_days,
        points=_points,
        money=lambda level: _money(findings, level),
        ours=OURS,
    )
    path = out / REPORT_FILE
    path.write_text(content, encoding="utf-8")
    return path


def _bounds_ms(window: Window) -> tuple[int, int, int, int]:
    """Where judging begins and ends, where the log ends, and when the last stretch begins that is followed."""
    return window.from_ms, window.last_ms, window.until_ms, window.last_ms - window.follow_ms


def _drawn(findings: Findings, manifest: Manifest) -> Any:
    history, window = findings.history, findings.window
    used = usage(history, window, findings.everyone, manifest.alert_budget)
    return plots(findings, used)


def _verdict(standing: Standing, name: str) -> str:
    """Whether ours is clearly "better" or "worse" than a rival, else ""."""
    difference = standing.ours_earlier_days if name == "earlier" else standing.ours_better_by.get(name)
    return {"more": "better", "less": "worse"}.get(difference.verdict, "") if difference else ""


def _percent(value: float) -> str:
    return f"{value:.1%}" if np.isfinite(value) else "–"


def _days(value: float) -> str:
    return f"{value:,.1f}" if np.isfinite(value) else "–"


def _points(estimate: Estimate) -> tuple[str, str]:
    """A difference of shares in percentage points, and its interval."""
    if not np.isfinite(estimate.value):
        return "–", ""
    return f"{estimate.value * 100:+.1f} points", f"{estimate.low * 100:+.1f} to {estimate.high * 100:+.1f}"


def _money(findings: Findings, level: Level) -> tuple[str, str] | None:
    right, everyone = findings.money(level)
    return (f"{right:,.0f}", f"{everyone:,.0f}") if np.isfinite(everyone) else None


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat()
