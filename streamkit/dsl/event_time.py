"""event_time: where the time of a source's records comes from, and how its watermark follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.errors import DeclarationError, SchemaError
from streamkit.eventtime.duration import Duration, duration_ms
from streamkit.eventtime.generators import (
    ElementwiseWatermark,
    FieldWatermark,
    WatermarkGenerator,
    Watermarks,
    check_generator,
)
from streamkit.plan.names import near_names
from streamkit.plan.nodes import EventTime
from streamkit.plan.topic import Topic
from streamkit.record.schema import Kind

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ascending:
    """Times that never fall; made by `ascending`."""


def ascending() -> Ascending:
    """For `event_time(watermark=...)`: the times of each partition never fall.

    The watermark is max(time) - 1 ms: equal times are in order, and a record that is behind the latest of its partition is late
    for the windows that have closed. It is what ``out_of_orderness="0s"`` says, which is the default, in words. (Flink's
    ``forMonotonousTimestamps``.)

    >>> import streamkit as sk
    >>> sk.event_time("at", watermark=sk.ascending()) == sk.event_time("at", out_of_orderness="0s")
    True
    """
    return Ascending()


def watermark_field(name: str) -> FieldWatermark:
    """For `event_time(watermark=...)`: the records themselves say how far their partition is complete.

    The field is a datetime (naive ones are taken as UTC) or an int in milliseconds since 1970 UTC. Its value W says that behind
    this record no record with a time <= W comes any more in this partition; the watermark is the largest W so far. Null, or a
    field that is missing from an untyped value, says nothing: so it may be on every record, or on a few marker records between
    the data (which need an event time as all records do; leave them out with a filter). For producers that know when they are
    done with a minute or a file: no guess by ``out_of_orderness`` is as good. (Flink's punctuated watermarks.)

    A value that is no time or outside the years 101 to 9899, and with ``max_future`` one that is further ahead of its own record,
    is an `EventTimeError` of that record and moves nothing. Until the first value time stands. `SchemaError`: the topic has no
    such field, or it can hold no time.

    >>> import streamkit as sk
    >>> READINGS = sk.Topic("readings", key=str)
    >>> app = sk.App("meters")
    >>> readings = app.stream(READINGS, event_time=sk.event_time("at", watermark=sk.watermark_field("complete_to")))
    >>> counts = readings.by_record_key().window(sk.tumbling("1m")).aggregate("counts", n=sk.count("value"))
    >>> counts.on_close().to(sk.Topic("counts", key=str))
    >>> with sk.TestDriver(app) as driver:
    ...     driver.send(READINGS, sk.Row(at=90_000, value=1), sk.Row(at=30_000, value=2), key="a")
    ...     driver.send(READINGS, sk.Row(at=95_000, complete_to=59_999), key="a")
    ...     [(row.window_end, row.n) for row in (record.value for record in driver.read(sk.Topic("counts", key=str)))]
    [('1970-01-01T00:01:00Z', 1)]
    """
    return FieldWatermark(name)


def event_time(
    by: str | Callable[[Any], int | datetime] | None = None,
    *,
    out_of_orderness: Duration | None = None,
    watermark: Ascending | FieldWatermark | WatermarkGenerator | Callable[[Int64s], Int64s] | None = None,
    idle_after: Duration | None = None,
    max_future: Duration | None = None,
    advance_when_idle: Duration | None = None,
    max_drift: Duration | None = None,
) -> EventTime:
    """The event time of a source: a field, a function of the value, or the Kafka timestamp (``by`` left out).

    A field is a datetime (naive ones are taken as UTC) or an int in milliseconds since 1970 UTC; a function returns either.
    ``out_of_orderness`` is how far a record may be behind the latest of its partition without being late: the watermark is
    max(time) - out_of_orderness - 1 ms, per source partition (Flink's bounded out-of-orderness). ``idle_after``: a partition
    that is read to its end and silent for this long no longer holds time up; without it, it does so for ever.

    ``watermark`` is another rule in its place: `ascending()`, `watermark_field("name")`, a `WatermarkGenerator` of your own, or a
    function that makes of each event time the watermark after that record, as arrays of int64 milliseconds; the largest so far
    counts. Each topic has its own rule, for it has its own event time.

    ``max_future``: a record that is further ahead of the latest of its partition is an `EventTimeError` and does not move the
    watermark: else one record of the year 2099 closes every window, and all that comes after it is late. It must be longer than
    the longest pause in the data, or all that comes after a pause is refused; the first record of a partition is taken as it
    is.

    ``advance_when_idle`` is for streams that fall silent and whose last windows shall close all the same: once all inputs of a
    task have been idle for so long, its time moves on with the wall clock, from where it stands, also after a restart. What comes
    after such a pause may be late for windows that have closed without it. It needs ``idle_after``. (Without it time holds
    while all are idle.)

    ``max_drift``: a partition that is further ahead of another one which it meets waits until that has come closer, so that no
    more than so much time is kept open while a backlog is read. Those that meet are the source partitions of one task, and all
    that come together behind repartition topics, as far as they are read by one worker; the least far of them counts. One that
    is idle or read to its end holds nobody up, so it has no effect on a live stream that is not behind. Neither does one of
    which nothing newer comes for 10 seconds although it has records. Waiting is told (``partition-held``). It changes no result,
    only the order in which partitions are read; without it they are read as they come. (Flink's watermark alignment.)

    A record whose time is missing, null or of another type stops the service (`EventTimeError`) or goes where ``on_error``
    says. `DeclarationError`: a duration that is malformed or negative, two rules for one watermark.

    >>> import streamkit as sk
    >>> bids = sk.event_time("bidtime", out_of_orderness="5s", idle_after="30s")
    >>> bids.out_of_orderness_ms, bids.idle_after_ms, bids.max_future_ms
    (5000, 30000, None)
    >>> hourly = sk.event_time("at", watermark=lambda times: times - times % 3_600_000 - 1)  # moves at the full hours
    >>> sk.event_time("at", watermark=lambda times: times - times.min())
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: event_time: watermark: lambda() gives other watermarks of the same records when ...
    """
    if by is not None and not isinstance(by, str) and not callable(by):
        raise DeclarationError(f"event_time: expected the name of a field or a function, got {by!r}")
    if advance_when_idle is not None and idle_after is None:
        raise DeclarationError("event_time: advance_when_idle needs idle_after, which says when a partition counts as idle")
    max_future_ms = None if max_future is None else duration_ms(max_future, what="event_time: max_future")
    if max_future_ms == 0:
        raise DeclarationError("event_time: max_future must be longer than 0: every record that moves time on would be refused")
    max_drift_ms = None if max_drift is None else duration_ms(max_drift, what="event_time: max_drift")
    if max_drift_ms == 0:
        raise DeclarationError("event_time: max_drift must be longer than 0: partitions are never at exactly one time")
    if watermark is not None and out_of_orderness is not None:
        raise DeclarationError(
            "event_time: out_of_orderness and watermark are two rules for one watermark; leave one of them out"
        )
    return EventTime(
        by,
        duration_ms("0s" if out_of_orderness is None else out_of_orderness, what="event_time: out_of_orderness"),
        None if idle_after is None else duration_ms(idle_after, what="event_time: idle_after"),
        max_future_ms,
        None if advance_when_idle is None else duration_ms(advance_when_idle, what="event_time: advance_when_idle"),
        _rule(watermark),
        max_drift_ms,
    )


def _rule(watermark: Any) -> Watermarks | None:
    if watermark is None or isinstance(watermark, Ascending):
        return None
    if isinstance(watermark, FieldWatermark):
        return watermark
    if isinstance(watermark, type) or not (isinstance(watermark, WatermarkGenerator) or callable(watermark)):
        raise DeclarationError(
            "event_time: watermark: expected ascending(), watermark_field(name), a WatermarkGenerator (an object, not its class) "
            f"or a function of the event times, got {watermark!r}"
        )
    rule = watermark if isinstance(watermark, WatermarkGenerator) else ElementwiseWatermark(watermark)
    check_generator(rule)
    return rule


def check_event_time(event_time: EventTime, topic: Topic[Any, Any]) -> None:
    """`SchemaError` if a field is not there or cannot be a time."""
    by, rule = event_time.by, event_time.watermark
    if isinstance(by, str):
        hint = ". Compute one with a function: event_time(lambda value: ...)"
        _check_field(topic, by, f"event_time('{by}')", "an event time", hint)
    if isinstance(rule, FieldWatermark):
        _check_field(topic, rule.field, f"watermark_field('{rule.field}')", "a watermark")


def _check_field(topic: Topic[Any, Any], name: str, said: str, what: str, hint: str = "") -> None:
    schema = topic.value_serde.schema
    field = schema.field(name)
    if field is None:
        raise SchemaError(f"topic '{topic.name}': {said} names no field; {near_names(name, schema.names)}")
    if field.kind not in (Kind.DATETIME, Kind.INT, Kind.ANY):
        raise SchemaError(
            f"topic '{topic.name}': {said} is {field}; {what} is a datetime, or an int in milliseconds since 1970 UTC{hint}"
        )
