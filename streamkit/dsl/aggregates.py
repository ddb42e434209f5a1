"""The outputs of an aggregate, but for those by users' functions (`user_defined.py`)."""

from __future__ import annotations

from collections.abc import Sequence

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
    return Aggregator(Function.COUNT, None if x is None else input_of(x, "count"))


def sum(x: str | pl.Expr) -> Aggregator:
    """The sum of a number; null values are skipped, over nothing but nulls it is null, as in SQL.

    Of ints an int (`AggregateError` beyond 64 bits, never a wrap), of floats a float, of Decimals an exact Decimal. Any
    elementwise expression can be summed.

    >>> import polars as pl, streamkit as sk
    >>> str(sk.sum("price")), str(sk.sum(pl.col("price") * pl.col("amount")))
    ('sum(price)', 'sum(price * amount)')
    """
    return Aggregator(Function.SUM, input_of(x, "sum"))


def min(x: str | pl.Expr) -> Aggregator:
    """The smallest value, of the type of its input; null values are skipped, over nothing but nulls it is null.

    For numbers, text, datetimes and dates. A NaN makes it NaN (as numpy has it); a Decimal's NaN is an `AggregateError`.

    >>> import streamkit as sk
    >>> str(sk.min("price"))
    'min(price)'
    """
    return Aggregator(Function.MIN, input_of(x, "min"))


def max(x: str | pl.Expr) -> Aggregator:
    """The largest value, of the type of its input; null values are skipped, over nothing but nulls it is null.

    For numbers, text, datetimes and dates. A NaN makes it NaN (as numpy has it); a Decimal's NaN is an `AggregateError`.

    >>> import streamkit as sk
    >>> str(sk.max("price"))
    'max(price)'
    """
    return Aggregator(Function.MAX, input_of(x, "max"))


def mean(x: str | pl.Expr) -> Aggregator:
    """The mean of a number, a float (of Decimals a Decimal); null values are skipped, over nothing but nulls it is null.

    >>> import streamkit as sk
    >>> str(sk.mean("price"))
    'mean(price)'
    """
    return Aggregator(Function.MEAN, input_of(x, "mean"))


def variance(x: str | pl.Expr, *, population: bool = False) -> Aggregator:
    """The variance of a number, a float: that of a sample (divided by n - 1), or of a whole ``population`` (by n).

    Null values are skipped; of fewer than two values (of none, for a population) it is null, as SQL's ``VAR_SAMP`` and
    ``VAR_POP``. A NaN or infinity makes it NaN. Computed from differences to the first value, so that large values with a small
    spread keep their digits.

    >>> import streamkit as sk
    >>> str(sk.variance("price")), str(sk.variance("price", population=True))
    ('variance(price)', 'variance(price, population=True)')
    """
    return Aggregator(Function.VARIANCE, input_of(x, "variance"), {"population": bool(population)})


def stddev(x: str | pl.Expr, *, population: bool = False) -> Aggregator:
    """The standard deviation of a number: the square root of `variance`, with the same rules.

    >>> import streamkit as sk
    >>> str(sk.stddev("price"))
    'stddev(price)'
    """
    return Aggregator(Function.STDDEV, input_of(x, "stddev"), {"population": bool(population)})


def first(x: str | pl.Expr) -> Aggregator:
    """The value with the smallest event time, of the type of its input; null values are skipped.

    Over nothing but nulls it is null. By event time, not by arrival: a record that comes out of order counts where it belongs.
    Of records of the very same time the one that came first (between partitions that is not determined). Values of any type but
    objects of classes (`AggregateError`): of a nested model take the fields.

    >>> import streamkit as sk
    >>> str(sk.first("price"))
    'first(price)'
    """
    return Aggregator(Function.FIRST, input_of(x, "first"))


def last(x: str | pl.Expr) -> Aggregator:
    """The value with the largest event time, of the type of its input; null values are skipped.

    Over nothing but nulls it is null. By event time, not by arrival; of records of the very same time the one that came last
    (between partitions that is not determined). Values of the types that `first` takes.

    >>> import streamkit as sk
    >>> str(sk.last("price"))
    'last(price)'
    """
    return Aggregator(Function.LAST, input_of(x, "last"))


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
    return Aggregator(Function.COLLECT, input_of(x, "collect"), {"limit": limit})


def count_distinct(x: str | pl.Expr) -> Aggregator:
    """The exact number of different values that are not null, an int: SQL's ``COUNT(DISTINCT x)``.

    Every different value is kept in the state until the window closes, and each change writes all of a key's values to the
    changelog: for keys with many thousands of values that is much. Of untyped rows, 1, 1.0 and true are one value; lists and
    objects cannot be compared (`AggregateError`).

    >>> import streamkit as sk
    >>> str(sk.count_distinct("customer"))
    'count_distinct(customer)'
    """
    return Aggregator(Function.COUNT_DISTINCT, input_of(x, "count_distinct"))


