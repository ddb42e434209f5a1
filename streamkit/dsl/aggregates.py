"""The outputs of an aggregate: sum, count, min, max, mean, variance, stddev, first, last, collect, count_distinct."""

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

    For numbers, text, datetimes and dates. A NaN makes it NaN (as numpy has it); a Decimal's NaN is an `AggregateError`.

    >>> import streamkit as sk
    >>> str(sk.min("price"))
    'min(price)'
    """
    return Aggregator(Function.MIN, _input(x, "min"))


def max(x: str | pl.Expr) -> Aggregator:
    """The largest value, of the type of its input; null values are skipped, over nothing but nulls it is null.

    For numbers, text, datetimes and dates. A NaN makes it NaN (as numpy has it); a Decimal's NaN is an `AggregateError`.

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


def variance(x: str | pl.Expr, *, population: bool = False) -> Aggregator:
    """The variance of a number, a float: that of a sample (divided by n - 1), or of a whole ``population`` (by n).

    Null values are skipped; of fewer than two values (of none, for a population) it is null, as SQL's ``VAR_SAMP`` and
    ``VAR_POP``. A NaN or infinity makes it NaN. Computed from differences to the first value, so that large values with a small
    spread keep their digits.

    >>> import streamkit as sk
    >>> str(sk.variance("price")), str(sk.variance("price", population=True))
    ('variance(price)', 'variance(price, population=True)')
    """
    return Aggregator(Function.VARIANCE, _input(x, "variance"), {"population": bool(population)})


def stddev(x: str | pl.Expr, *, population: bool = False) -> Aggregator:
    """The standard deviation of a number: the square root of `variance`, with the same rules.

    >>> import streamkit as sk
    >>> str(sk.stddev("price"))
    'stddev(price)'
    """
    return Aggregator(Function.STDDEV, _input(x, "stddev"), {"population": bool(population)})


def first(x: str | pl.Expr) -> Aggregator:
    """The value with the smallest event time, of the type of its input; null values are skipped.

    Over nothing but nulls it is null. By event time, not by arrival: a record that comes out of order counts where it belongs.
    Of records of the very same time the one that came first (between partitions that is not determined). Values of any type but
    objects of classes (`AggregateError`): of a nested model take the fields.

    >>> import streamkit as sk
    >>> str(sk.first("price"))
    'first(price)'
    """
    return Aggregator(Function.FIRST, _input(x, "first"))


def last(x: str | pl.Expr) -> Aggregator:
    """The value with the largest event time, of the type of its input; null values are skipped.

    Over nothing but nulls it is null. By event time, not by arrival; of records of the very same time the one that came last
    (between partitions that is not determined). Values of the types that `first` takes.

    >>> import streamkit as sk
    >>> str(sk.last("price"))
    'last(price)'
    """
    return Aggregator(Function.LAST, _input(x, "last"))


def collect(x: str | pl.Expr, *, limit: int) -> Aggregator:
    """A list of the values in the order of event time; null values are left out, over nothing but nulls it is empty.

    State and results grow with the list, so it has a ``limit``: of more values the earliest are kept. Values of the types
    that `first` takes. `DeclarationError`: a limit that is no positive whole number.

    >>> import streamkit as sk
    >>> str(sk.collect("price", limit=100))
    'collect(price, limit=100)'
    """
    if type(limit) is not int or limit < 1:
        raise DeclarationError(f"sk.collect: limit must be a whole number of at least 1, got {limit!r}")
    return Aggregator(Function.COLLECT, _input(x, "collect"), {"limit": limit})


def count_distinct(x: str | pl.Expr) -> Aggregator:
    """The exact number of different values that are not null, an int: SQL's ``COUNT(DISTINCT x)``.

    Every different value is kept in the state until the window closes, and each change writes all of a key's values to the
    changelog: for keys with many thousands of values that is much. Of untyped rows, 1, 1.0 and true are one value; lists and
    objects cannot be compared (`AggregateError`).

    >>> import streamkit as sk
    >>> str(sk.count_distinct("customer"))
    'count_distinct(customer)'
    """
    return Aggregator(Function.COUNT_DISTINCT, _input(x, "count_distinct"))


def _input(x: object, function: str) -> pl.Expr:
    expr = pl.col(x) if isinstance(x, str) else x
    if not isinstance(expr, pl.Expr):
        raise DeclarationError(f"sk.{function}: expected the name of a column or an expression, got {x!r}")
    check_elementwise(expr)
    return expr
