"""Polars expressions in a plan: which may run on a stream, which columns they read, and what they give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from streamkit.errors import ExpressionError
from streamkit.plan.elementwise import NotElementwiseError, check_tree, children, node_of
from streamkit.plan.formula import formula, function_path
from streamkit.plan.names import near_names
from streamkit.plan.nulls import may_be_null
from streamkit.record.schema import ANY_FIELD, Field, Kind, Schema

# How the columns of each kind are given to Polars. The other kinds are Python objects, which Polars cannot compute with.
DTYPES: Mapping[Kind, pl.DataType] = {
    Kind.INT: pl.Int64(),
    Kind.FLOAT: pl.Float64(),
    Kind.BOOL: pl.Boolean(),
    Kind.STR: pl.String(),
    Kind.BYTES: pl.Binary(),
    Kind.DATETIME: pl.Datetime("us", "UTC"),
    Kind.DATE: pl.Date(),
}
_PYTHON_TYPES: Mapping[Kind, type] = {
    Kind.INT: int,
    Kind.FLOAT: float,
    Kind.BOOL: bool,
    Kind.STR: str,
    Kind.BYTES: bytes,
    Kind.DATETIME: datetime,
    Kind.DATE: date,
}
_WHOLE_VALUES = (Kind.DECIMAL, Kind.OBJECT)


def tree_of(expr: pl.Expr) -> Any:
    """Polars' serialised form of an expression; `ExpressionError` if it holds a Python function."""
    try:
        return json.loads(expr.meta.serialize(format="json"))
    except Exception as cause:  # Polars raises several kinds here, some of them its own panics
        raise ExpressionError(
            f"{expr} cannot be serialised, which is how it is checked: most often it calls a Python function. "
            "Python functions run on rows: give the function to map(), filter() or flat_map() itself"
        ) from cause


def check_elementwise(expr: pl.Expr) -> None:
    """Refuses an expression whose value for one record depends on other records.

    >>> check_elementwise(pl.col("price") * 2 > 10)
    >>> check_elementwise(pl.col("price") > pl.col("price").mean())
    Traceback (most recent call last):
    streamkit.errors.ExpressionError: expression 'price > mean(price)': mean(price) is not elementwise: its value for one ...
    """
    _checked_tree(expr)


def expression_text(expr: pl.Expr) -> str:
    """An expression as a reader would write it: ``price * 2 > 10``."""
    try:
        return formula(tree_of(expr))
    except ExpressionError:
        return str(expr)


def evaluate(frame: pl.DataFrame, expressions: Sequence[pl.Expr]) -> pl.DataFrame:
    """The expressions over a frame, each record's values being the same whatever records are beside it.

    Polars divides a column by a number by multiplying with its reciprocal, but divides a chunk of length one exactly: 3.0 / 10 is
    0.3 alone and 0.30000000000000004 among others. So a record that is alone is given itself for company, in one chunk (`concat`
    and `gather` would leave two, or a scalar). A frame of several rows must not be made of chunks either.

    >>> [evaluate(pl.DataFrame({"x": values}), [pl.col("x") / 10])["x"][0] for values in ([3.0], [3.0, 4.0])]
    [0.30000000000000004, 0.30000000000000004]
    """
    if frame.height != 1:
        return frame.select(expressions)
    return pl.DataFrame([column.clone().extend(column) for column in frame]).select(expressions).head(1)


def root_names(expr: pl.Expr) -> tuple[str, ...]:
    """The columns that an expression reads, each once, in order of appearance."""
    return tuple(dict.fromkeys(_columns(tree_of(expr))))


def bare_column(expr: pl.Expr) -> str | None:
    """The name of the column if the expression is nothing but that column, perhaps under a new name."""
    kind, body = node_of(tree_of(expr))
    while kind in ("Alias", "KeepName", "RenameAlias"):
        kind, body = node_of(body[0] if kind == "Alias" else body if kind == "KeepName" else body["expr"])
    return body if kind == "Column" else None


