"""Aggregates by users' functions: `reduce`, and those with a state of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import polars as pl

from streamkit.dsl.aggregates import input_of
from streamkit.errors import DeclarationError
from streamkit.plan.aggregators import Aggregator, Definition, Function
from streamkit.plan.names import checked_name
from streamkit.plan.types import describe, returned_type
from streamkit.state.fold import Functions, StateCodec

S = TypeVar("S")


def reduce(fn: Callable[[Any, Any], Any], x: str | pl.Expr | None = None) -> Aggregator:
    """All values put together by ``fn``, two at a time; without an ``x`` whole rows (Models, or `sk.Row` of untyped topics).

    Of the type of its input. Null values are skipped, over nothing but nulls it is null; of one value it is that value, and
    ``fn`` is not called. ``fn`` must be associative: hopping windows and sessions are put together from parts (as in Flink, and
    for sessions in Kafka Streams). It is called with what came first and what came later, by arrival within a part, and the
    earlier part first. So if order matters to it, results depend on how partitions interleave; give it one to which it does not.

    An exception of ``fn``, None, or a result that cannot be kept in the changelog (msgspec encodes it) is an `AggregateError`
    that names the record, for `on_error` to decide. ``fn`` may change its first argument, not the second one.

    >>> import streamkit as sk
    >>> def longer(one: str, other: str) -> str:
    ...     return max(one, other, key=len)
    >>> str(sk.reduce(longer, "title"))
    'reduce(longer, title)'
    """
    _check_call(fn, 2, "sk.reduce: fn", "fn(one, other)")
    definition = Definition(describe(fn), Functions(add=fn, merge=fn))
    return Aggregator(Function.REDUCE, None if x is None else input_of(x, "reduce"), definition=definition)


class UserAggregator:
    """What `aggregator` gives: call it with a column or an expression for an output; with nothing, it is given whole rows."""

    def __init__(self, definition: Definition, version: int) -> None:
        self._definition = definition
        self._version = version

    def __repr__(self) -> str:
        return f"<aggregator '{self._definition.name}', version {self._version}>"

    def __call__(self, x: str | pl.Expr | None = None) -> Aggregator:
        value = None if x is None else input_of(x, f"aggregator '{self._definition.name}'")
        return Aggregator(Function.USER_DEFINED, value, {"version": self._version}, definition=self._definition)


def aggregator(
    name: str,
    *,
    init: Callable[[], S],
    add: Callable[[S, Any], S],
    merge: Callable[[S, S], S],
    result: Callable[[S], Any] | None = None,
    version: int = 1,
) -> UserAggregator:
    """An aggregate of your own, to be called with a column, an expression, or nothing for whole rows.

    ``init()`` is the state of nothing; ``add(state, value)`` and ``merge(state, later_state)`` return the new state, and may
    change the one that they are given; ``result(state)`` makes the output (without it, the state is the output). Null values are
    skipped; over nothing but nulls the output is that of ``init()``. ``merge`` must agree with ``add``: of the records of two
    parts of a window it gives what adding them one by one gives. Values come in the order of arrival within a part, parts in that
    of time.

    The state is kept as msgspec encodes it, so it is a Model, a dataclass, or made of plain values. Its type is what ``init`` is
    annotated to return, else the type of what it returns; the output's is what ``result`` is annotated to return, else any. An
    exception, None, or a state that would not come back from the changelog as it was is an `AggregateError` that names the
    record; of ``result``, one that names the key.

    State is read back as long as ``name``, ``version`` and the fields of its type are the same: a function that was corrected
    goes on with what there is. If state means something else than before, raise ``version``: then the old changelog is refused,
    with what to do. `DeclarationError`: an init that fails, a state that cannot be encoded, a function that takes other
    arguments.

    >>> import streamkit as sk
    >>> class Range(sk.Model):
    ...     low: float = float("inf")
    ...     high: float = float("-inf")
    >>> spread = sk.aggregator(
    ...     "spread",
    ...     init=Range,
    ...     add=lambda state, price: Range(min(state.low, price), max(state.high, price)),
    ...     merge=lambda one, other: Range(min(one.low, other.low), max(one.high, other.high)),
    ...     result=lambda state: state.high - state.low,
    ... )
    >>> str(spread("price"))
    'spread(price, version=1)'
    """
    checked_name(name, what="sk.aggregator")
    where = f"sk.aggregator '{name}'"
    if type(version) is not int or version < 1:
        raise DeclarationError(f"{where}: version must be a whole number of at least 1, got {version!r}")
    _check_call(init, 0, f"{where}: init", "init()")
    _check_call(add, 2, f"{where}: add", "add(state, value)")
    _check_call(merge, 2, f"{where}: merge", "merge(state, other)")
    if result is not None:
        _check_call(result, 1, f"{where}: result", "result(state)")
    state_type = _state_type(init, where)
    result_type = state_type if result is None else returned_type(result)
    return UserAggregator(Definition(name, Functions(add, merge, init, result), state_type, result_type), version)


def _state_type(init: Callable[[], Any], where: str) -> Any:
    """As annotated, else by example; a state of nothing that cannot be kept is refused here."""
    try:
        state = init()
    except Exception as error:
        raise DeclarationError(f"{where}: init() raises {type(error).__name__}: {error}") from error
    annotated = returned_type(init)
    state_type = type(state) if annotated is Any else annotated
    if state is None:
        raise DeclarationError(f"{where}: init() gives None; a state is a value, such as 0, [] or a Model")
    try:
        StateCodec(state_type).encode(state)
    except (TypeError, ValueError) as error:
        raise DeclarationError(f"{where}: what init() gives cannot be a state: {error}") from error
    return state_type


def _check_call(fn: object, arguments: int, what: str, shape: str) -> None:
    if not callable(fn):
        raise DeclarationError(f"{what} must be a function {shape}, got {fn!r}")
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # some functions of C say nothing of their arguments
        return
    try:
        signature.bind(*[None] * arguments)
    except TypeError as error:
        raise DeclarationError(f"{what} is called as {shape}, but {describe(fn)}{signature} cannot be: {error}") from error
