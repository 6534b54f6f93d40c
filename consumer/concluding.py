"""What remains of a replay: the alerts judged, `summary.json`, and the page where the extra `report` is installed."""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from consumer.backtest.findings import Findings
from consumer.backtest.recording import Curves
from consumer.core.policy import Policy
from consumer.tally import Tally
from schemas.manifest import Manifest

ALERTS_FILE, SUMMARY_FILE = "alerts.jsonl", "summary.json"
_DRAWN_WITH = ("jinja2", "matplotlib")


@dataclass(frozen=True)
class Conclusion:
    """What a replayed log led to."""

    summary: dict[str, object]
    findings: Findings
    page: Path | None  # None where what draws it is not installed


@dataclass(frozen=True)
class Replay:
    """Whose alerts these are."""

    log_name: str
    manifest: Manifest
    policy: Policy
    spend_days: float  # in which customers are expected to spend what their alerts say


def log_name(events: Path) -> str:
    """What to call a log: by its file, or by its folder where the file's name says nothing."""
    name = events.name.split(".")[0]
    return events.absolute().parent.name if name == "events" else name


def conclude(out: Path, replay: Replay, tally: Tally, curves: Curves) -> Conclusion:
    """Judge the alerts that lie in `out`, and write the summary and the page beside them."""
    findings = tally.findings(curves, replay.policy)
    summary = tally.summary() | {"back_test": findings.as_json()}
    (out / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
    page = _page(out, replay, tally, summary, findings) if all(map(find_spec, _DRAWN_WITH)) else None
    return Conclusion(summary, findings, page)


def _page(out: Path, replay: Replay, tally: Tally, summary: dict[str, object], findings: Findings) -> Path:
    from consumer.backtest.page import Shop, write_page

    currency = "".join(tally.currencies)
    shop = Shop(replay.log_name, currency, summary, replay.spend_days)
    return write_page(out, shop, findings, replay.manifest, out / ALERTS_FILE)
