"""A simulated shop, replayed with random weights: the curves that are kept, the summary, and the page."""

import json
import re
from dataclasses import fields, replace
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from consumer.adapters.clock import ManualClock
from consumer.adapters.metrics import Metrics
from consumer.adapters.onnx_scorer import verified_manifest
from consumer.assembly import build_worker
from consumer.backtest.comparison import OURS
from consumer.backtest.examples import examples
from consumer.backtest.recording import Curves
from consumer.backtest.rivals import DailyJob
from consumer.concluding import ALERTS_FILE, Conclusion, log_name
from consumer.concluding_view import how_compared
from consumer.core.calendar import DAY_MS
from consumer.event_log import EventLog
from consumer.replay import curves_of, replay, run_through
from consumer.settings import Settings, load_settings
from consumer.tables import how_judged
from consumer.tally import Tally
from schemas.alert import RetentionAlert
from schemas.files import read_events
from shop_logs import shop_rows, write_rows

VOID = ("meta", "br")


@pytest.fixture(scope="module")
def settings(tiny_model: Path) -> Settings:
    return load_settings(clock="watermark", model_dir=tiny_model)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    rows = [(f"<b>{user}" if user == "u001" else user, *rest) for user, *rest in shop_rows()]
    return write_rows(folder / "shop.csv", rows)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def done(shop: Path, settings: Settings) -> Conclusion:
    found, _ = replay(shop, shop.parent / "out", settings, 3)
    return found


def curves_and_tally(shop: Path, settings: Settings) -> tuple[Curves, Tally]:
    tally = Tally(verified_manifest(settings.model_dir))
    for _, value in read_events(shop):
        tally.event(value)
    return curves_of(shop, tally, settings), tally


@pytest.fixture(scope="module")
def whole(shop: Path, settings: Settings) -> tuple[Curves, Tally]:
    return curves_and_tally(shop, settings)


def test_there_is_a_curve_after_every_event(whole: tuple[Curves, Tally]) -> None:
    """Of the user that the chronicle numbers so, at the event's time."""
    curves, tally = whole
    assert len(curves.user) == tally.events == sum(1 for _ in shop_rows())
    bought = curves.by_user().take(np.flatnonzero(curves.by_user().target_events > 0))
    history = tally.chronicle.history()
    assert np.array_equal(bought.user, history.user)
    assert np.array_equal(bought.at_ms, history.time_ms)
    assert np.array_equal(bought.target_events, history.number)


def test_curves_do_not_depend_on_the_way(whole: tuple[Curves, Tally], shop: Path, settings: Settings) -> None:
    """A log that is only scored has those of the whole pipeline, however it is cut, to the last bit."""
    chosen, tally = settings.model_copy(update={"max_batch_records": 97}), whole[1]
    records = EventLog(shop, settings.timezone, 3).records(2**41, Tally(verified_manifest(settings.model_dir)))
    worker, clock = build_worker(settings, Metrics()), ManualClock(2**41)
    cut = run_through(records, 3, worker, tally, chosen, clock, lambda _: None).by_user()
    scored = whole[0].by_user()
    for each in fields(Curves):
        assert np.array_equal(getattr(scored, each.name), getattr(cut, each.name))


def test_the_daily_job_alerts_on_the_midnight_after_ours(
    done: Conclusion, whole: tuple[Curves, Tally], settings: Settings
) -> None:
    """At the same thresholds, where silence alone raised an alert, it does so at the next midnight."""
    findings, policy = done.findings, build_worker(settings, Metrics()).engine.policy
    job = DailyJob.of(findings.history, findings.window, policy, whole[0])
    for level, threshold in zip(findings.levels, policy.rules.thresholds, strict=True):
        silent = findings.alerts.by_silence[level.first]
        ours = dict(zip(level.everyone.stretch[silent].tolist(), level.everyone.at_ms[silent].tolist(), strict=True))
        theirs = job.alerts(threshold)
        both = [each for each in zip(theirs.stretch.tolist(), theirs.at_ms.tolist(), strict=True) if each[0] in ours]
        late_days = np.array([(at_ms - ours[stretch]) / DAY_MS for stretch, at_ms in both])
        assert len(late_days) > 50
        assert late_days.min() >= 0
        assert late_days.max() < 1


def test_every_method_has_as_many_alerts(done: Conclusion) -> None:
    """At most; the rule and the daily job reach our number here."""
    for level in done.findings.levels:
        assert {len(each.alerts) for each in level.standings} == {len(level.judged)}
        assert level.standings[0].key == OURS


def test_the_summary_tells_the_back_test(done: Conclusion, shop: Path) -> None:
    """`summary.json` holds what was returned: every method of every tier, with intervals."""
    written = json.loads((shop.parent / "out" / "summary.json").read_text())
    assert written == json.loads(json.dumps(done.summary))
    tiers = written["back_test"]["tiers"]
    assert list(tiers) == ["at_risk", "critical"]
    for methods in tiers.values():
        assert {"ours", "rule", "daily_job", "expected_spend"} <= set(methods)
        precision = methods["ours"]["precision"]
        assert 0 <= precision["low"] <= precision["value"] <= precision["high"] <= 1
        assert set(methods["rule"]["ours_less_theirs"]) == {"precision", "recall", "recall_in_time", "silence_days"}


