"""Runs expressions over the columns of a batch and finds exactly the record at which one fails.

The expressions are elementwise (the plan saw to that), so a batch may be cut anywhere without changing a value. That is used
twice: untyped rows are evaluated in groups of equal value types, so that the types of one record never depend on its
neighbours; and where an expression fails, records are tried one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from streamkit.errors import UserFunctionError
from streamkit.operators.operator import Failures, place
from streamkit.operators.rows import describe
from streamkit.plan.arrays import array_expression
from streamkit.plan.expressions import evaluate, root_names
from streamkit.record.batch import Batch
from streamkit.record.columns import Column, columns_from_frame, frame_of, groups_of_kinds
from streamkit.record.schema import Kind, Schema

Int64s = npt.NDArray[np.int64]
_FAILURES = (ValueError, OverflowError, TypeError, RecursionError, pl.exceptions.PolarsError)
Evaluated = tuple[dict[str, Column], Int64s | None]


class Evaluator:
    """Named expressions over rows of one schema."""

    def __init__(self, expressions: Mapping[str, pl.Expr], schema: Schema, operator: str, failures: Failures) -> None:
        self._operator = operator
        self._failures = failures
        plain = {name: expr.meta.output_name() for name, expr in expressions.items() if expr.meta.is_column()}
        self._plain = plain
        self._computed = [expr.alias(name) for name, expr in expressions.items() if name not in plain]
        self._roots = sorted({root for expr in self._computed for root in root_names(expr)})
        kinds = [field.kind if (field := schema.field(root)) is not None else Kind.ANY for root in self._roots]
        self._untyped = Kind.ANY in kinds
        over_arrays = {name: array_expression(expr, schema) for name, expr in expressions.items() if name not in plain}
        self._over_arrays = {name: found for name, found in over_arrays.items() if found is not None}
        self._all_over_arrays = len(self._over_arrays) == len(over_arrays)

    def columns(self, batch: Batch) -> Evaluated:
        """The results by name, and the positions of the records they stand for (None: all of them)."""
        try:
            return self._all(batch), None
        except _FAILURES:
            return self._one_by_one(batch)

    def _all(self, batch: Batch) -> dict[str, Column]:
        out = {name: batch.column(root) for name, root in self._plain.items()}
        if self._computed:
            out |= self._by_kind(batch) if self._untyped else self._compute(batch)
        return out

    def _compute(self, batch: Batch) -> dict[str, Column]:
        columns = {root: batch.column(root) for root in self._roots}
        if self._all_over_arrays and all(column.valid is None for column in columns.values()):
            arrays = {name: np.asarray(column.values) for name, column in columns.items()}
            return {name: expression.column(arrays) for name, expression in self._over_arrays.items()}
        frame = frame_of(columns, len(batch))
        return columns_from_frame(evaluate(frame, self._computed), len(batch))

    def _by_kind(self, batch: Batch) -> dict[str, Column]:
        """Untyped columns: every group of equal kinds on its own, results put back in record order as objects."""
        columns = {root: batch.column(root) for root in self._roots}
        out: dict[str, list[object]] = {expr.meta.output_name(): [None] * len(batch) for expr in self._computed}
        for at, typed in groups_of_kinds(columns, len(batch)):
            frame = evaluate(frame_of(typed, len(at)), self._computed)
            for name, values in out.items():
                column = frame[name]
                results = column.to_list() if len(column) == len(at) else column.to_list() * len(at)
                for position, value in zip(at.tolist(), results, strict=True):
                    values[position] = value
        return {name: Column(values, None, Kind.ANY) for name, values in out.items()}

    def _one_by_one(self, batch: Batch) -> Evaluated:
        """The slow path behind a failure: each record alone, the failing ones rejected."""
        kept: list[int] = []
        parts: dict[str, list[Column]] = {}
        for index in range(len(batch)):
            try:
                for name, column in self._all(batch.take(np.array([index]))).items():
                    parts.setdefault(name, []).append(column)
            except _FAILURES as cause:
                failure = UserFunctionError(describe(cause), **place(batch, index, self._operator))
                failure.__cause__ = cause
                self._failures.reject(failure)
            else:
                kept.append(index)
        return {name: Column.concat(columns) for name, columns in parts.items()}, np.array(kept, np.int64)
