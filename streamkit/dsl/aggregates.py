"""sum, count, min, max, mean: the outputs of an aggregate."""

from __future__ import annotations

import polars as pl

from streamkit.errors import DeclarationError
from streamkit.plan.aggregators import Aggregator, Function
from streamkit.plan.expressions import check_elementwise


def count(x: str | pl.Expr | None = None) -> Aggregator:
    """The number of records; of a column or expression, the number of values that are not null.

    An int. Late and duplicate records: a late one is not in it, a duplicate counts again. SQL's ``COUNT(*)`` and ``COUNT(x)``.

    >>> import streamkit as sk
    >>> str(sk.count()), str(sk.count("discount"))
    ('count()', 'count(discount)')
    """
    return Aggregator(Function.COUNT, None if x is None else _input(x, "count"))


def sum(x: str | pl.Expr) -> Aggregator:
    """The sum of a number; null values are skipped, over nothing but nulls it is null, as in SQL.

    Of ints an int (`AggregateError` beyond 64 bits, never a wrap), of floats a float, of Decimals an exact Decimal. Any
    elementwise expression can be summed.

    >>> import polars as pl, streamkit as sk
    >>> str(sk.sum("price")), str(sk.sum(pl.col("price") * pl.col("amount")))
    ('sum(price)', 'sum(price * amount)')
    """
    return Aggregator(Function.SUM, _input(x, "sum"))


def min(x: str | pl.Expr) -> Aggregator:
    """The smallest value, of the type of its input; null values are skipped, over nothing but nulls it is null.

    For numbers, text, datetimes and dates. A NaN makes it NaN (as numpy has it).

    >>> import streamkit as sk
    >>> str(sk.min("price"))
    'min(price)'
    """
    return Aggregator(Function.MIN, _input(x, "min"))


def max(x: str | pl.Expr) -> Aggregator:
    """The largest value, of the type of its input; null values are skipped, over nothing but nulls it is null.

    For numbers, text, datetimes and dates. A NaN makes it NaN (as numpy has it).

    >>> import streamkit as sk
    >>> str(sk.max("price"))
    'max(price)'
    """
    return Aggregator(Function.MAX, _input(x, "max"))


def mean(x: str | pl.Expr) -> Aggregator:
    """The mean of a number, a float (of Decimals a Decimal); null values are skipped, over nothing but nulls it is null.

    >>> import streamkit as sk
    >>> str(sk.mean("price"))
    'mean(price)'
    """
    return Aggregator(Function.MEAN, _input(x, "mean"))


def _input(x: object, function: str) -> pl.Expr:
    expr = pl.col(x) if isinstance(x, str) else x
    if not isinstance(expr, pl.Expr):
        raise DeclarationError(f"sk.{function}: expected the name of a column or an expression, got {x!r}")
    check_elementwise(expr)
    return expr
