"""The nodes of a plan: what a pipeline declares, as frozen values.

A node's inputs are typed fields; its schema is derived from them and never stored; a node that makes no sense is refused
when it is built (errors.DeclarationError and below). Identity is object identity: the same declaration twice is two nodes.

    Source ── Filter/Map/FlatMap/Select/WithColumns/Into/Records/Merge ── KeyBy | Globally | ByRecordKey
           ── WindowAggregate ── OnClose | Late ── ... ── Sink

KeyBy and Globally are where the graph is cut: a repartition topic stands behind each (topology.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from streamkit.errors import DeclarationError, SchemaError
from streamkit.eventtime.duration import duration_text
from streamkit.eventtime.generators import Watermarks
from streamkit.eventtime.windows import Window
from streamkit.plan.aggregators import Aggregator
from streamkit.plan.topic import Topic
from streamkit.plan.types import common_field, describe, field_of_key, python_type, returned_schema, type_name
from streamkit.record.schema import UNKNOWN, Field, Kind, Schema, schema_of


@dataclass(frozen=True, slots=True)
class EventTime:
    """Where the event time of a source comes from, and how its watermark follows.

    ``by`` None is the Kafka timestamp; a name is a field (datetime, or int in milliseconds since 1970 UTC); a function gets
    the row and returns milliseconds or a datetime. ``out_of_orderness_ms`` is d in W = max(ts) - d - 1, unless ``watermark``
    has another rule.
    """

    by: str | Callable[[Any], Any] | None = None
    out_of_orderness_ms: int = 0
    idle_after_ms: int | None = None
    max_future_ms: int | None = None
    advance_when_idle_ms: int | None = None
    watermark: Watermarks | None = None
    max_drift_ms: int | None = None


@dataclass(frozen=True, eq=False)
class Node:
    """Base of all nodes. ``inputs`` are the nodes whose records this one reads."""

    @property
    def inputs(self) -> tuple[Node, ...]:
        return ()

    @property
    def schema(self) -> Schema:
        """Of the rows that this node gives."""
        raise NotImplementedError

    @property
    def key_type(self) -> Any:
        """Python type of the record key behind this node; Any where it is known only at run time, None for `globally`."""
        return self.inputs[0].key_type

    @property
    def label(self) -> str:
        """For plans and errors: what a user would call this step."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Source(Node):
    """Records of one topic."""

    topic: Topic[Any, Any]
    event_time: EventTime = EventTime()

    @property
    def schema(self) -> Schema:
        return self.topic.value_serde.schema

    @property
    def key_type(self) -> Any:
        return self.topic.key_serde.type

    @property
    def label(self) -> str:
        return self.topic.name


@dataclass(frozen=True, eq=False)
class Unary(Node):
    """A node with one input that keeps its schema and key unless it says otherwise."""

    input: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)

    @property
    def schema(self) -> Schema:
        return self.input.schema


@dataclass(frozen=True, eq=False)
class Filter(Unary):
    """Keeps records for which the predicate is true; null counts as false (SQL's WHERE)."""

    predicate: pl.Expr | Callable[[Any], Any]

    @property
    def label(self) -> str:
        return f"filter({describe(self.predicate)})"


@dataclass(frozen=True, eq=False)
class Map(Unary):
    """One value out of each value."""

    fn: Callable[[Any], Any]

    @property
    def schema(self) -> Schema:
        return returned_schema(self.fn)

    @property
    def label(self) -> str:
        return f"map({describe(self.fn)})"


@dataclass(frozen=True, eq=False)
class FlatMap(Unary):
    """Any number of values out of each value, in the order that the function gives them."""

    fn: Callable[[Any], Any]

    @property
    def schema(self) -> Schema:
        return returned_schema(self.fn, element=True)

    @property
    def label(self) -> str:
        return f"flat_map({describe(self.fn)})"


@dataclass(frozen=True, eq=False)
class Select(Unary):
    """New rows of exactly these columns (``keep`` False) or the old columns and these (``keep`` True: with_columns)."""

    columns: Mapping[str, pl.Expr]
    keep: bool
    derived: Schema

    @property
    def schema(self) -> Schema:
        return self.derived

    @property
    def label(self) -> str:
        return f"{'with_columns' if self.keep else 'select'}({', '.join(self.columns)})"


@dataclass(frozen=True, eq=False)
class Into(Unary):
    """Rows as instances of a model; names and types were checked when declared."""

    model: type[Any]

    @property
    def schema(self) -> Schema:
        return schema_of(self.model)

    @property
    def label(self) -> str:
        return f"into({self.model.__name__})"


