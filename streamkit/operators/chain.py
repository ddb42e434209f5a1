"""Builds the operators of one task and moves batches and time through them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import polars as pl

from streamkit.eventtime.sliding import RecordWindow
from streamkit.eventtime.timeless import CountWindow
from streamkit.eventtime.windows import SessionWindow
from streamkit.operators.aggregate import AggregateOperator
from streamkit.operators.count_aggregate import CountAggregateOperator
from streamkit.operators.filter import ExpressionFilter, FunctionFilter
from streamkit.operators.flat_map import FlatMapRows
from streamkit.operators.map import MapRows, ToRecords
from streamkit.operators.operator import Failures, Operator, Output, PassOn
from streamkit.operators.repartition import RepartitionReader, RepartitionWriter
from streamkit.operators.select import SelectColumns
from streamkit.operators.session_aggregate import SessionAggregateOperator
from streamkit.operators.sink import SinkWriter, converter
from streamkit.operators.sliding_aggregate import SlidingAggregateOperator
from streamkit.operators.source import Decoding, SourceReader
from streamkit.operators.window_aggregate import WindowAggregateOperator
from streamkit.plan import names
from streamkit.plan.headers import headers_needed
from streamkit.plan.nodes import (
    ByRecordKey,
    Filter,
    FlatMap,
    Into,
    Late,
    Map,
    Merge,
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
from streamkit.plan.projection import projection
from streamkit.plan.topology import SubTopology, Topology
from streamkit.plan.wire import repartition_value_serde
from streamkit.serdes.keys import BytesKey, key_serde_for
from streamkit.stages import NOT_A_STAGE, OTHER, NoStages, Stages


@dataclass(slots=True)
class Chain:
    """The operators of one task. ``order`` lists them upstream first, each with those in front of it."""

    readers: dict[str, SourceReader] = field(default_factory=dict)
    aggregates: dict[str, AggregateOperator] = field(default_factory=dict)
    writers: list[RepartitionWriter] = field(default_factory=list)
    order: list[tuple[Operator, list[Operator]]] = field(default_factory=list)
    stages: Stages = field(default_factory=NoStages)

    def advance(self, watermark: int) -> None:
        """Moves time through all operators, upstream first; what closes is handed on before the operators behind hear of it."""
        passed: dict[int, int] = {}
        for operator, inputs in self.order:
            reached = min((passed[id(one)] for one in inputs), default=watermark)
            if operator.stage != NOT_A_STAGE:
                self.stages.enter(operator.stage)
            passed[id(operator)] = operator.advance(reached)
        self.stages.enter(OTHER)


class _Builder:
    def __init__(self, topology: Topology, sub: SubTopology, output: Output, failures: Failures, stages: Stages) -> None:
        self._topology, self._sub = topology, sub
        self._output, self._failures = output, failures
        self._app = topology.plan.app
        self._operators: dict[int, Operator] = {}
        self.chain = Chain(stages=stages)

    def build(self) -> Chain:
        for repartition in self._sub.reads:
            self._enter(repartition, self._reader_of(repartition))
        for node in self._sub.nodes:
            self._enter(node, self._operator(node))
        return self.chain

    def _enter(self, node: Node, operator: Operator) -> None:
        self._operators[id(node)] = operator
        operator.stages = self.chain.stages
        if not isinstance(operator, PassOn):
            operator.stage = self.chain.stages.number(*_stage(node, operator))
        is_entry = isinstance(node, Source) or (isinstance(node, Repartition) and isinstance(operator, RepartitionReader))
        inputs = [] if is_entry else [self._operators[id(one)] for one in node.inputs]
        for one in inputs:
            if operator not in one.behind and not isinstance(node, OnClose | OnUpdate | Late):
                one.behind.append(operator)
        self.chain.order.append((operator, inputs))

    def _operator(self, node: Node) -> Operator:
        match node:
            case Source():
                return self._source(node)
            case Filter(predicate=pl.Expr() as predicate):
                return ExpressionFilter(predicate, node.input.schema, node.label, self._failures)
            case Filter():
                return FunctionFilter(cast("Callable[[Any], Any]", node.predicate), node.label, self._failures)
            case Map():
                return MapRows(node.fn, node.schema, node.label, self._failures)
            case Into():
                return MapRows(converter(node.model), node.schema, node.label, self._failures)
            case FlatMap():
                return FlatMapRows(node.fn, node.schema, node.label, self._failures)
            case Select():
                return SelectColumns(node, self._failures)
            case Records():
                return ToRecords(node.schema)
            case Merge() | ByRecordKey():
                return PassOn()
            case WindowAggregate():
                operator = self.chain.aggregates[node.name] = _aggregate(node, self._failures)
                return operator
            case OnClose() | Late():
                aggregate = self.chain.aggregates[node.input.name]
                return aggregate.on_close if isinstance(node, OnClose) else aggregate.late
            case OnUpdate():
                aggregate = self.chain.aggregates[node.input.name]
                return aggregate.on_update(every_ms=node.every_ms, per_record=node.per_record)
            case Repartition():
                return self._writer(node)
            case Sink():
                return SinkWriter(node, self._output, self._failures)
        raise TypeError(f"no operator for {type(node).__name__}")

    def _source(self, node: Source) -> SourceReader:
        fields = projection(self._sub)[node]
        decoding = Decoding(
            node.topic.value_serde, node.topic.key_serde, fields, tuple(sorted(fields or ())), self._needs_keys(node)
        )
        reader = self.chain.readers[node.topic.name] = SourceReader(node.topic.name, decoding, node.event_time, self._failures)
        return reader

    def _needs_keys(self, source: Source) -> bool:
        """Whether record keys are read: then one that does not decode is found with its record."""
        if source.topic.key_serde == BytesKey():
            return False
        return any(
            isinstance(node, ByRecordKey | Records)
            or (isinstance(node, Sink) and node.key is None and node.topic.key_serde not in (BytesKey(), source.topic.key_serde))
            for node in self._sub.nodes
        )

    def _reader_of(self, node: Repartition) -> RepartitionReader:
        fields = projection(self._sub)[node]
        serde = repartition_value_serde(node)
        decoding = Decoding(serde, key_serde_for(node.key_type), fields, tuple(sorted(fields or ())), decode_keys_now=True)
        topic = names.repartition_topic(self._app, node.name)
        reader = RepartitionReader(node, topic, decoding, self._failures)
        self.chain.readers[topic] = reader
        return reader

    def _writer(self, node: Repartition) -> RepartitionWriter:
        writer = RepartitionWriter(
            node,
            names.repartition_topic(self._app, node.name),
            keep_headers=headers_needed(self._topology, node),
            output=self._output,
            failures=self._failures,
        )
        self.chain.writers.append(writer)
        return writer


def _stage(node: Node, operator: Operator) -> tuple[str, str]:
    """Where the time of an operator is counted."""
    if isinstance(operator, SourceReader):
        return "decode", node.topic.name if isinstance(node, Source) else node.label
    return "encode" if isinstance(operator, SinkWriter | RepartitionWriter) else "operator", node.label


def _aggregate(node: WindowAggregate, failures: Failures) -> AggregateOperator:
    match node.window:
        case SessionWindow():
            return SessionAggregateOperator(node, failures)
        case RecordWindow():
            return SlidingAggregateOperator(node, failures)
        case CountWindow():
            return CountAggregateOperator(node, failures)
        case _:
            return WindowAggregateOperator(node, failures)


def build_chain(topology: Topology, sub: SubTopology, output: Output, failures: Failures, stages: Stages | None = None) -> Chain:
    """Fresh operators for one task of ``sub``, which tell ``stages`` where the time goes."""
    return _Builder(topology, sub, output, failures, stages or NoStages()).build()
