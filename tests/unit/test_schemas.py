"""The committed JSON Schemas: they are the models', and a change that breaks others does not go unnoticed."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from schemas.alert import RetentionAlert
from schemas.compatibility import breaks_producers, breaks_readers
from schemas.dead_letter import DeadLetter
from schemas.event import ShopEvent
from schemas.export import CONTRACTS, FOLDER, IncompatibleSchemaError, check, export
from schemas.outcome import OutcomeRecord
from schemas.score import ScoreRecord
from schemas.trigger import MarketingTrigger

SHOP_EVENT, RETENTION_ALERT, DEAD_LETTER, *_ = (contract.schema() for contract in CONTRACTS)
EXAMPLES = {
    "shop-event": ShopEvent,
    "retention-alert": RetentionAlert,
    "dead-letter": DeadLetter,
    "outcome": OutcomeRecord,
    "score": ScoreRecord,
    "marketing-trigger": MarketingTrigger,
}
DEVICE = {"type": "object", "properties": {"os": {"type": "string"}}, "required": ["os"]}

Change = Callable[[dict[str, Any]], object]


def after(schema: dict[str, Any], change: Change) -> dict[str, Any]:
    copy = json.loads(json.dumps(schema))
    change(copy)
    return copy


def edit(folder: Path, name: str, change: Change) -> None:
    path = folder / f"{name}.schema.json"
    path.write_text(json.dumps(after(json.loads(path.read_text()), change)))


def add(name: str, node: dict[str, Any], *, required: bool) -> Change:
    def change(schema: dict[str, Any]) -> None:
        schema["properties"][name] = node
        schema["required"] += [name] if required else []

    return change


def remove(name: str) -> Change:
    def change(schema: dict[str, Any]) -> None:
        del schema["properties"][name]
        schema["required"] = [kept for kept in schema["required"] if kept != name]

    return change


def test_committed_schemas_are_those_of_the_models() -> None:
    """The schemas in the repository are what the models generate."""
    assert check(FOLDER) == []


def test_every_schema_is_identified_and_versioned(tmp_path: Path) -> None:
    """Every file says which dialect it is in, and its `$id` carries name and version."""
    for path in export(tmp_path):
        schema = json.loads(path.read_text())
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        name = path.name.removesuffix(".schema.json")
        assert re.fullmatch(rf"urn:ebbtide:schema:{name}:[1-9]\d*", schema["$id"])
        assert schema["title"]
        assert schema["description"]


@pytest.mark.parametrize(("name", "model"), EXAMPLES.items())
def test_examples_validate_and_round_trip(name: str, model: type[BaseModel]) -> None:
    """Every example is a valid record, and writing what was read gives the same JSON."""
    text = (FOLDER.parent / "examples" / f"{name}.json").read_text()
    record = model.model_validate_json(text)
    assert json.loads(record.model_dump_json(exclude_unset=True)) == json.loads(text)


def test_every_contract_has_an_example() -> None:
    """No contract is without an example, and no example without a contract."""
    names = {path.stem for path in (FOLDER.parent / "examples").glob("*.json")}
    assert names == set(EXAMPLES) == {contract.name for contract in CONTRACTS}


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """A schema that was never exported is reported by name."""
    export(tmp_path)[2].unlink()
    assert check(tmp_path) == ["dead-letter: its file is missing; run `ebbtide schemas export`"]


def test_a_compatible_change_only_asks_for_an_export(tmp_path: Path) -> None:
    """A new optional field makes the file differ, which an export settles."""
    export(tmp_path)
    edit(tmp_path, "shop-event", remove("locale"))
    assert check(tmp_path) == ["shop-event: differs from its model; run `ebbtide schemas export`"]
    export(tmp_path)
    assert check(tmp_path) == []


def test_an_incompatible_change_is_reported_and_not_exported(tmp_path: Path) -> None:
    """A newly required field is named, and an export refuses to hide it."""
    export(tmp_path)
    edit(tmp_path, "shop-event", lambda schema: schema["required"].remove("event_id"))
    assert check(tmp_path)[1:] == ["shop-event: `event_id` is required now, which needs a new version"]
    with pytest.raises(IncompatibleSchemaError, match="`event_id` is required now"):
        export(tmp_path)


def test_a_new_version_may_break(tmp_path: Path) -> None:
    """Under another version the same change is no problem but the file's age."""
    export(tmp_path)
    edit(tmp_path, "shop-event", lambda schema: schema["required"].remove("event_id"))
    edit(tmp_path, "shop-event", lambda schema: schema.update({"$id": "urn:ebbtide:schema:shop-event:0"}))
    assert check(tmp_path) == ["shop-event: differs from its model; run `ebbtide schemas export`"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s["required"].append("channel"), "`channel` is required now"),
        (add("region", {"type": "string"}, required=True), "`region` is required now"),
        (lambda s: s["$defs"]["EventType"]["enum"].remove("refund"), "`event_type` may no longer be refund"),
        (lambda s: s["properties"]["user_id"].update(maxLength=64), "`user_id` has a lower maxLength"),
        (lambda s: s["properties"]["user_id"].update(minLength=2), "`user_id` has a higher minLength"),
        (lambda s: s["properties"]["user_id"].update(pattern="^[0-9]+$"), "`user_id` has a stricter pattern"),
        (lambda s: s["properties"]["user_id"].update(enum=["a"]), "`user_id` may no longer be anything else"),
        (lambda s: s["properties"]["value"]["anyOf"].pop(), "`value` may no longer be null"),
        (lambda s: s["properties"]["value"]["anyOf"][0].update(minimum=1), "`value` has a higher minimum"),
        (lambda s: s["properties"]["value"]["anyOf"][0].update(type="integer"),
         "`value` may no longer be number"),
        (lambda s: s["properties"]["occurred_at"]["anyOf"].pop(0), "`occurred_at` may no longer be integer"),
    ],
)  # fmt: skip
def test_what_producers_send_must_stay_accepted(change: Change, reason: str) -> None:
    """Whatever narrows what is read is a breaking change, and the only one found."""
    assert breaks_producers(SHOP_EVENT, after(SHOP_EVENT, change)) == [reason]


