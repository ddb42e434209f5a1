"""Which bytes are behind a stream: where values or keys are still those of a topic, they are passed through, not encoded anew."""

from __future__ import annotations

from typing import Any

from streamkit.plan.nodes import ByRecordKey, Filter, FlatMap, Into, Late, Map, Merge, Node, Records, Repartition, Select, Source
from streamkit.serdes.json import UntypedJson, serde_for
from streamkit.serdes.keys import key_serde_for
from streamkit.serdes.rows_json import RowsJson
from streamkit.serdes.serde import KeySerde, Serde

_KEEP_VALUES = (Filter, ByRecordKey)
_KEEP_KEYS = (Filter, ByRecordKey, Map, FlatMap, Select, Into, Records)


def wire_serde_of(node: Node) -> Serde[Any] | None:
    """The serde that wrote the values of this stream's records, None if they were changed since (or come from several serdes)."""
    if isinstance(node, Source):
        found: Serde[Any] = node.topic.value_serde
        return found
    if isinstance(node, Late):
        return wire_serde_of(node.input.keyed)
    if isinstance(node, Repartition):
        return repartition_value_serde(node)
    if isinstance(node, _KEEP_VALUES):
        return wire_serde_of(node.inputs[0])
    if isinstance(node, Merge):
        serdes = [wire_serde_of(stream) for stream in node.streams]
        return serdes[0] if all(serde == serdes[0] for serde in serdes) else None
    return None


def wire_key_serde_of(node: Node) -> KeySerde[Any] | None:
    """The serde that wrote the keys of this stream's records, None if they were computed."""
    if isinstance(node, Source):
        found: KeySerde[Any] = node.topic.key_serde
        return found
    if isinstance(node, Repartition):
        return key_serde_for(node.key_type)
    if isinstance(node, Late):
        return wire_key_serde_of(node.input.keyed)
    if isinstance(node, _KEEP_KEYS):
        return wire_key_serde_of(node.inputs[0])
    if isinstance(node, Merge):
        serdes = [wire_key_serde_of(stream) for stream in node.streams]
        return serdes[0] if all(serde == serdes[0] for serde in serdes) else None
    return None


def repartition_value_serde(node: Repartition) -> Serde[Any]:
    """How values travel through a repartition topic: unchanged bytes of the source's serde, else JSON of the row type."""
    unchanged = wire_serde_of(node.input)
    if unchanged is not None:
        return unchanged
    schema = node.input.schema
    if schema.fields and not schema.open and schema.type is not None and not issubclass(schema.type, dict):
        return serde_for(schema.type)
    return RowsJson(schema) if schema.fields and not schema.open else UntypedJson()
