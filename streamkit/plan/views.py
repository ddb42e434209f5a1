"""Which view of a batch each step uses: columns for expressions, rows for Python functions."""

from __future__ import annotations

import enum

import polars as pl

from streamkit.plan.nodes import (
    Filter,
    FlatMap,
    Into,
    KeyBy,
    Map,
    Node,
    OnClose,
    OnUpdate,
    Records,
    Repartition,
    Select,
    Sink,
    WindowAggregate,
)
from streamkit.plan.wire import wire_serde_of


class View(enum.Enum):
    """``BYTES``: neither; values go from topic to topic as they were read."""

    ROWS = "rows"
    COLUMNS = "columns"
    BYTES = "bytes"


def view_of(node: Node) -> View | None:
    """The view that a step uses; None if it looks at no values at all (sources, merge, on_close)."""
    match node:
        case Filter(predicate=predicate):
            return View.COLUMNS if isinstance(predicate, pl.Expr) else View.ROWS
        case Map() | FlatMap() | Into() | Records():
            return View.ROWS
        case Select() | WindowAggregate():
            return View.COLUMNS
        case KeyBy(fn=fn):
            return View.COLUMNS if fn is None else View.ROWS
        case Sink():
            if passes_bytes(node):
                return View.BYTES
            return View.COLUMNS if _from_columns(node.input) else View.ROWS
        case _:
            return None


def passes_bytes(node: Sink | Repartition) -> bool:
    """Whether a node that writes may pass the bytes of the values on as they were read."""
    before = wire_serde_of(node.input)
    if isinstance(node, Sink):
        return before is not None and before == node.topic.value_serde
    return before is not None


def _from_columns(node: Node) -> bool:
    """Whether rows are still columns here, which are written column by column."""
    closed = not node.schema.open
    while isinstance(node, Filter) and isinstance(node.predicate, pl.Expr):
        node = node.input
    return closed and isinstance(node, Select | OnClose | OnUpdate)
