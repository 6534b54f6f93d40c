"""The example consumer of triggers: what it sends to a marketing tool."""

import importlib.util
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.trigger import MarketingTrigger

ROOT = Path(__file__).parents[2]
TRIGGER: dict[str, Any] = json.loads((ROOT / "schemas" / "examples" / "marketing-trigger.json").read_text())
SEND_AFTER = MarketingTrigger.model_validate(TRIGGER).send_after
CAMPAIGNS = {"recommendation": "campaign-7"}


@pytest.fixture(scope="module")
def webhook() -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("trigger_webhook", ROOT / "docs" / "examples" / "trigger_webhook.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_braze_sends_the_action_s_campaign_to_the_user(webhook: Any) -> None:
    """Once the quiet hours are over, it is sent at once, with everything that the template may show."""
    path, body = webhook.braze(TRIGGER, CAMPAIGNS, SEND_AFTER)
    assert path == "/campaigns/trigger/send"
    [recipient] = body["recipients"]
    assert (body["campaign_id"], recipient["external_user_id"]) == ("campaign-7", "15042")
    shown = recipient["trigger_properties"]
    assert (shown["favourite_item"], shown["also_bought"], shown["language"]) == ("SKU-4711", ["SKU-4712"], "de")
    assert "schedule" not in body


def test_braze_schedules_what_must_wait(webhook: Any) -> None:
    """In quiet hours the same message is scheduled for their end."""
    _, now = webhook.braze(TRIGGER, CAMPAIGNS, SEND_AFTER)
    path, body = webhook.braze(TRIGGER, CAMPAIGNS, SEND_AFTER - timedelta(seconds=1))
    assert path == "/campaigns/trigger/schedule/create"
    assert body == now | {"schedule": {"time": TRIGGER["send_after"]}}


def test_klaviyo_gets_an_event_that_is_known_by_its_trigger(webhook: Any) -> None:
    """A repeated trigger has the same `unique_id`, by which Klaviyo drops it; the metric is named after the action."""
    path, body = webhook.klaviyo(TRIGGER, CAMPAIGNS, datetime.now(UTC))
    attributes = body["data"]["attributes"]
    assert path == "/api/events"
    assert attributes["unique_id"] == TRIGGER["trigger_id"]
    assert attributes["metric"]["data"]["attributes"]["name"] == "Ebbtide recommendation"
    assert attributes["profile"]["data"]["attributes"]["external_id"] == "15042"
    assert attributes["properties"]["send_after"] == TRIGGER["send_after"]


def test_nothing_of_a_trigger_is_lost(webhook: Any) -> None:
    """Every field is in what is sent, under its own name or as user, time or schedule."""
    elsewhere = {"parameters", "user_id", "send_after", "created_at"}
    assert set(MarketingTrigger.model_fields) - elsewhere < set(webhook.properties(TRIGGER))
    assert TRIGGER["parameters"].items() <= webhook.properties(TRIGGER).items()


def test_what_came_too_late_is_not_sent(webhook: Any) -> None:
    """From its expiry on a trigger is passed over."""
    expires_at = datetime.fromisoformat(TRIGGER["expires_at"])
    assert webhook.is_expired(TRIGGER, expires_at)
    assert not webhook.is_expired(TRIGGER, expires_at - timedelta(seconds=1))
