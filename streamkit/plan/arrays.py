"""Expressions that numpy computes exactly as Polars does, for a hundredth of what a call of Polars costs: 100 us a batch.

That is: sums, differences and products of integers and floats, division of integers by a positive number, comparisons of
integers, and `and`, `or` and `not` of those. (Not comparisons of floats: to Polars NaN equals itself and is larger than all.)
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from streamkit.plan.elementwise import node_of
from streamkit.plan.expressions import tree_of
from streamkit.plan.formula import function_path
from streamkit.record.columns import Column
from streamkit.record.schema import Kind, Schema

_Array = npt.NDArray[Any]
_Compute = Callable[[Mapping[str, _Array]], Any]

_INT64: Final = np.iinfo(np.int64)
_ARITHMETIC: Final = {"Plus": operator.add, "Minus": operator.sub, "Multiply": operator.mul}
_DIVISION: Final = {"Modulus": operator.mod, "FloorDivide": operator.floordiv}
_COMPARISON: Final = {
    "Eq": operator.eq, "NotEq": operator.ne, "Gt": operator.gt, "GtEq": operator.ge, "Lt": operator.lt, "LtEq": operator.le,
}  # fmt: skip
_LOGIC: Final = {"And": operator.and_, "Or": operator.or_}
_NUMBERS: Final = frozenset({Kind.INT, Kind.FLOAT})


@dataclass(frozen=True, slots=True)
class _Part:
    """Of an expression: what it gives, and how. ``literal`` is its value if it is nothing but that."""

    kind: Kind
    compute: _Compute
    literal: int | float | None = None


@dataclass(frozen=True, slots=True)
class ArrayExpression:
    """An expression over arrays without nulls."""

    kind: Kind
    compute: _Compute

    def column(self, arrays: Mapping[str, _Array]) -> Column:
        with np.errstate(all="ignore"):  # integers wrap and floats become infinite, as in Polars
            return Column(self.compute(arrays), None, self.kind)


def array_expression(expr: pl.Expr, schema: Schema) -> ArrayExpression | None:
    """The expression over arrays of a schema's columns; None if it is for Polars.

    >>> from streamkit.record.schema import Field
    >>> schema = Schema({"price": Field(Kind.INT)})
    >>> array_expression(pl.col("price") * 2 > 10, schema).column({"price": np.array([5, 6])}).values
    array([False,  True])
    >>> array_expression(pl.col("price") / 2, schema) is None
    True
    """
    found = _part(tree_of(expr), schema)
    return None if found is None or found.literal is not None else ArrayExpression(found.kind, found.compute)


def _part(tree: Any, schema: Schema) -> _Part | None:
    kind, body = node_of(tree)
    if kind == "Alias":
        return _part(body[0], schema)
    if kind == "Column":
        field = schema.field(body)
        return None if field is None or field.kind not in _NUMBERS else _Part(field.kind, operator.itemgetter(body))
    if kind == "Literal":
        return _literal(body)
    if kind == "BinaryExpr":
        left, right = _part(body["left"], schema), _part(body["right"], schema)
        return None if left is None or right is None else _binary(body["op"], left, right)
    if kind == "Function" and function_path(body["function"])[:2] == ("Boolean", "Not"):
        inner = _part(body["input"][0], schema)
        if inner is not None and inner.kind is Kind.BOOL:
            return _Part(Kind.BOOL, lambda arrays: ~inner.compute(arrays))
    return None


def _literal(body: Any) -> _Part | None:
    """A number without a type of its own: it takes that of the column beside it."""
    if not isinstance(body, dict) or not isinstance(body.get("Dyn"), dict):
        return None
    ((name, value),) = body["Dyn"].items()
    if name == "Int" and isinstance(value, int) and _INT64.min <= value <= _INT64.max:
        return _Part(Kind.INT, lambda _: np.int64(value), value)
    if name == "Float" and isinstance(value, float):
        return _Part(Kind.FLOAT, lambda _: np.float64(value), value)
    return None


def _binary(name: str, left: _Part, right: _Part) -> _Part | None:
    if left.literal is not None and right.literal is not None:
        return None
    kinds = {left.kind, right.kind}
    if Kind.FLOAT in kinds and 0 in (left.literal, right.literal):
        return None  # to Polars x + 0 is x, also where x is -0.0
    if name in _ARITHMETIC and kinds <= _NUMBERS:
        return _joined(_ARITHMETIC[name], left, right, Kind.FLOAT if Kind.FLOAT in kinds else Kind.INT)
    if name in _DIVISION and kinds == {Kind.INT} and right.literal is not None and right.literal > 0:
        return _joined(_DIVISION[name], left, right, Kind.INT)
    if name in _COMPARISON and kinds == {Kind.INT}:
        return _joined(_COMPARISON[name], left, right, Kind.BOOL)
    return _joined(_LOGIC[name], left, right, Kind.BOOL) if name in _LOGIC and kinds == {Kind.BOOL} else None


def _joined(function: Callable[[Any, Any], Any], left: _Part, right: _Part, kind: Kind) -> _Part:
    return _Part(kind, lambda arrays: function(left.compute(arrays), right.compute(arrays)))
