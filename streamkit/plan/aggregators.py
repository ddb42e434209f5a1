"""What an aggregate computes, as declared: the function, its input, and the type of its result."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from streamkit.errors import SchemaError
from streamkit.plan.expressions import expression_field, expression_text
from streamkit.record.model import Row
from streamkit.record.schema import ANY_FIELD, Field, Kind, Schema, field_of
from streamkit.state.fold import Functions, StateCodec


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
    APPROX_COUNT_DISTINCT = "approx_count_distinct"
    QUANTILE = "quantile"
    QUANTILES = "quantiles"
    TOP_K = "top_k"
    REDUCE = "reduce"
    USER_DEFINED = "aggregator"


_OF_NUMBERS = (Function.SUM, Function.MEAN, Function.VARIANCE, Function.STDDEV, Function.QUANTILE, Function.QUANTILES)
_ORDERED = (Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.STR, Kind.BYTES, Kind.DATETIME, Kind.DATE, Kind.DECIMAL, Kind.ANY)
_PYTHON: Mapping[Kind, type] = {
    Kind.INT: int,
    Kind.FLOAT: float,
    Kind.BOOL: bool,
    Kind.STR: str,
    Kind.BYTES: bytes,
    Kind.DATETIME: datetime,
    Kind.DATE: date,
    Kind.DECIMAL: Decimal,
}


@dataclass(frozen=True, slots=True)
class Definition:
    """An aggregate by users' functions. ``state_type`` None: that of the input; ``result_type`` likewise."""

    name: str
    functions: Functions
    state_type: Any = None
    result_type: Any = None


@dataclass(frozen=True, eq=False)
class Aggregator:
    """One output of an aggregate. Null inputs are skipped, as in SQL; over nothing but nulls all but the counts (0), collect and
    top_k (empty) and users' own are null.

    ``input`` is an elementwise expression over the stream's columns. None: ``count()`` counts records; the others are given whole
    rows. ``by`` is what top_k ranks by.
    """

    function: Function
    input: pl.Expr | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    by: pl.Expr | None = None
    definition: Definition | None = None
    _known_input: list[Any] = field(default_factory=list, init=False, repr=False)  # a schema, and the field over it

    def __str__(self) -> str:
        name = self.function.value
        parts = [] if self.input is None else [expression_text(self.input)]
        if self.definition is not None and self.function is Function.REDUCE:
            parts.insert(0, self.definition.name)
        elif self.definition is not None:
            name = self.definition.name
        parts += [f"{name}={value!r}" for name, value in self.options.items() if value is not False]
        if self.by is not None:
            parts.append(f"by={expression_text(self.by)}")
        return f"{name}({', '.join(parts)})"

    @property
    def expressions(self) -> tuple[pl.Expr, ...]:
        """All that is computed from a record for it."""
        return tuple(expr for expr in (self.input, self.by) if expr is not None)

    @property
    def takes_rows(self) -> bool:
        """Whether it is given whole rows."""
        return self.input is None and self.function is not Function.COUNT

    def input_field(self, schema: Schema) -> Field:
        """The field that the input expression gives over these rows, or that a whole row is."""
        if self.input is not None:
            known = self._known_input
            if not known or known[0] != schema:
                known[:] = [schema, expression_field(self.input, schema)]
            field_of_input: Field = known[1]
            return field_of_input
        if not self.takes_rows or schema.type is None or schema.type is Row:
            return ANY_FIELD
        return Field(Kind.OBJECT, type=schema.type)

    def state_type(self, schema: Schema) -> Any:
        """The Python type of the state that users' functions make."""
        if self.definition is not None and self.definition.state_type is not None:
            return self.definition.state_type
        given = self.input_field(schema)
        if self.takes_rows and given.kind is Kind.ANY:
            return Row
        return _PYTHON.get(given.kind, given.type if given.kind is Kind.OBJECT else Any)

    def result_field(self, schema: Schema) -> Field:
        """The counts: int. sum, min, max, first, last, reduce: the input's type. mean: float (Decimal of Decimals). variance,
        stddev: float, null of fewer than two values. A quantile: float, several: a list. collect, top_k: a list."""
        given = self.input_field(schema)
        match self.function:
            case Function.COUNT_DISTINCT | Function.APPROX_COUNT_DISTINCT if given.kind is Kind.OBJECT:
                raise SchemaError(f"{self} needs values that can be compared, but its input is {given}")
            case Function.COUNT | Function.COUNT_DISTINCT | Function.APPROX_COUNT_DISTINCT:
                return Field(Kind.INT)
            case Function.COLLECT:
                return Field(Kind.OBJECT, type=list)
            case Function.TOP_K:
                ranks = ANY_FIELD if self.by is None else expression_field(self.by, schema)
                if ranks.kind not in _ORDERED:
                    raise SchemaError(f"{self} needs values to rank by that can be ordered, but these are {ranks}")
                return Field(Kind.OBJECT, type=list)
            case Function.FIRST | Function.LAST:
                return given
            case Function.REDUCE | Function.USER_DEFINED:
                return self._defined_field(given, schema)
        if self.function in _OF_NUMBERS and not given.kind.numeric:
            raise SchemaError(f"{self} needs a number, but its input is {given}")
        return self._field_of_ordered(given)

    def _field_of_ordered(self, given: Field) -> Field:
        if given.kind not in _ORDERED:
            raise SchemaError(f"{self} needs values that can be ordered, but its input is {given}")
        match self.function:
            case Function.VARIANCE | Function.STDDEV:
                return Field(Kind.FLOAT, nullable=given.nullable or not self.options["population"])
            case Function.QUANTILE:
                return Field(Kind.FLOAT, given.nullable)
            case Function.QUANTILES:
                return Field(Kind.OBJECT, given.nullable, type=list[float])
            case Function.MEAN if given.kind is Kind.INT:
                return Field(Kind.FLOAT, given.nullable)
        return Field(given.kind, given.nullable, given.type)

    def _defined_field(self, given: Field, schema: Schema) -> Field:
        assert self.definition is not None  # noqa: S101 - these functions have one
        state = self.state_type(schema)
        try:
            StateCodec(state)
        except TypeError as error:
            raise SchemaError(f"{self} would keep a state of type {state}, which cannot be encoded: {error}") from error
        return given if self.definition.result_type is None else field_of(self.definition.result_type)
