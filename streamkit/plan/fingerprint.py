"""A short text that changes when the state of an aggregate can no longer be read as what it was written as."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from streamkit.plan.aggregators import Aggregator, Function
from streamkit.plan.nodes import WindowAggregate
from streamkit.record.schema import Kind, Schema

_FORMAT = 1


def fingerprint(aggregate: WindowAggregate) -> str:
    """Sixteen hex digits of key kinds, window and outputs (with what they keep: of inputs that may be null a count as well).

    Grace is not in it (it moves when windows close, not what they hold), nor are the expressions behind the outputs: a
    corrected expression goes on with the state that there is.
    """
    window = aggregate.window
    parts = {
        "format": _FORMAT,
        "key": [field.kind.value for field in aggregate.key.key_fields],
        "window": window.identity,
        "outputs": [_output(name, aggregator, aggregate.keyed.schema) for name, aggregator in aggregate.outputs.items()],
    }
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:16]


def _output(name: str, aggregator: Aggregator, schema: Schema) -> list[Any]:
    field, function = aggregator.input_field(schema), aggregator.function
    counts_nulls = field.nullable and field.kind is not Kind.ANY and function in (Function.SUM, Function.MIN, Function.MAX)
    return [name, function.value, field.kind.value, *(["nullable"] if counts_nulls else []), *aggregator.options.items()]