def approx_count_distinct(x: str | pl.Expr, *, error: float = 0.02) -> Aggregator:
    """About how many different values are not null, an int: HyperLogLog, for where `count_distinct` would keep too many.

    ``error`` is the largest standard error that is wanted, from 0.005 to 0.1: two results in three are within it, 99.7 % within
    three times it. The state has m bytes, the power of two from (1.04 / error)² on: 4 KiB for 0.02 (really 0.016), 16 KiB for
    0.01; up to m/8 - 1 values (511) the count is exact and the state smaller. It is written to the changelog as a whole with
    every commit in which it changed.

    A function of the set of values alone: order, batches and restarts change nothing in it. Values are equal as for
    `count_distinct`; NaN is one value. `DeclarationError`: an error that is out of range.

    >>> import streamkit as sk
    >>> str(sk.approx_count_distinct("customer"))
    'approx_count_distinct(customer, error=0.02)'
    """
    checked = _within(error, 0.005, 0.1, "sk.approx_count_distinct: error")
    return Aggregator(Function.APPROX_COUNT_DISTINCT, input_of(x, "approx_count_distinct"), {"error": checked})


def quantile(x: str | pl.Expr, q: float, *, error: float = 0.01) -> Aggregator:
    """About the smallest value that at least the share ``q`` of all values does not exceed (SQL's ``PERCENTILE_DISC``), a float.

    Of numbers; null values are skipped, over nothing but nulls it is null. What is given is at most ``error`` (0.0005 to 0.2) of
    that value away from it; ``q`` 0 and 1, and the quantiles of equal values, are exact. A DDSketch: counts in buckets whose
    width is relative to the value, so the state grows with the spread of the values, not with their number: at an error of 0.01
    by at most 64 buckets of 12 bytes for every doubling from the smallest value to the largest.

    Negative numbers and zero are values like others; what is nearer to zero than 2.3e-308 counts as zero. Infinities are the
    smallest and the largest values. A NaN makes the result NaN. A function of the values alone: order, batches and restarts
    change nothing in it. `DeclarationError`: a q that is not within 0 and 1, an error out of range.

    >>> import streamkit as sk
    >>> str(sk.quantile("latency", 0.99))
    'quantile(latency, q=0.99, error=0.01)'
    """
    wanted = _within(q, 0, 1, "sk.quantile: q")
    checked = _within(error, 0.0005, 0.2, "sk.quantile: error")
    return Aggregator(Function.QUANTILE, input_of(x, "quantile"), {"q": wanted, "error": checked})


def quantiles(x: str | pl.Expr, qs: Sequence[float], *, error: float = 0.01) -> Aggregator:
    """Several quantiles of one sketch: a list of floats in the order of ``qs``. Each is what `quantile` gives.

    Over nothing but nulls it is null, not a list. `DeclarationError`: no qs, or one that is not within 0 and 1.

    >>> import streamkit as sk
    >>> str(sk.quantiles("latency", [0.5, 0.99]))
    'quantiles(latency, qs=[0.5, 0.99], error=0.01)'
    """
    if not isinstance(qs, list | tuple) or not qs:
        raise DeclarationError(f"sk.quantiles: qs must be a list of numbers such as [0.5, 0.99], got {qs!r}")
    wanted = [_within(q, 0, 1, "sk.quantiles: q") for q in qs]
    checked = _within(error, 0.0005, 0.2, "sk.quantiles: error")
    return Aggregator(Function.QUANTILES, input_of(x, "quantiles"), {"qs": wanted, "error": checked})


def median(x: str | pl.Expr, *, error: float = 0.01) -> Aggregator:
    """About the median: `quantile` with q = 0.5. Of an even number of values it is the lower one of the two in the middle.

    >>> import streamkit as sk
    >>> str(sk.median("latency"))
    'quantile(latency, q=0.5, error=0.01)'
    """
    return Aggregator(
        Function.QUANTILE, input_of(x, "median"), {"q": 0.5, "error": _within(error, 0.0005, 0.2, "sk.median: error")}
    )


def top_k(k: int, *, by: str | pl.Expr, x: str | pl.Expr | None = None) -> Aggregator:
    """The ``k`` rows with the largest ``by``, largest first; with an ``x`` its values in place of rows.

    A list; over nothing it is empty. Rows are dicts, and so are nested models in them, with the names that they have on the wire.
    ``by`` can be a number, text, a datetime or a date; for the smallest give ``by=-pl.col(...)``. Records whose ``by`` is null or
    NaN are left out, and so are null values of x.

    Of equal ``by`` the earlier event time comes first, and of the very same time the smaller encoded value: a function of the
    records alone, not of the order in which they came. The state holds k rows for each key and window, and is written to the
    changelog as a whole whenever it changes. `DeclarationError`: a k that is no positive whole number.

    >>> import polars as pl, streamkit as sk
    >>> str(sk.top_k(10, by="revenue")), str(sk.top_k(3, by=-pl.col("latency"), x="host"))
    ('top_k(k=10, by=revenue)', 'top_k(host, k=3, by=negate(latency))')
    """
    if type(k) is not int or k < 1:
        raise DeclarationError(f"sk.top_k: k must be a whole number of at least 1, got {k!r}")
    value = None if x is None else input_of(x, "top_k: x")
    return Aggregator(Function.TOP_K, value, {"k": k}, by=input_of(by, "top_k: by"))


def _within(value: object, least: float, most: float, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise DeclarationError(f"{what} must be a number from {least} to {most}, got {value!r}")
    return value


def input_of(x: object, function: str) -> pl.Expr:
    """The expression of an input, which is a column's name or elementwise."""
    expr = pl.col(x) if isinstance(x, str) else x
    if not isinstance(expr, pl.Expr):
        raise DeclarationError(f"sk.{function}: expected the name of a column or an expression, got {x!r}")
    check_elementwise(expr)
    return expr
