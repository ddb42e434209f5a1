"""What the accumulators of an aggregation are given of a batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamkit.operators.evaluate import Evaluated, Evaluator
from streamkit.operators.operator import Failures
from streamkit.plan.nodes import WindowAggregate
from streamkit.record.batch import Batch
from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.accumulators import Accumulator
from streamkit.state.functions import Defined, accumulator, input_of

_BY = "\0by"
"""Behind the name of an output: the column that it ranks by. No name that a user gives ends so."""


class AggregateInputs:
    """The accumulators of an aggregation, and the columns of a batch that go into them."""

    def __init__(self, node: WindowAggregate, failures: Failures) -> None:
        schema = node.keyed.schema
        outputs = node.outputs
        expressions = {name: agg.input for name, agg in outputs.items() if agg.input is not None}
        expressions |= {name + _BY: agg.by for name, agg in outputs.items() if agg.by is not None}
        self._evaluator = Evaluator(expressions, schema, node.name, failures)
        self._names = list(outputs)
        self._of_rows = [name for name, agg in outputs.items() if agg.takes_rows]
        self.accumulators: list[Accumulator] = []
        for agg in outputs.values():
            given = agg.input_field(schema)
            functions = None if agg.definition is None else agg.definition.functions
            defined = None if functions is None else Defined(functions, agg.state_type(schema), agg.result_field(schema))
            self.accumulators.append(
                accumulator(agg.function.value, given.kind, nullable=given.nullable, options=agg.options, defined=defined)
            )

    def columns(self, batch: Batch) -> Evaluated:
        """By name, and the positions of the records they stand for (None: all of them)."""
        columns, kept = self._evaluator.columns(batch)
        if self._of_rows:
            rows = batch.rows() if kept is None else batch.take(kept).rows()
            columns |= {name: Column(rows, None, Kind.OBJECT) for name in self._of_rows}
        return columns, kept

    def of(self, columns: dict[str, Column], times: npt.NDArray[np.int64]) -> list[Column | None]:
        """The input of each accumulator; ``times`` are the event times of the records."""
        return [
            input_of(acc, columns.get(name), times, columns.get(name + _BY))
            for name, acc in zip(self._names, self.accumulators, strict=True)
        ]
