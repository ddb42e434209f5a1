"""Which Polars expressions a stream can run: those whose value for a record depends on that record alone.

Records reach an expression in batches, and where a batch ends is chance. An aggregate, ``len``, ``shift``, ``over``, a sort
or a guessed date format inside a step would make results depend on it. So the serialised expression is walked against a
list of what is allowed; anything else, known or new, is refused. (`Expr.meta.is_row_separable` accepts ``price.mean()``.)

The tree is Polars' own JSON: a node is ``{"BinaryExpr": {...}}`` or a bare name such as ``"Len"``.
"""

from __future__ import annotations

from typing import Any

from streamkit.plan.formula import formula, function_path


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


# By the namespace in Polars' serialised form ("" is none). Whatever is not named here is refused.
_ALLOWED: dict[str, frozenset[str]] = {
    namespace: _words(names)
    for namespace, names in {
        "": """
            Abs AsStruct Atan2 Bin Ceil Clip Coalesce Cut Erf Erfc Exp FillNull Floor Hash Log Log1p MaxHorizontal
            MeanHorizontal MinHorizontal Negate Reinterpret RepeatBy Replace ReplaceStrict Round RoundSF Sign SumHorizontal
            ToPhysical Truncate""",
        "Boolean": """
            AllHorizontal AnyHorizontal IsBetween IsClose IsFinite IsIn IsInfinite IsNan IsNotNan IsNotNull IsNull Not""",
        "Pow": "Cbrt Generic Sqrt",
        "Trigonometry": "ArcCos ArcCosh ArcSin ArcSinh ArcTan ArcTanh Cos Cosh Cot Degrees Radians Sin Sinh Tan Tanh",
        "Bitwise": "CountOnes CountZeros LeadingOnes LeadingZeros TrailingOnes TrailingZeros",
        "StringExpr": """
            Base64Decode Base64Encode ConcatHorizontal Contains ContainsAny CountMatches EndsWith EscapeRegex Extract
            ExtractAll ExtractGroups ExtractMany Find FindMany Format Head HexDecode HexEncode JsonDecode JsonPathMatch
            LenBytes LenChars Lowercase Normalize PadEnd PadStart Replace ReplaceMany Reverse Slice Split SplitExact SplitN
            StartsWith StripChars StripCharsEnd StripCharsStart StripPrefix StripSuffix Strptime Tail Titlecase ToDecimal
            ToInteger Uppercase ZFill""",
        "TemporalExpr": """
            BaseUtcOffset CastTimeUnit Century Combine ConvertTimeZone DSTOffset Date DatetimeFunction Day DaysInMonth
            Duration Hour IsLeapYear IsoYear Microsecond Millennium Millisecond Minute Month MonthEnd MonthStart Nanosecond
            OffsetBy OrdinalDay Quarter Replace ReplaceTimeZone Round Second Time TimeStamp ToString TotalDays TotalHours
            TotalMicroseconds TotalMilliseconds TotalMinutes TotalNanoseconds TotalSeconds Truncate Week WeekDay Year""",
        "Business": "AddBusinessDay BusinessDayCount IsBusinessDay",
        "BinaryExpr": """
            Base64Decode Base64Encode Contains EndsWith Get Head HexDecode HexEncode Reinterpret Size Slice StartsWith Tail""",
        "StructExpr": "Drop FieldByName JsonEncode PrefixFields RenameFields SuffixFields",
        "ListExpr": """
            ArgMax ArgMin Concat Contains CountMatches Diff DropNulls Gather GatherEvery Get Join Length Max Mean Median Min
            SetOperation Shift Slice Sort Std Sum ToArray ToStruct Var""",
        "ArrayExpr": """
            ArgMax ArgMin Concat Contains CountMatches Dot Get Join Length Max Mean Median Min Shift Slice Sort Std Sum ToList
            ToStruct Var""",
        "Sql": "Binary",  # operators in the text of pl.sql_expr
        # cut() gives categories, made from its own breaks; other categories are numbered by arrival and stay out.
        "Categorical": "EndsWith LenBytes LenChars Slice StartsWith",
    }.items()
}  # fmt: skip

# Inside list.eval, list.agg and the like all elements belong to one record, so these may look at several of them.
_WITHIN_A_LIST: dict[str, frozenset[str]] = {
    "": _words("""
        ArgMax ArgMin ArgSort CumCount CumMax CumMin CumProd CumSum Diff DropNans DropNulls NullCount Product Reverse Shift
    """),
    "Boolean": _words("All Any HasNulls IsEmpty IsDuplicated IsFirstDistinct IsLastDistinct IsUnique"),
}
_LIST_NODES = frozenset(["Agg", "Element", "Filter", "Gather", "Len", "Slice", "Sort", "SortBy"])

