"""select and with_columns: new rows out of expressions, on columns."""

from __future__ import annotations

from streamkit.operators.evaluate import Evaluator
from streamkit.operators.operator import Failures, Operator
from streamkit.plan.nodes import Select
from streamkit.record.batch import Batch
from streamkit.record.columns import Column
from streamkit.record.model import Row


class SelectColumns(Operator):
    """Computes the columns; with ``keep`` the others stay as they are, those of them that anybody behind reads."""

    def __init__(self, node: Select, failures: Failures) -> None:
        super().__init__()
        self._schema = node.schema  # derived anew whenever it is asked for
        self._extends = node.keep and node.input.schema.open
        self._evaluator = Evaluator(node.columns, node.input.schema, node.label, failures)
        self._kept = [name for name in node.input.schema.names if node.keep and name not in node.columns]

    def process(self, batch: Batch) -> None:
        columns, kept = self._evaluator.columns(batch)
        if kept is not None:
            batch = batch.take(kept)
        if not len(batch):
            return
        if self._extends:
            self.emit(self._extend_rows(batch, columns))
            return
        all_columns = {name: batch.column(name) for name in self._kept if batch.has_column(name)} | columns
        ordered = {name: all_columns[name] for name in self._schema.names if name in all_columns}
        ordered = ordered if self._schema.names else all_columns
        self.emit(batch.with_columns(ordered, self._schema))

    def _extend_rows(self, batch: Batch, columns: dict[str, Column]) -> Batch:
        """Untyped rows may hold any field: each becomes a new row with the computed fields put in."""
        rows = [Row(row) for row in batch.rows()]
        for name, column in columns.items():
            for row, value in zip(rows, column.to_list(), strict=True):
                row[name] = value
        return batch.with_rows(rows, self._schema)
