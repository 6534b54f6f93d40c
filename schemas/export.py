"""JSON Schema files of the contracts: generated from the models, committed, and checked against them.

A change that breaks producers or readers needs a new version of its contract: the end of the schema's `$id`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from schemas.alert import RetentionAlert
from schemas.compatibility import Schema, breaks_producers, breaks_readers
from schemas.dead_letter import DeadLetter
from schemas.event import ShopEvent
from schemas.outcome import OutcomeRecord
from schemas.score import ScoreRecord
from schemas.trigger import MarketingTrigger

FOLDER: Final = Path(__file__).parent / "json"


class IncompatibleSchemaError(Exception):
    """A model changed in a way that breaks others, under the same version; the message says how."""


@dataclass(frozen=True)
class Contract:
    """One kind of record, and whether this service reads or writes it."""

    name: str
    model: type[BaseModel]
    mode: Literal["validation", "serialization"]  # validation: it is read; serialization: it is written
    version: int = 1

    def schema(self) -> Schema:
        """Its JSON Schema, draft 2020-12."""
        body = self.model.model_json_schema(mode=self.mode, schema_generator=_Untitled)
        for node in (body, *body.get("$defs", {}).values()):
            if node.get("additionalProperties") is False:
                del node["additionalProperties"]  # readers of this version must accept what later ones add
        identity = f"urn:ebbtide:schema:{self.name}:{self.version}"
        return {"$schema": GenerateJsonSchema.schema_dialect, "$id": identity, **body}

    def path(self, folder: Path) -> Path:
        """Its file."""
        return folder / f"{self.name}.schema.json"

    def breaking_changes(self, old: Schema) -> list[str]:
        """What going from `old` to the model as it is now breaks; nothing, if the version is another."""
        new = self.schema()
        if old.get("$id") != new["$id"]:
            return []
        breaks = breaks_producers if self.mode == "validation" else breaks_readers
        return [f"{self.name}: {change}, which needs a new version" for change in breaks(old, new)]


class _Untitled(GenerateJsonSchema):
    """Fields need no titles: they would repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


CONTRACTS: Final = (
    Contract("shop-event", ShopEvent, "validation"),
    Contract("retention-alert", RetentionAlert, "serialization"),
    Contract("dead-letter", DeadLetter, "serialization"),
    Contract("outcome", OutcomeRecord, "serialization"),
    Contract("score", ScoreRecord, "serialization"),
    Contract("marketing-trigger", MarketingTrigger, "serialization"),
)


def export(folder: Path = FOLDER) -> list[Path]:
    """Write every contract's schema; raises `IncompatibleSchemaError` rather than hide a breaking change."""
    broken = [change for contract in CONTRACTS for change in _breaking_changes(contract, folder)]
    if broken:
        raise IncompatibleSchemaError("\n".join(broken))
    folder.mkdir(parents=True, exist_ok=True)
    for contract in CONTRACTS:
        text = json.dumps(contract.schema(), indent=2, ensure_ascii=False) + "\n"
        contract.path(folder).write_text(text, encoding="utf-8")
    return [contract.path(folder) for contract in CONTRACTS]


def check(folder: Path = FOLDER) -> list[str]:
    """What is wrong with the schemas in `folder`, one sentence each; empty: nothing."""
    problems = []
    for contract in CONTRACTS:
        committed = _committed(contract, folder)
        if committed is None:
            problems.append(f"{contract.name}: its file is missing; run `ebbtide schemas export`")
        elif committed != contract.schema():
            problems.append(f"{contract.name}: differs from its model; run `ebbtide schemas export`")
    return problems + [change for contract in CONTRACTS for change in _breaking_changes(contract, folder)]


def _breaking_changes(contract: Contract, folder: Path) -> list[str]:
    committed = _committed(contract, folder)
    return [] if committed is None else contract.breaking_changes(committed)


def _committed(contract: Contract, folder: Path) -> Schema | None:
    path = contract.path(folder)
    if not path.exists():
        return None
    schema: Schema = json.loads(path.read_text(encoding="utf-8"))
    return schema
