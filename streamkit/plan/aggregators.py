"""What an aggregate computes, as declared: the function, its input, and the type of its result."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
    VARIANCE = "variance"
    STDDEV = "stddev"
    FIRST = "first"
    LAST = "last"
    COLLECT = "collect"
    COUNT_DISTINCT = "count_distinct"


_OF_NUMBERS = (Function.SUM, Function.MEAN, Function.VARIANCE, Function.STDDEV)
_ORDERED = (Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.STR, Kind.BYTES, Kind.DATETIME, Kind.DATE, Kind.DECIMAL, Kind.ANY)


@dataclass(frozen=True, eq=False)
class Aggregator:
    """One output of an aggregate. Null inputs are skipped, as in SQL; over nothing but nulls all but the counts (0) and collect
    (empty) are null.

    ``input`` is an elementwise expression over the stream's columns; None only for ``count()``, which counts records.
    """

    function: Function
    input: pl.Expr | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [] if self.input is None else [expression_text(self.input)]
        parts += [f"{name}={value!r}" for name, value in self.options.items() if value is not False]
        return f"{self.function.value}({', '.join(parts)})"

    def input_field(self, schema: Schema) -> Field:
        """The field that the input expression gives over these rows."""
        return ANY_FIELD if self.input is None else expression_field(self.input, schema)

    def result_field(self, schema: Schema) -> Field:
        """count, count_distinct: int. sum, min, max, first, last: the input's type. mean: float (Decimal of Decimals). variance,
        stddev: float, null of fewer than two values. collect: a list."""
        given = self.input_field(schema)
        match self.function:
            case Function.COUNT_DISTINCT if given.kind is Kind.OBJECT:
                raise SchemaError(f"{self} needs values that can be compared, but its input is {given}")
            case Function.COUNT | Function.COUNT_DISTINCT:
                return Field(Kind.INT)
            case Function.COLLECT:
                return Field(Kind.OBJECT, type=list)
            case Function.FIRST | Function.LAST:
                return given
        if self.function in _OF_NUMBERS and not given.kind.numeric:
            raise SchemaError(f"{self} needs a number, but its input is {given}")
        if given.kind not in _ORDERED:
            raise SchemaError(f"{self} needs values that can be ordered, but its input is {given}")
        if self.function in (Function.VARIANCE, Function.STDDEV):
            return Field(Kind.FLOAT, nullable=given.nullable or not self.options["population"])
        if self.function is Function.MEAN and given.kind is Kind.INT:
            return Field(Kind.FLOAT, given.nullable)
        return Field(given.kind, given.nullable, given.type)
