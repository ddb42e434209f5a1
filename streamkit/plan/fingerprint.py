"""A short text that changes when the state of an aggregate can no longer be read as what it was written as."""

from __future__ import annotations

import hashlib
import json

from streamkit.plan.nodes import WindowAggregate

_FORMAT = 1


def fingerprint(aggregate: WindowAggregate) -> str:
    """Sixteen hex digits of key kinds, window and outputs.

    Grace is not in it (it moves when windows close, not what they hold), nor are the expressions behind the outputs: a
    corrected expression goes on with the state that there is.
    """
    window, schema = aggregate.window, aggregate.keyed.schema
    parts = {
        "format": _FORMAT,
        "key": [field.kind.value for field in aggregate.key.key_fields],
        "window": window.identity,
        "outputs": [
            [name, aggregator.function.value, aggregator.input_field(schema).kind.value, *aggregator.options.items()]
            for name, aggregator in aggregate.outputs.items()
        ],
    }
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:16]
