"""The schemas of the services' topics, made from their models: ``python -m tests.support.schemas`` writes them into schemas/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from services.bids.app import TOPICS as BIDS
from streamkit.record.schema import Kind

DIRECTORY = Path(__file__).resolve().parents[2] / "schemas"
TOPICS: tuple[Any, ...] = (*BIDS,)
"""Of all services."""


def schemas() -> dict[str, str]:
    """File name -> JSON Schema of the topic's values."""
    return {f"{topic.name}.json": schema_of(topic) for topic in TOPICS}


def schema_of(topic: Any) -> str:
    """The text of one file. msgspec gives a datetime no format unless its zone is fixed; on the wire it is RFC 3339."""
    rows = topic.value_serde.schema
    made: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"values of topic {topic.name}"}
    made |= msgspec.json.schema(rows.type)
    properties = made["$defs"][rows.type.__name__]["properties"]
    for name, field in rows.fields.items():
        if field.kind is Kind.DATETIME:
            properties[name]["format"] = "date-time"
    return json.dumps(made, indent=2) + "\n"


def main() -> None:
    """Writes every schema, and deletes those that no topic has any more."""
    wanted = schemas()
    for path in DIRECTORY.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (DIRECTORY / name).write_text(text)
        print(f"schemas/{name}")


if __name__ == "__main__":
    main()