@dataclass(frozen=True, eq=False)
class Records(Unary):
    """Each value as a `Record` with key, timestamp, headers, topic, partition, offset."""

    @property
    def schema(self) -> Schema:
        return UNKNOWN

    @property
    def label(self) -> str:
        return "records()"


@dataclass(frozen=True, eq=False)
class Merge(Node):
    """All records of several streams of the same row type."""

    streams: tuple[Node, ...]

    def __post_init__(self) -> None:
        if len({id(stream) for stream in self.streams}) < len(self.streams):
            raise DeclarationError("merge: a stream cannot be merged with itself; its records would count twice")
        types = [stream.schema.type for stream in self.streams if stream.schema.type is not None]
        if len({id(row_type) for row_type in types}) > 1:
            names = ", ".join(type_name(row_type) for row_type in types)
            raise SchemaError(f"merge: the streams have rows of different types ({names}); make them one with map() or into()")

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.streams

    @property
    def schema(self) -> Schema:
        """What all streams agree on: a field that differs in kind is of any kind, one that some lack makes the schema open."""
        schemas = [stream.schema for stream in self.streams]
        if any(schema.type is None for schema in schemas):
            return UNKNOWN
        if len({tuple(schema.fields) for schema in schemas}) > 1 or any(schema.open for schema in schemas):
            return schemas[0] if all(schema == schemas[0] for schema in schemas) else Schema({}, open=True, type=schemas[0].type)
        return Schema({name: common_field([s.fields[name] for s in schemas]) for name in schemas[0].names}, type=schemas[0].type)

    @property
    def key_type(self) -> Any:
        types = [stream.key_type for stream in self.streams]
        return types[0] if all(key_type == types[0] for key_type in types) else Any

    @property
    def label(self) -> str:
        return "merge"


@dataclass(frozen=True, eq=False)
class Keyed(Unary):
    """Base of the nodes behind which records of one key are together in one task."""

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Names of the key in a result row: the columns, or ``("key",)``; none for `globally`."""
        return ("key",)

    @property
    def key_fields(self) -> tuple[Field, ...]:
        """One for each of `key_columns`."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class ByRecordKey(Keyed):
    """Keyed by the record's own key: no repartition.

    Behind ``key_by`` or the results of an aggregate that key keeps its names; of a topic's key the column is ``key``.
    """

    @property
    def key_columns(self) -> tuple[str, ...]:
        known = keyed_upstream(self.input)
        return ("key",) if known is None else known.key_columns

    @property
    def key_fields(self) -> tuple[Field, ...]:
        known = keyed_upstream(self.input)
        return (field_of_key(self.key_type),) if known is None else known.key_fields

    @property
    def label(self) -> str:
        return "by_record_key()"


@dataclass(frozen=True, eq=False)
class Repartition(Keyed):
    """Base of the nodes behind which stands a repartition topic ``<app>.<name>.repartition``."""

    name: str

    def same_as(self, other: Repartition) -> bool:
        """Whether both give the same records the same keys: then one topic serves both."""
        return type(self) is type(other) and self.input is other.input and self.name == other.name


@dataclass(frozen=True, eq=False)
class KeyBy(Repartition):
    """Keyed by columns or expressions (``columns``: output name -> expression) or by a function (``fn``)."""

    columns: Mapping[str, pl.Expr] | None
    fn: Callable[[Any], Any] | None
    fields: tuple[Field, ...]

    def same_as(self, other: Repartition) -> bool:
        return super().same_as(other) and isinstance(other, KeyBy) and self.fn is other.fn and self._text() == other._text()

    def _text(self) -> list[tuple[str, str]]:
        return [(name, expr.meta.serialize(format="json")) for name, expr in (self.columns or {}).items()]

    @property
    def key_type(self) -> Any:
        if len(self.fields) == 1:
            return python_type(self.fields[0])
        types = [python_type(field) for field in self.fields]
        if Any in types:
            return Any
        parts = [part | None if field.nullable else part for part, field in zip(types, self.fields, strict=True)]
        return tuple.__class_getitem__(tuple(parts))

    @property
    def key_columns(self) -> tuple[str, ...]:
        return tuple(self.columns) if self.columns is not None else ("key",)

    @property
    def key_fields(self) -> tuple[Field, ...]:
        return self.fields

    @property
    def label(self) -> str:
        return f"key_by({', '.join(self.columns) if self.columns is not None else describe(self.fn)})"


