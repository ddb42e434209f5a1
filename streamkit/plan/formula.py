"""Expressions as a reader would write them: ``price * 2 > 10``, from Polars' serialised form.

`str(expr)` differs between versions of Polars and is hard to read: ``[(col("price")) > (dyn int: 10)]``.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

_OPERATORS = {
    "Plus": "+", "Minus": "-", "Multiply": "*", "Divide": "/", "TrueDivide": "/", "FloorDivide": "//", "TruncDivide": "div",
    "Modulus": "%", "Eq": "==", "NotEq": "!=", "Gt": ">", "GtEq": ">=", "Lt": "<", "LtEq": "<=", "And": "&", "Or": "|",
    "LogicalAnd": "&", "LogicalOr": "|", "Xor": "^", "EqValidity": "is", "NotEqValidity": "is not",
}  # fmt: skip
_NAMESPACES = {
    "Boolean", "Pow", "Trigonometry", "Bitwise", "StringExpr", "TemporalExpr", "Business", "BinaryExpr", "StructExpr", "ListExpr",
    "ArrayExpr", "Categorical", "Range", "Extension", "Random", "Sql", "RollingExpr", "RollingExprBy",
}  # fmt: skip
_LONGEST = 60


def function_path(function: Any) -> tuple[str, str, Any]:
    """Namespace, name and options of a serialised function: ``{"StringExpr": {"Replace": {...}}}``, ``"Abs"``."""
    namespace, name, options = "", function, None
    if isinstance(function, dict):
        name, options = next(iter(function.items()))
    if name in _NAMESPACES:
        namespace, name, options = name, options, None
        if isinstance(name, dict):
            name, options = next(iter(name.items()))
    return namespace, str(name), options


def formula(tree: Any) -> str:
    """The text of a serialised expression, cut where it gets long."""
    text = _text(tree)
    return text if len(text) <= _LONGEST * 2 else text[: _LONGEST * 2 - 3] + "..."


def _text(tree: Any) -> str:
    if isinstance(tree, str):
        return f"{_snake(tree)}()"
    if not isinstance(tree, dict) or len(tree) != 1:
        return "?"
    kind, body = next(iter(tree.items()))
    match kind:
        case "Column":
            return str(body)
        case "Literal":
            return _literal(body)
        case "Alias":
            return _text(body[0])
        case "KeepName":
            return _text(body)
        case "RenameAlias":
            return _text(body["expr"])
        case "Cast":
            return f"cast({_text(body['expr'])}, {_dtype(body['dtype'])})"
        case "BinaryExpr":
            sides = (_operand(body["left"]), _operand(body["right"]))
            return f"{sides[0]} {_OPERATORS.get(body['op'], body['op'])} {sides[1]}"
        case "Ternary":
            return f"when({_text(body['predicate'])}).then({_text(body['truthy'])}).otherwise({_text(body['falsy'])})"
        case "Function":
            return f"{_snake(function_path(body['function'])[1])}({', '.join(map(_text, body['input']))})"
        case "Agg":
            name, inner = next(iter(body.items())) if isinstance(body, dict) else (body, None)
            return f"{_snake(str(name))}({_text(_first_node(inner))})"
        case "Eval" | "StructEval":
            return f"{_snake(kind)}({_text(body['expr'])})"
        case "Selector":
            return f"selector {json.dumps(body)}"[:_LONGEST]
        case "Over":
            return f"{_text(body['function'])}.over(...)"
        case _:
            return f"{_snake(kind)}({_text(_first_node(body))})"


def _operand(tree: Any) -> str:
    return f"({_text(tree)})" if isinstance(tree, dict) and ("BinaryExpr" in tree or "Ternary" in tree) else _text(tree)


def _first_node(body: Any) -> Any:
    if isinstance(body, list):
        return body[0] if body else None
    if isinstance(body, dict) and len(body) != 1:
        return next((body[name] for name in ("input", "expr", "function") if name in body), None)
    if isinstance(body, dict) and "input" in body:
        return body["input"]
    return body


def _literal(body: Any) -> str:
    if not isinstance(body, dict) or not body:
        return "literal"
    kind, value = next(iter(body.items()))
    if kind == "Series":
        return "[...]"
    if isinstance(value, dict) and len(value) == 1:
        kind, value = next(iter(value.items()))
    match kind:
        case "Null":
            return "null"
        case "Boolean":
            return str(value).lower()
        case (
            "Int"
            | "Float"
            | "Int8"
            | "Int16"
            | "Int32"
            | "Int64"
            | "UInt8"
            | "UInt16"
            | "UInt32"
            | "UInt64"
            | "Float32"
            | "Float64"
        ):
            return str(value)
        case "Str" | "String":
            return json.dumps(value, ensure_ascii=False)
        case "Datetime":
            return _instant(*value)
        case "Date":
            return str(date(1970, 1, 1) + timedelta(days=value))
        case "List":
            return "[...]"
        case _:
            return _snake(str(kind))


def _instant(value: int, unit: str, zone: Any) -> str:
    per_second = {"Milliseconds": 1_000, "Microseconds": 1_000_000, "Nanoseconds": 1_000_000_000}[unit]
    instant = datetime.fromtimestamp(0, UTC) + timedelta(seconds=value / per_second)
    return f"{instant:%Y-%m-%d %H:%M:%S}{'Z' if zone else ''}"


def _dtype(dtype: Any) -> str:
    inner = dtype.get("Literal", dtype) if isinstance(dtype, dict) else dtype
    return str(inner if isinstance(inner, str) else next(iter(inner), "?"))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
