"""From the name of an aggregate function to the accumulator that computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from streamkit.record.schema import Kind
from streamkit.state.accumulators import INT64, Accumulator, Count, Mean, Numeric
from streamkit.state.distinct import CountDistinct
from streamkit.state.objects import Objects, larger, plus, smaller
from streamkit.state.ordered import ByTime, Collect
from streamkit.state.spread import Spread


def accumulator(function: str, kind: Kind, *, nullable: bool, options: Mapping[str, Any] | None = None) -> Accumulator:
    """The accumulator of an aggregate function (plan/aggregators.py) over inputs of this kind."""
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
