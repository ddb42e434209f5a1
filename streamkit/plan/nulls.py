"""Whether the value of an expression can be null, on the safe side: so that results can be compared with a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamkit.plan.elementwise import node_of
from streamkit.plan.formula import function_path
from streamkit.record.schema import Field


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


_NEVER_NULL = {"IsNull", "IsNotNull", "SumHorizontal"}
_NULL_FOR_NULL_ONLY = _words("""
    Abs Atan2 Ceil Clip ConcatHorizontal Contains ContainsAny CountMatches Date Day DaysInMonth EndsWith Exp Floor Hash
    Head Hour IsBetween IsClose IsFinite IsIn IsInfinite IsLeapYear IsNan IsNotNan IsoYear LenBytes LenChars Log Log1p
    Lowercase MaxHorizontal MinHorizontal MeanHorizontal Microsecond Millisecond Minute Month MonthEnd MonthStart Negate
    Not OffsetBy OrdinalDay PadEnd PadStart Quarter Replace ReplaceMany ReplaceStrict Reverse Round RoundSF Second Sign
    Slice Split Sqrt Cbrt StartsWith StripChars StripCharsEnd StripCharsStart StripPrefix StripSuffix Tail TimeStamp
    Titlecase ToString Truncate Uppercase Week WeekDay Year ZFill ConvertTimeZone AllHorizontal AnyHorizontal Format
    AsStruct
""")


def may_be_null(tree: Any, fields: Mapping[str, Field]) -> bool:
    """Whether a value can be null, on the safe side: what is not known to keep values non-null may be."""
    kind, body = node_of(tree)
    match kind:
        case "Column":
            return fields[body].nullable
        case "Literal":
            return "Null" in str(body)
        case "Alias":
            return may_be_null(body[0], fields)
        case "KeepName":
            return may_be_null(body, fields)
        case "RenameAlias":
            return may_be_null(body["expr"], fields)
        case "Cast":
            return body["options"] != "Strict" or may_be_null(body["expr"], fields)
        case "Ternary":
            return may_be_null(body["truthy"], fields) or may_be_null(body["falsy"], fields)
        case "BinaryExpr":
            if body["op"] in ("EqValidity", "NotEqValidity"):
                return False
            if body["op"] in ("FloorDivide", "TruncDivide", "Modulus") and not _is_nonzero(body["right"]):
                return True  # an integer divided by zero is null
            return may_be_null(body["left"], fields) or may_be_null(body["right"], fields)
        case "Function":
            inputs = [may_be_null(each, fields) for each in body["input"]]
            name = function_path(body["function"])[1]
            if name in ("Coalesce", "FillNull"):
                return all(inputs)
            return name not in _NEVER_NULL and (name not in _NULL_FOR_NULL_ONLY or any(inputs))
        case _:
            return True


def _is_nonzero(tree: Any) -> bool:
    kind, body = node_of(tree)
    value = next(iter(body.values()), None) if kind == "Literal" and isinstance(body, dict) else None
    if isinstance(value, dict):
        value = next(iter(value.values()), None)
    return isinstance(value, (int, float)) and value != 0
