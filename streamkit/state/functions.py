"""From the name of an aggregate function to the accumulator that computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.record.schema import Field, Kind
from streamkit.state import hyperloglog, quantiles
from streamkit.state.accumulators import INT64, Accumulator, Count, Mean, Numeric
from streamkit.state.distinct import CountDistinct
from streamkit.state.fold import Fold, FoldColumn, Functions, StateCodec
from streamkit.state.hyperloglog import ApproxCountDistinct
from streamkit.state.objects import Objects, larger, plus, smaller
from streamkit.state.ordered import ByTime, Collect, TimedColumn
from streamkit.state.quantiles import Quantiles
from streamkit.state.spread import Spread
from streamkit.state.top import RankedColumn, TopK


@dataclass(frozen=True, slots=True)
class Defined:
    """Users' functions with the type of their state and of their result."""

    functions: Functions
    state_type: Any
    result: Field


def accumulator(
    function: str,
    kind: Kind,
    *,
    nullable: bool,
    options: Mapping[str, Any] | None = None,
    defined: Defined | None = None,
) -> Accumulator:
    """The accumulator of an aggregate function (plan/aggregators.py) over inputs of this kind."""
    if defined is not None:
        codec = StateCodec(defined.state_type)
        init = defined.functions.init
        return Fold(defined.functions, codec, defined.result, None if init is None else codec.encode(init()))
    options = options or {}
    match function:
        case "count":
            return Count()
        case "first" | "last":
            return ByTime(kind, function == "first")
        case "collect":
            return Collect(options["limit"])
        case "count_distinct":
            return CountDistinct()
        case "variance" | "stddev":
            return Spread(function == "stddev", options["population"])
        case "top_k":
            return TopK(options["k"])
        case "approx_count_distinct":
            return ApproxCountDistinct(hyperloglog.precision_for(options["error"]))
        case "quantile" | "quantiles":
            single = function == "quantile"
            ranks = [options["q"]] if single else options["qs"]
            return Quantiles(quantiles.bits_for(options["error"]), tuple(Fraction(str(q)) for q in ranks), single)
    return _combined(function, kind, nullable=nullable)


def input_of(acc: Accumulator, column: Column | None, times: npt.NDArray[np.int64], by: Column | None) -> Column | None:
    """The input of an accumulator, with what it wants beside the values: event times, ranks."""
    if column is None:
        return None
    match acc:
        case ByTime() | Collect():
            return TimedColumn(column.values, column.valid, column.kind, times)
        case TopK() if by is not None:
            return RankedColumn(column.values, column.valid, column.kind, times, by)
        case Fold():
            return FoldColumn(column.values, column.valid, column.kind)
    return column


def _combined(function: str, kind: Kind, *, nullable: bool) -> Accumulator:
    mean = function == "mean"
    if mean or function == "sum":
        combine: Callable[[Any, Any], Any] = plus
    else:
        combine = smaller if function == "min" else larger
    if kind in (Kind.INT, Kind.FLOAT, Kind.DATETIME, Kind.BOOL):
        numeric = _numeric(function, kind, counted=mean or nullable)
        return Mean(numeric) if mean else numeric
    return Objects(combine, combine is plus, mean, Kind.ANY if kind is Kind.OBJECT else kind)


def _numeric(function: str, kind: Kind, *, counted: bool) -> Numeric:
    wide = Kind.FLOAT if kind is Kind.FLOAT else Kind.INT
    if function == "min":
        return Numeric(np.minimum, wide, float("inf") if wide is Kind.FLOAT else INT64.max, kind, counted)
    if function == "max":
        return Numeric(np.maximum, wide, float("-inf") if wide is Kind.FLOAT else INT64.min, kind, counted)
    return Numeric(np.add, wide, 0, kind, counted)
