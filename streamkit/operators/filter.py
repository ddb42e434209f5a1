"""filter: keeps the records for which a predicate is true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from streamkit.errors import UserFunctionError
from streamkit.operators import rows
from streamkit.operators.evaluate import Evaluator
from streamkit.operators.operator import Failures, Operator
from streamkit.record.batch import Batch
from streamkit.record.columns import Column
from streamkit.record.schema import Schema


class ExpressionFilter(Operator):
    """On columns. Null counts as false, as in SQL's WHERE."""

    def __init__(self, predicate: pl.Expr, schema: Schema, label: str, failures: Failures) -> None:
        super().__init__()
        self._predicate = Evaluator({"keep": predicate}, schema, label, failures)

    def process(self, batch: Batch) -> None:
        columns, kept = self._predicate.columns(batch)
        if kept is not None:
            batch = batch.take(kept)
        if len(batch):
            self.emit(batch.keep(_truth(columns["keep"])))


class FunctionFilter(Operator):
    """On rows, by the truth of what the function returns."""

    def __init__(self, predicate: Callable[[Any], Any], label: str, failures: Failures) -> None:
        super().__init__()
        self._predicate, self._label, self._failures = predicate, label, failures

    def process(self, batch: Batch) -> None:
        results, batch = rows.run(self._predicate, batch.rows(), batch, self._label, self._failures, UserFunctionError)
        truths, batch = rows.run(bool, results, batch, self._label, self._failures, UserFunctionError)
        if len(batch):
            self.emit(batch.keep(np.array(truths, bool)))


def _truth(column: Column) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if isinstance(column.values, list):
        return np.fromiter((value is not None and bool(value) for value in column.values), bool, len(column.values))
    truth = column.values.astype(bool)
    return truth if column.valid is None else truth & column.valid