def expression_field(expr: pl.Expr, schema: Schema) -> Field:
    """The field that an expression gives over rows of a schema; refuses what `check_elementwise` refuses and unknown columns.

    The kind is found by evaluating over no rows; it is ANY where a column's kind is not known. Decimals and objects pass
    through as they are (a bare ``pl.col``); computing with them needs ``map()``.
    """
    tree = _checked_tree(expr)
    fields = {name: _known_field(name, schema, tree) for name in dict.fromkeys(_columns(tree))}
    bare = bare_column(expr)
    if bare is not None:
        return fields[bare]
    for name, field in fields.items():
        if field.kind in _WHOLE_VALUES:
            raise ExpressionError(
                f"expression '{formula(tree)}': column '{name}' is {_article(field)}, which expressions cannot compute with; "
                "use map() with a function, or select the column as it is"
            )
    _refuse_guessed_dates(tree, fields)
    _refuse_bare_hash(tree)
    if any(field.kind is Kind.ANY for field in fields.values()):
        return ANY_FIELD
    dtype = _result_dtype(expr, fields, tree)
    kind, python = _kind_of(dtype)
    return Field(kind, kind is Kind.ANY or may_be_null(tree, fields), python)


def _checked_tree(expr: pl.Expr) -> Any:
    if not isinstance(expr, pl.Expr):
        raise ExpressionError(f"expected a Polars expression such as pl.col('price') > 0, got {expr!r}")
    tree = tree_of(expr)
    try:
        check_tree(tree)
    except NotElementwiseError as refused:
        hint = f". {refused.hint}" if refused.hint else ""
        raise ExpressionError(f"expression '{formula(tree)}': {refused.part} {refused.reason}{hint}") from None
    return tree


def _columns(tree: Any) -> Iterator[str]:
    kind, body = node_of(tree)
    if kind == "Column" and body:  # "" stands for the element inside list.filter
        yield body
    for child in children(tree):
        yield from _columns(child)


def _known_field(name: str, schema: Schema, tree: Any) -> Field:
    field = schema.field(name)
    if field is None:
        raise ExpressionError(f"expression '{formula(tree)}': unknown column '{name}'; {near_names(name, schema.names)}")
    return field


def _result_dtype(expr: pl.Expr, fields: Mapping[str, Field], tree: Any) -> pl.DataType:
    columns: dict[str, Any] = {name: DTYPES[field.kind] for name, field in fields.items()}
    frame = pl.DataFrame(schema=columns or {"": pl.Null})
    try:
        return frame.select(expr.alias("result")).dtypes[0]
    except pl.exceptions.PolarsError as cause:
        types = ", ".join(f"{name}: {field}" for name, field in fields.items())
        raise ExpressionError(f"expression '{formula(tree)}' does not fit its columns ({types}): {_first_line(cause)}") from cause


def _refuse_guessed_dates(tree: Any, fields: Mapping[str, Field]) -> None:
    """A cast of text to a date or time guesses the format from the batch, as Strptime without a format does."""
    kind, body = node_of(tree)
    if kind == "Cast" and any(temporal in str(body["dtype"]) for temporal in ("'Date'", "'Datetime'", "'Time'")):
        inner_kind, inner = node_of(body["expr"])
        text = inner_kind == "Column" and fields[inner].kind in (Kind.STR, Kind.ANY)
        text |= inner_kind == "Function" and function_path(inner["function"])[0] == "StringExpr"
        if text:
            raise ExpressionError(
                f"expression '{formula(tree)}': a cast of text to a date or time guesses the format from the first values of a "
                'batch. Give the format: .str.to_datetime("%Y-%m-%d %H:%M"), or declare the column as datetime in a model'
            )
    for child in children(tree):
        _refuse_guessed_dates(child, fields)


def _refuse_bare_hash(tree: Any) -> None:
    """Half of all hashes are beyond the signed 64 bits of an int: better said here than at every second record."""
    kind, body = node_of(tree)
    if kind == "Alias":
        _refuse_bare_hash(body[0])
    elif kind == "Function" and function_path(body["function"])[1] == "Hash":
        raise ExpressionError(
            f"expression '{formula(tree)}': a hash is an unsigned number of 64 bits, and an int of a record is signed; take a "
            "part of it, such as .hash() % 1000"
        )


def _kind_of(dtype: pl.DataType) -> tuple[Kind, Any]:
    if dtype.is_integer():
        return Kind.INT, int
    if dtype.is_float():
        return Kind.FLOAT, float
    for kind, polars_type in DTYPES.items():
        if dtype.base_type() is polars_type.base_type():
            return kind, _PYTHON_TYPES[kind]
    if isinstance(dtype, (pl.Enum, pl.Categorical)):
        return Kind.STR, str
    if isinstance(dtype, pl.Decimal):
        return Kind.DECIMAL, Any
    if isinstance(dtype, pl.Null):
        return Kind.ANY, Any
    return Kind.OBJECT, timedelta if isinstance(dtype, pl.Duration) else Any


def _article(field: Field) -> str:
    return f"an {field}" if field.kind is Kind.OBJECT else f"a {field}"


def _first_line(cause: BaseException) -> str:
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
