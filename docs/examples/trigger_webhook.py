"""Marketing triggers to the webhook of a marketing tool: complete as it is, to be changed to taste.

    pip install aiokafka aiohttp
    export WEBHOOK_KEY=...                        # the tool's API key
    python trigger_webhook.py braze --url https://rest.fra-01.braze.eu --campaigns campaigns.json
    python trigger_webhook.py klaviyo --url https://a.klaviyo.com

campaigns.json names Braze's API-triggered campaign of each action: {"coupon": "8f1c...", "recommendation": "77ab..."}.
A trigger is sent at least once: its offset is committed after the tool has taken it. Klaviyo drops what it gets twice
by `unique_id`; for Braze, keep the trigger ids that were sent where a restart finds them, if once more is too often.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer

Trigger = Mapping[str, Any]
Request = tuple[str, dict[str, Any]]  # path and body


def properties(trigger: Trigger) -> dict[str, Any]:
    """What a template can use, flat: {{ favourite_item }}, {{ reason }}, {{ also_bought }}."""
    copied = ("trigger_id", "alert_id", "action", "tier", "language", "decided_at", "expires_at")
    lists = ("favourite_categories", "favourite_items", "also_bought")
    return {**trigger["parameters"], **{name: trigger[name] for name in (*copied, *lists)}}


def braze(trigger: Trigger, campaigns: Mapping[str, str], now: datetime) -> Request:
    """One recipient of the action's campaign: now, or when the quiet hours are over."""
    recipient = {
        "external_user_id": trigger["user_id"],
        "send_to_existing_only": True,
        "trigger_properties": properties(trigger),
    }
    body: dict[str, Any] = {"campaign_id": campaigns[trigger["action"]], "recipients": [recipient]}
    if datetime.fromisoformat(trigger["send_after"]) <= now:
        return "/campaigns/trigger/send", body
    return "/campaigns/trigger/schedule/create", body | {"schedule": {"time": trigger["send_after"]}}


def klaviyo(trigger: Trigger, _campaigns: Mapping[str, str], _now: datetime) -> Request:
    """One event that a flow begins with; quiet hours are the flow's, which can see `send_after`."""
    attributes = {
        "unique_id": trigger["trigger_id"],
        "time": trigger["created_at"],
        "properties": properties(trigger) | {"send_after": trigger["send_after"]},
        "metric": {"data": {"type": "metric", "attributes": {"name": f"Ebbtide {trigger['action']}"}}},
        "profile": {"data": {"type": "profile", "attributes": {"external_id": trigger["user_id"]}}},
    }
    return "/api/events", {"data": {"type": "event", "attributes": attributes}}


def is_expired(trigger: Trigger, now: datetime) -> bool:
    """Whether it came too late to be of use, as after an outage."""
    return datetime.fromisoformat(trigger["expires_at"]) <= now


TOOLS: dict[str, Callable[[Trigger, Mapping[str, str], datetime], Request]] = {"braze": braze, "klaviyo": klaviyo}


def headers(tool: str, key: str) -> dict[str, str]:
    """How each tool wants to be asked."""
    if tool == "braze":
        return {"Authorization": f"Bearer {key}", "content-type": "application/json"}
    kind = "application/vnd.api+json"
    return {"Authorization": f"Klaviyo-API-Key {key}", "revision": "2025-04-15", "accept": kind, "content-type": kind}


async def run(options: argparse.Namespace) -> None:
    """Send until stopped; what the tool does not take ends it, and is sent again after a restart."""
    campaigns = json.loads(options.campaigns.read_text(encoding="utf-8")) if options.campaigns else {}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=options.bootstrap_servers,
        group_id=f"triggers-to-{options.tool}",
        isolation_level="read_committed",  # otherwise triggers of aborted transactions are seen as well
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    consumer.subscribe(pattern=options.topics)
    session = ClientSession(options.url, headers=headers(options.tool, os.environ["WEBHOOK_KEY"]))
    async with consumer, session:
        async for record in consumer:
            trigger, now = json.loads(record.value), datetime.now(UTC)
            if not is_expired(trigger, now):
                path, body = TOOLS[options.tool](trigger, campaigns, now)
                async with session.post(path, data=json.dumps(body)) as answer:
                    answer.raise_for_status()
            await consumer.commit()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("--url", required=True, help="of the tool's API, without a path")
    parser.add_argument("--campaigns", type=Path, help="of Braze")
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--topics", default=r"^marketing\.triggers\.", help="regular expression")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
