"""A short text that changes when the state of an aggregate can no longer be read as what it was written as."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from streamkit.plan.aggregators import Aggregator, Function
from streamkit.plan.expressions import expression_field
from streamkit.plan.nodes import WindowAggregate
from streamkit.record.model import Row
from streamkit.record.schema import Kind, Schema
from streamkit.state.hyperloglog import precision_for
from streamkit.state.quantiles import bits_for

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
    parts = [name, function.value, field.kind.value, *(["nullable"] if counts_nulls else [])]
    match function:
        case Function.APPROX_COUNT_DISTINCT:
            return [*parts, precision_for(aggregator.options["error"])]
        case Function.QUANTILE | Function.QUANTILES:
            return [*parts, bits_for(aggregator.options["error"])]  # any quantile can be had of the same buckets
        case Function.TOP_K if aggregator.by is not None:
            return [*parts, aggregator.options["k"], expression_field(aggregator.by, schema).kind.value]
        case Function.REDUCE | Function.USER_DEFINED if aggregator.definition is not None:
            # The functions themselves are not in it: one that was corrected goes on with the state that there is.
            named = [] if function is Function.REDUCE else [aggregator.definition.name, *aggregator.options.items()]
            return [*parts, *named, shape_of(aggregator.state_type(schema))]
    return [*parts, *aggregator.options.items()]


def shape_of(state_type: Any) -> Any:
    """What of a type decides how its values are encoded: the fields and their types, without what is said about them."""
    if state_type in (Any, object, Row):
        return "any"
    try:
        schema = msgspec.json.schema(state_type)
    except TypeError:
        return str(state_type)
    return _bare(schema)


def _bare(part: Any) -> Any:
    if isinstance(part, list):
        return [_bare(one) for one in part]
    if not isinstance(part, dict):
        return part
    found: dict[str, Any] = {}
    for name, inside in sorted(part.items()):
        if name in ("properties", "$defs"):
            found[name] = {key: _bare(value) for key, value in sorted(inside.items())}
        elif name not in ("title", "description", "default", "examples"):
            found[name] = _bare(inside)
    return found
