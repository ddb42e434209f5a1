"""What an aggregate computes, as declared: the function, its input, and the type of its result."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import polars as pl

from streamkit.errors import SchemaError
from streamkit.plan.expressions import expression_field, expression_text
from streamkit.record.schema import ANY_FIELD, Field, Kind, Schema


class Function(enum.Enum):
    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    MEAN = "mean"


_ORDERED = (Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.STR, Kind.BYTES, Kind.DATETIME, Kind.DATE, Kind.DECIMAL, Kind.ANY)


@dataclass(frozen=True, eq=False)
class Aggregator:
    """One output of an aggregate. Null inputs are skipped, as in SQL; over nothing but nulls sum, min, max and mean are null.

    ``input`` is an elementwise expression over the stream's columns; None only for ``count()``, which counts records.
    """

    function: Function
    input: pl.Expr | None = None

    def __str__(self) -> str:
        return f"{self.function.value}({'' if self.input is None else expression_text(self.input)})"

    def input_field(self, schema: Schema) -> Field:
        """The field that the input expression gives over these rows."""
        return ANY_FIELD if self.input is None else expression_field(self.input, schema)

    def result_field(self, schema: Schema) -> Field:
        """count: int. sum: the input's type. min, max: the input's type. mean: float (Decimal of Decimals)."""
        if self.function is Function.COUNT:
            if self.input is not None:
                self.input_field(schema)
            return Field(Kind.INT)
        field = self.input_field(schema)
        if self.function in (Function.SUM, Function.MEAN) and not field.kind.numeric:
            raise SchemaError(f"{self} needs a number, but its input is {field}")
        if field.kind not in _ORDERED:
            raise SchemaError(f"{self} needs values that can be ordered, but its input is {field}")
        if self.function is Function.MEAN and field.kind is Kind.INT:
            return Field(Kind.FLOAT, field.nullable)
        return Field(field.kind, field.nullable, field.type)
