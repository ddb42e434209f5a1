"""Which fields of each input a sub-topology decodes: only those that its plan uses.

Expressions, key columns and aggregator inputs name their fields. A Python function may look at any: then the whole typed value
is decoded, and so validated. So is a value that is written with another serde than it was read with.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from streamkit.eventtime.generators import FieldWatermark
from streamkit.plan.expressions import root_names
from streamkit.plan.nodes import (
    Filter,
    FlatMap,
    Into,
    KeyBy,
    Late,
    Map,
    Node,
    OnClose,
    OnUpdate,
    Records,
    Repartition,
    Select,
    Sink,
    Source,
    WindowAggregate,
)
from streamkit.plan.topology import SubTopology
from streamkit.plan.views import passes_bytes

Fields = frozenset[str] | None
"""Names of fields; None is the whole value."""

NOTHING: Fields = frozenset()


def projection(part: SubTopology) -> dict[Node, Fields]:
    """For each source and each repartition that is read: the fields that are needed of its values, None for all."""
    needed: dict[Node, Fields] = {}
    for node in reversed(part.nodes):
        for one in node.inputs:
            wanted = _wanted_of_input(node, needed.get(node, NOTHING))
            needed[one] = _union(needed.get(one, NOTHING), wanted)
    inputs: tuple[Node, ...] = (*part.sources, *part.reads)
    return {node: _with_event_time(node, needed.get(node, NOTHING)) for node in inputs}


def _wanted_of_input(node: Node, wanted: Fields) -> Fields:
    """What a node reads of its input, when ``wanted`` is read of the node itself."""
    match node:
        case Map() | FlatMap() | Into() | Records():
            return None
        case Filter(predicate=predicate):
            return _union(wanted, _roots([predicate])) if isinstance(predicate, pl.Expr) else None
        case Select():
            return _union(_handed_on(node, wanted), _roots(node.columns.values()))
        case WindowAggregate():
            if any(aggregator.takes_rows for aggregator in node.outputs.values()):
                return None
            inputs = [expr for aggregator in node.outputs.values() for expr in aggregator.expressions]
            return _union(wanted, _roots(inputs))  # wanted: by late(), which hands the records themselves on
        case OnClose() | OnUpdate():
            return NOTHING
        case Late():
            return wanted
        case Sink():
            key = NOTHING if node.key is None else frozenset([node.key])
            return key if passes_bytes(node) else None
        case Repartition():
            if not passes_bytes(node) or (isinstance(node, KeyBy) and node.fn is not None):
                return None
            return _roots(node.columns.values()) if isinstance(node, KeyBy) and node.columns is not None else NOTHING
        case _:  # merge, by_record_key
            return wanted


def _handed_on(node: Select, wanted: Fields) -> Fields:
    """What with_columns takes as it is: the other columns that are wanted. Untyped rows are rows behind it, too."""
    if not node.keep:
        return NOTHING
    return None if wanted is None or node.input.schema.open else wanted - node.columns.keys()


def _with_event_time(node: Node, fields: Fields) -> Fields:
    if not isinstance(node, Source):
        return fields
    by, rule = node.event_time.by, node.event_time.watermark
    named = frozenset([by]) if isinstance(by, str) else NOTHING if by is None else None
    return _union(fields, _union(named, frozenset([rule.field]) if isinstance(rule, FieldWatermark) else NOTHING))


def _roots(expressions: Iterable[pl.Expr]) -> Fields:
    return frozenset(name for expr in expressions for name in root_names(expr))


def _union(one: Fields, other: Fields) -> Fields:
    return None if one is None or other is None else one | other