# Arguments (by position) that must be literals: given a column they look at the whole column.
_LITERAL_ARGUMENTS = {
    ("Boolean", "IsIn"): (1,),
    ("", "Replace"): (1, 2),
    ("", "ReplaceStrict"): (1, 2),
    ("StringExpr", "ContainsAny"): (1,),
    ("StringExpr", "ExtractMany"): (1,),
    ("StringExpr", "FindMany"): (1,),
    ("StringExpr", "ReplaceMany"): (1, 2),
    ("Business", "AddBusinessDay"): (2,),
    ("Business", "BusinessDayCount"): (2,),
    ("Business", "IsBusinessDay"): (1,),
}
_LISTS = {("StringExpr", "Split"), ("StringExpr", "ExtractAll"), ("StringExpr", "ExtractMany"), ("ListExpr", "Concat")}

_AGGREGATE = "Aggregate over a window: key_by(...).window(...).aggregate(name, out=sk.sum(...))"
_NEIGHBOURS = "What comes before or after a record depends on its batch; keep such values in the state of a window"
_ROWS = "A step gives one row for each record; use filter() to drop records and flat_map() to make several of one"
_PYTHON = "Python functions run on rows: give the function to map(), filter() or flat_map() itself"
_HINTS = {
    "Agg": _AGGREGATE,
    "Len": _AGGREGATE,
    "Over": _NEIGHBOURS,
    "Rolling": _NEIGHBOURS,
    "RollingExpr": _NEIGHBOURS,
    "RollingExprBy": _NEIGHBOURS,
    "Shift": _NEIGHBOURS,
    "Diff": _NEIGHBOURS,
    "PctChange": _NEIGHBOURS,
    "FillNullWithStrategy": "Fill with a value: fill_null(0); a neighbour's value or a mean depends on the batch",
    "Interpolate": _NEIGHBOURS,
    "Explode": _ROWS,
    "Filter": _ROWS,
    "Slice": _ROWS,
    "Gather": _ROWS,
    "Sort": "Records are processed in the order of the partition",
    "SortBy": "Records are processed in the order of the partition",
    "AnonymousFunction": _PYTHON,
    "AnonymousAgg": _PYTHON,
    "Selector": "Name the columns one by one",
    "SelectFields": "Name the fields one by one: .struct.field(name)",
    "SetSortedFlag": "Batches are not sorted",
    "Random": "A replay after a crash would draw other values",
    "Sample": "A replay after a crash would draw other values",
}


class NotElementwiseError(Exception):
    """Internal to `expressions`: the part of an expression that is refused, and what to do instead."""

    def __init__(self, part: str, reason: str, hint: str = "") -> None:
        self.part = part
        self.reason = reason
        self.hint = hint
        super().__init__(part)


def check_tree(tree: Any, *, in_list: bool = False) -> None:
    """Refuses a tree with `NotElementwiseError` unless each of its nodes is on the list."""
    kind, body = node_of(tree)
    match kind:
        case "Column":
            if in_list and body != "":
                raise NotElementwiseError(formula(tree), "is another column inside list.eval()", "Use pl.element() only")
        case "Literal":
            _check_literal(tree, body)
        case "Alias":
            check_tree(body[0], in_list=in_list)
        case "KeepName":
            check_tree(body, in_list=in_list)
        case "RenameAlias":
            check_tree(body["expr"], in_list=in_list)
        case "Cast":
            _check_dtype(tree, body["dtype"])
            check_tree(body["expr"], in_list=in_list)
        case "BinaryExpr":
            check_tree(body["left"], in_list=in_list)
            check_tree(body["right"], in_list=in_list)
        case "Ternary":
            for part in ("predicate", "truthy", "falsy"):
                check_tree(body[part], in_list=in_list)
        case "Function":
            _check_function(tree, body, in_list=in_list)
        case "Eval":
            if not _is_list_variant(body["variant"]):
                raise _across_records(tree, kind)
            check_tree(body["expr"], in_list=in_list)
            check_tree(body["evaluation"], in_list=True)
        case "StructEval":
            check_tree(body["expr"], in_list=in_list)
            for part in body["evaluation"]:
                check_tree(part, in_list=in_list)
        case "Field":
            pass
        case _ if in_list and kind in _LIST_NODES:
            for part in children(tree):
                check_tree(part, in_list=True)
        case _:
            raise _across_records(tree, kind)