@pytest.mark.parametrize(
    "change",
    [
        add("region", {"type": "string"}, required=False),
        add("device", DEVICE, required=False),
        remove("locale"),
        lambda s: s["required"].remove("event_id"),
        lambda s: s["$defs"]["EventType"]["enum"].append("wishlist"),
        lambda s: s["properties"]["user_id"].update(maxLength=512),
        lambda s: s["properties"]["user_id"].pop("minLength"),
        lambda s: s["properties"]["occurred_at"]["anyOf"][0].update(type="number"),
        lambda s: s["properties"]["occurred_at"]["anyOf"][1].pop("format"),
        lambda s: s["properties"]["event_id"].update(description="Other words."),
    ],
)
def test_what_is_read_may_widen(change: Change) -> None:
    """Whatever accepts all that was accepted breaks no producer."""
    assert breaks_producers(SHOP_EVENT, after(SHOP_EVENT, change)) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (remove("tier"), "`tier` is gone"),
        (lambda s: s["required"].remove("tier"), "`tier` may be absent now"),
        (lambda s: s["$defs"]["Provenance"]["required"].remove("offset"),
         "`source.offset` may be absent now"),
        (lambda s: s["$defs"]["CurvePoint"]["properties"]["silence_days"].update(type="string"),
         "`risk_curve[].silence_days` may be string now"),
        (lambda s: s["properties"].update(user_id={"anyOf": [{"type": "string"}, {"type": "null"}]}),
         "`user_id` may be null now"),
        (lambda s: s["properties"]["features"]["additionalProperties"]["anyOf"].append({"type": "string"}),
         "`features{}` may be string now"),
    ],
)  # fmt: skip
def test_what_readers_rely_on_must_stay(change: Change, reason: str) -> None:
    """Whatever takes something from readers is a breaking change, and the only one found."""
    assert breaks_readers(RETENTION_ALERT, after(RETENTION_ALERT, change)) == [reason]


@pytest.mark.parametrize(
    "change",
    [
        add("region", {"type": "string"}, required=True),
        lambda s: s["$defs"]["RejectCode"]["enum"].append("unknown_currency"),
        lambda s: s["properties"]["source_offset"].update(minimum=0),
        lambda s: s["properties"].update(original_key={"type": "string"}),
    ],
)
def test_what_is_written_may_say_more(change: Change) -> None:
    """New properties, new codes and narrower values leave a written record's readers in peace."""
    assert breaks_readers(DEAD_LETTER, after(DEAD_LETTER, change)) == []


@pytest.mark.parametrize("schema", [RETENTION_ALERT, DEAD_LETTER])
def test_written_schemas_admit_later_properties(schema: dict[str, Any]) -> None:
    """A reader that validates against a written record's schema accepts properties that are added later."""
    assert '"additionalProperties": false' not in json.dumps(schema)