class Tags(HTMLParser):
    """Opened and closed in order; every address that a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        self.seen.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href") and tag not in ("use", "a")]
        self.open += [tag] if tag not in VOID else []

    def handle_endtag(self, tag: str) -> None:
        """See `HTMLParser`."""
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(done: Conclusion) -> None:
    """Well-formed, with every plot in it, and nothing to be loaded from anywhere."""
    assert done.page is not None
    page, tags = done.page.read_text(), Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.loads == []
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert tags.seen.count("svg") == 6 + tags.seen.count("h4")


def test_the_page_says_what_the_summary_says(done: Conclusion) -> None:
    """The same precision, and every method's name."""
    assert done.page is not None
    page = done.page.read_text()
    for level in done.findings.levels:
        for each in level.standings:
            assert each.title in page
            assert f"{each.figures['precision'].value:.1%}" in page
    assert f"{done.findings.too_late:,} alerts came less than 30 days before the end of the log" in page


def test_examples_are_whole_alerts(done: Conclusion, shop: Path) -> None:
    """As they were published, and their outcomes are those that were judged."""
    found = examples(done.findings, shop.parent / "out" / ALERTS_FILE)
    assert len(found) == len({each.alert["alert_id"] for each in found}) >= 3
    for each in found:
        assert RetentionAlert.model_validate_json(json.dumps(each.alert)).horizon_days == 30
        days = re.search(r"(\d+) days later", each.outcome)
        assert each.is_right == (not days or int(days[1]) >= 30)
        bought = [
            at for user, kind, at, _ in shop_rows() if each.alert["user_id"].endswith(user) and kind == "purchase"
        ]
        assert each.last_target == max(at for at in bought if at <= each.alert["decided_at"])
    assert {each.is_right for each in found} == {True, False}


def test_money_is_what_the_alerts_say(done: Conclusion, shop: Path) -> None:
    """Of those judged, by the one definition of expected spend there is; unknown where currencies are mixed."""
    alerts = [json.loads(line) for line in (shop.parent / "out" / ALERTS_FILE).read_text().splitlines()]
    for level in done.findings.levels:
        judged = done.findings.window.holds(done.findings.history.time_ms[level.everyone.stretch], level.everyone.at_ms)
        told = sum(alerts[index]["expected_spend"] for index in level.first[judged].tolist())
        right, everyone = done.findings.money(level)
        assert everyone == pytest.approx(told)
        assert 0 < right < everyone
    unknown = replace(done.findings.alerts, expected_spend=np.full(len(alerts), np.nan))
    assert np.isnan(replace(done.findings, alerts=unknown).money(done.findings.levels[0])).all()


def test_names_are_escaped(done: Conclusion, shop: Path) -> None:
    """A user id is text, whatever it looks like."""
    from consumer.backtest.page import Shop, write_page

    assert done.page is not None
    alerts = (shop.parent / "out" / ALERTS_FILE).read_text().replace('"user_id":"', '"user_id":"<script>')
    (shop.parent / "marked.jsonl").write_text(alerts)
    manifest = verified_manifest(Path(load_settings().model_dir))
    page = write_page(
        shop.parent, Shop("<i>", "EUR", done.summary, 365.0), done.findings, manifest, shop.parent / "marked.jsonl"
    )
    assert "<script>" not in page.read_text()
    assert "&lt;script&gt;" in page.read_text()
    assert "<i>" not in page.read_text()


def test_a_log_too_short_to_judge_says_so(shop: Path, settings: Settings) -> None:
    """With a horizon longer than the log there is a page, without any comparison."""
    short = write_rows(shop.parent / "short.csv", shop_rows(days=40))
    done, _ = replay(short, shop.parent / "short", settings, 1)
    assert done.findings.levels == []
    assert done.page is not None
    assert "No alert can be judged." in done.page.read_text()


def test_by_activity_alerts_are_judged_by_activity(shop: Path, tiny_model: Path) -> None:
    """Where any activity counts as staying, a look ends a stretch as well, and the page and the table say so."""
    bought = [row for row in shop_rows(customers=100) if row[1] == "purchase"]
    looks = [(user, "view_item", str(date.fromisoformat(day) + timedelta(days=9)), 0.0) for user, _, day, _ in bought]
    log = write_rows(shop.parent / "browsed.csv", sorted([*bought, *looks], key=lambda row: row[2]))
    settings = load_settings(clock="watermark", model_dir=tiny_model, target="activity")
    done, _ = replay(log, shop.parent / "browsed", settings, 2)
    history = done.findings.history
    assert len(history.user) == 2 * len(bought)
    curves, _ = curves_and_tally(log, settings)
    assert np.array_equal(curves.by_user().at_ms, history.time_ms)
    assert np.array_equal(curves.by_user().target_events, history.number)
    assert done.page is not None
    assert "without any activity were over" in done.page.read_text()
    words = how_compared(done.findings) + how_judged(done.summary)
    assert "purchase" not in words
    assert "bought" not in words


def test_nothing_is_judged_before_what_the_model_knows(done: Conclusion) -> None:
    """Alerts about stretches begun before are not among those judged."""
    manifest = verified_manifest(load_settings().model_dir)
    assert manifest.shop is None
    window = done.findings.window
    later = replace(window, from_ms=window.from_ms + 60 * DAY_MS)
    history = done.findings.history
    for level in done.findings.levels:
        judged = level.everyone.within(history, later)
        assert 0 < len(judged) < len(level.judged)
        assert history.time_ms[judged.stretch].min() >= later.from_ms
    assert date.fromisoformat(str(done.summary["judged_from"])) > date(2024, 1, 1)


@pytest.mark.parametrize(
    ("path", "name"), [("my/shop.csv.gz", "shop"), ("cdnow/events.csv.xz", "cdnow"), ("x/y/events.jsonl", "y")]
)
def test_a_log_is_called_by_its_file_or_its_folder(path: str, name: str) -> None:
    """`events` says nothing."""
    assert log_name(Path(path)) == name