@dataclass(frozen=True, eq=False)
class Globally(Repartition):
    """One group for all records: a repartition topic with one partition, null keys."""

    @property
    def key_type(self) -> Any:
        return None

    @property
    def key_columns(self) -> tuple[str, ...]:
        return ()

    @property
    def key_fields(self) -> tuple[Field, ...]:
        return ()

    @property
    def label(self) -> str:
        return "globally()"


@dataclass(frozen=True, eq=False)
class WindowAggregate(Node):
    """A windowed aggregation over a keyed stream; owner of the store and the changelog of its name."""

    keyed: Node  # a Keyed, or stateless steps behind one that keep its key
    key: Keyed
    window: Window
    name: str
    outputs: Mapping[str, Aggregator]

    def __post_init__(self) -> None:
        taken = {*self.key.key_columns, *self.bounds}
        if clash := sorted(taken & set(self.outputs)):
            raise SchemaError(f"aggregate '{self.name}': output {clash} has the name of a key or window column")
        if _holds_updates(self.keyed):
            raise DeclarationError(
                f"aggregate '{self.name}' is over on_update(): an update replaces the one before, and an aggregate would "
                "count both. Aggregate on_close() instead"
            )
        if not self.outputs:
            raise DeclarationError(f"aggregate '{self.name}' has no outputs: give at least one, such as n=sk.count()")
        for output, aggregator in self.outputs.items():
            try:
                aggregator.result_field(self.keyed.schema)
            except DeclarationError as error:
                raise type(error)(f"aggregate '{self.name}', output '{output}': {error}") from None

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.keyed,)

    @property
    def bounds(self) -> tuple[str, ...]:
        """The columns of a result row that say from when to when its window lasted."""
        return ("window_start", "window_end") if self.window.has_bounds else ()

    @cached_property
    def schema(self) -> Schema:
        """Of a result row: key columns, window_start, window_end, outputs."""
        instant = Field(Kind.DATETIME)
        fields = dict(zip(self.key.key_columns, self.key.key_fields, strict=True))
        fields |= dict.fromkeys(self.bounds, instant)
        fields |= {name: agg.result_field(self.keyed.schema) for name, agg in self.outputs.items()}
        return Schema(fields)

    @property
    def label(self) -> str:
        return f"aggregate '{self.name}' over {self.window}"


@dataclass(frozen=True, eq=False)
class OnClose(Unary):
    """The final result of each window and key, once."""

    input: WindowAggregate

    @property
    def label(self) -> str:
        return "on_close()"


@dataclass(frozen=True, eq=False)
class OnUpdate(Unary):
    """The present result of each window and key that changed: ``every_ms`` by the wall clock, or per record, or with each
    commit."""

    input: WindowAggregate
    every_ms: int | None = None
    per_record: bool = False

    @property
    def label(self) -> str:
        if self.per_record:
            return "on_update(every=record)"
        return "on_update()" if self.every_ms is None else f"on_update(every={duration_text(self.every_ms)})"


@dataclass(frozen=True, eq=False)
class Late(Unary):
    """The original records that were late for all of their windows."""

    input: WindowAggregate

    def __post_init__(self) -> None:
        if not self.input.window.closed_by_time:
            raise DeclarationError(
                f"aggregate '{self.input.name}': late() of {self.input.window} would be empty, since no watermark closes its "
                "windows: each record counts when it comes, whatever its time. Leave it out"
            )

    @property
    def schema(self) -> Schema:
        return self.input.keyed.schema

    @property
    def label(self) -> str:
        return "late()"


@dataclass(frozen=True, eq=False)
class Sink(Unary):
    """Writes to a topic. ``key`` None keeps the record's key; a name takes it from that column."""

    topic: Topic[Any, Any]
    key: str | None = None

    @property
    def label(self) -> str:
        return f"to({self.topic.name})"


def _holds_updates(node: Node) -> bool:
    """Whether records here may be updates of one another."""
    return isinstance(node, OnUpdate) or (not isinstance(node, OnClose) and any(map(_holds_updates, node.inputs)))


def keyed_upstream(node: Node) -> Keyed | None:
    """The node that gave records the key that they have here; None if it is the key of a topic (or of several streams)."""
    while not isinstance(node, Repartition):
        if isinstance(node, OnClose | OnUpdate | Late):
            node = node.input.key
        elif isinstance(node, ByRecordKey) or (isinstance(node, Unary) and not isinstance(node, Keyed)):
            node = node.input
        else:
            return None
    return node