def node_of(tree: Any) -> tuple[str, Any]:
    """A node's kind and body: ``{"Column": "a"}`` gives ``("Column", "a")``, ``"Len"`` gives ``("Len", None)``."""
    if isinstance(tree, str):
        return tree, None
    if isinstance(tree, dict) and len(tree) == 1:
        kind, body = next(iter(tree.items()))
        return str(kind), body
    raise NotElementwiseError(str(tree)[:80], "is of a form that this version of streamkit does not know")


_NODES = _words("""
    Agg Alias BinaryExpr Cast Column Element Eval Explode Field Filter Function Gather KeepName Len Literal Over
    RenameAlias Rolling Selector Slice Sort SortBy StructEval Ternary
""")


def children(tree: Any) -> list[Any]:
    """The nodes directly below a node, found by their names."""
    found: list[Any] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if len(value) == 1 and next(iter(value)) in _NODES:
                found.append(value)
            else:
                for each in value.values():
                    look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)
        elif isinstance(value, str) and value in ("Len", "Element"):
            found.append(value)

    kind, body = node_of(tree)
    if kind not in ("Literal", "Column"):
        look(body)
    return found


def _check_function(tree: Any, body: dict[str, Any], *, in_list: bool) -> None:
    namespace, name, options = function_path(body["function"])
    inputs = body["input"]
    allowed = name in _ALLOWED.get(namespace, ()) or (in_list and name in _WITHIN_A_LIST.get(namespace, ()))
    if (name, options) in (("FillNullWithStrategy", "Zero"), ("FillNullWithStrategy", "One")):
        allowed = True
    if in_list and (name, options) == ("Unique", True):  # without maintain_order the order of the result is chance
        allowed = True
    if not allowed:
        raise _across_records(tree, name if namespace not in _HINTS else namespace)
    if name == "Strptime":
        _check_dtype(tree, options[0])
        if options[1].get("format") is None:
            raise NotElementwiseError(
                formula(tree),
                "guesses the format from the first values of a batch",
                'Give the format: to_datetime("%Y-%m-%d %H:%M")',
            )
    if name == "Bin" and not (isinstance(options, dict) and "Breaks" in str(options.get("method"))[:60]):
        raise NotElementwiseError(
            formula(tree),
            "puts its borders where the values of a batch are",
            "Give the borders: bin_intervals([0, 10, 100], ...)",
        )
    if name == "JsonDecode" and options is None:
        raise NotElementwiseError(formula(tree), "guesses the type from the values of a batch", "Give the dtype")
    literal = _LITERAL_ARGUMENTS.get((namespace, name), ())
    for position, each in enumerate(inputs):
        if position in literal:
            _check_literal_argument(tree, each, list_column=(namespace, name) == ("Boolean", "IsIn"))
        else:
            check_tree(each, in_list=in_list)


def _check_literal_argument(function: Any, argument: Any, *, list_column: bool) -> None:
    kind, body = node_of(argument)
    while kind in ("Cast", "Alias"):
        argument = body["expr"] if kind == "Cast" else body[0]
        kind, body = node_of(argument)
    if kind == "Literal":
        return
    if list_column and kind == "Function" and function_path(body["function"])[:2] in _LISTS:
        check_tree(argument)
        return
    raise NotElementwiseError(
        formula(function),
        "looks a value up among all values of another column",
        "Give the values as a Python list; to look into a list column use .list.contains(...)",
    )


def _check_literal(tree: Any, body: Any) -> None:
    if isinstance(body, dict) and ({"Scalar", "Dyn"} & set(body)):
        return
    raise NotElementwiseError(
        formula(tree),
        "is a series: which value meets which record depends on the batch",
        "Use a single value, or a list in is_in()",
    )


def _check_dtype(tree: Any, dtype: Any) -> None:
    if not isinstance(dtype, dict) or "Literal" not in dtype:
        raise NotElementwiseError(formula(tree), "has a type that depends on other expressions", "Name the dtype")
    if "Categorical" in str(dtype):
        raise NotElementwiseError(formula(tree), "numbers its categories in the order of arrival", "Use pl.String or pl.Enum")


def _is_list_variant(variant: Any) -> bool:
    name = variant if isinstance(variant, str) else next(iter(variant))
    return name in ("List", "ListAgg", "Array", "ArrayAgg")


def _across_records(tree: Any, name: str) -> NotElementwiseError:
    hint = _HINTS.get(name, "")
    if not hint and name.startswith("Cum"):
        hint = _NEIGHBOURS
    reason = "is not elementwise: its value for one record would depend on which other records are in the same batch"
    if name == "Selector":
        reason = "does not name its columns"
    elif name == "SelectFields":
        reason = "gives several columns at once"
    elif hint is _PYTHON:
        reason = "calls a Python function from an expression"
    return NotElementwiseError(formula(tree), reason, hint)
