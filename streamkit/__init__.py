"""streamkit: stream processing microservices on Kafka, in Python.

    import streamkit as sk

What is listed in `__all__` is the public face; it is loaded when it is first used, so that the command line starts without
Kafka or Polars. Read on in README.md; docs/internals.md is for whoever works on streamkit itself.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamkit import errors
    from streamkit.app import App
    from streamkit.config import EngineSettings
    from streamkit.dsl.aggregates import (
        approx_count_distinct,
        collect,
        count,
        count_distinct,
        first,
        last,
        max,
        mean,
        median,
        min,
        quantile,
        quantiles,
        stddev,
        sum,
        top_k,
        variance,
    )
    from streamkit.dsl.event_time import ascending, event_time, watermark_field
    from streamkit.dsl.stream import KeyedStream, Stream
    from streamkit.dsl.timeless import count_window, global_window
    from streamkit.dsl.user_defined import aggregator, reduce
    from streamkit.dsl.windowed import Aggregated, WindowedStream
    from streamkit.dsl.windows import calendar, cumulating, hopping, rolling, session, sliding, tumbling
    from streamkit.eventtime.generators import WatermarkGenerator
    from streamkit.plan.topic import Topic
    from streamkit.record.model import Model, Record, Row
    from streamkit.runtime.explanation import WindowExplanation
    from streamkit.serdes.avro import avro
    from streamkit.testing.broker import Broker
    from streamkit.testing.driver import TestDriver

__version__ = "0.1.0"

_HOMES = {
    "Aggregated": "dsl.windowed",
    "App": "app",
    "Broker": "testing.broker",
    "EngineSettings": "config",
    "KeyedStream": "dsl.stream",
    "Model": "record.model",
    "Record": "record.model",
    "Row": "record.model",
    "Stream": "dsl.stream",
    "TestDriver": "testing.driver",
    "Topic": "plan.topic",
    "WatermarkGenerator": "eventtime.generators",
    "WindowExplanation": "runtime.explanation",
    "WindowedStream": "dsl.windowed",
    "aggregator": "dsl.user_defined",
    "approx_count_distinct": "dsl.aggregates",
    "ascending": "dsl.event_time",
    "avro": "serdes.avro",
    "calendar": "dsl.windows",
    "collect": "dsl.aggregates",
    "count": "dsl.aggregates",
    "count_distinct": "dsl.aggregates",
    "count_window": "dsl.timeless",
    "cumulating": "dsl.windows",
    "event_time": "dsl.event_time",
    "first": "dsl.aggregates",
    "global_window": "dsl.timeless",
    "hopping": "dsl.windows",
    "last": "dsl.aggregates",
    "max": "dsl.aggregates",
    "mean": "dsl.aggregates",
    "median": "dsl.aggregates",
    "min": "dsl.aggregates",
    "quantile": "dsl.aggregates",
    "quantiles": "dsl.aggregates",
    "reduce": "dsl.user_defined",
    "rolling": "dsl.windows",
    "session": "dsl.windows",
    "sliding": "dsl.windows",
    "stddev": "dsl.aggregates",
    "sum": "dsl.aggregates",
    "top_k": "dsl.aggregates",
    "tumbling": "dsl.windows",
    "variance": "dsl.aggregates",
    "watermark_field": "dsl.event_time",
}

__all__ = [
    "Aggregated",
    "App",
    "Broker",
    "EngineSettings",
    "KeyedStream",
    "Model",
    "Record",
    "Row",
    "Stream",
    "TestDriver",
    "Topic",
    "WatermarkGenerator",
    "WindowExplanation",
    "WindowedStream",
    "aggregator",
    "approx_count_distinct",
    "ascending",
    "avro",
    "calendar",
    "collect",
    "count",
    "count_distinct",
    "count_window",
    "cumulating",
    "errors",
    "event_time",
    "first",
    "global_window",
    "hopping",
    "last",
    "max",
    "mean",
    "median",
    "min",
    "quantile",
    "quantiles",
    "reduce",
    "rolling",
    "session",
    "sliding",
    "stddev",
    "sum",
    "top_k",
    "tumbling",
    "variance",
    "watermark_field",
]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("streamkit.errors")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"streamkit has no '{name}'; it has: {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"streamkit.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
