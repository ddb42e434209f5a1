"""flat_map: any number of values out of each value, on rows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from streamkit.errors import UserFunctionError
from streamkit.operators import rows
from streamkit.operators.operator import Failures, Operator
from streamkit.record.batch import Batch
from streamkit.record.schema import Schema


class FlatMapRows(Operator):
    """The results of one record share its key, timestamp and headers and stand in the order the function gave them.

    A generator runs to its end before its first result is used: if it fails half-way, nothing of that record goes on.
    """

    def __init__(self, fn: Callable[[Any], Any], schema: Schema, label: str, failures: Failures) -> None:
        super().__init__()
        self._schema, self._label, self._failures = schema, label, failures

        def all_of(value: Any) -> list[Any]:
            return list(fn(value))

        self._fn = all_of

    def process(self, batch: Batch) -> None:
        results, batch = rows.run(self._fn, batch.rows(), batch, self._label, self._failures, UserFunctionError)
        if len(batch):
            counts = np.fromiter(map(len, results), np.int64, len(results))
            expanded = batch.take(np.repeat(np.arange(len(batch)), counts))
            self.emit(expanded.with_rows(list(chain.from_iterable(results)), self._schema))
