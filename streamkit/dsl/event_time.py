"""event_time: where the time of a source's records comes from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from streamkit.errors import DeclarationError, SchemaError
from streamkit.eventtime.duration import Duration, duration_ms
from streamkit.plan.names import near_names
from streamkit.plan.nodes import EventTime
from streamkit.plan.topic import Topic
from streamkit.record.schema import Kind


def event_time(
    by: str | Callable[[Any], int | datetime] | None = None,
    *,
    out_of_orderness: Duration = "0s",
    idle_after: Duration | None = None,
    max_future: Duration | None = None,
    advance_when_idle: Duration | None = None,
) -> EventTime:
    """The event time of a source: a field, a function of the value, or the Kafka timestamp (``by`` left out).

    A field is a datetime (naive ones are taken as UTC) or an int in milliseconds since 1970 UTC; a function returns either.
    ``out_of_orderness`` is how far a record may be behind the latest of its partition without being late: the watermark is
    max(time) - out_of_orderness - 1 ms, per source partition (Flink's bounded out-of-orderness). ``idle_after``: a partition
    that is read to its end and silent for this long no longer holds time up; without it, it does so for ever.

    ``max_future``: a record that is further ahead of the latest of its partition is an `EventTimeError` and does not move the
    watermark: else one record of the year 2099 closes every window, and all that comes after it is late. It must be longer than
    the longest pause in the data, or all that comes after a pause is refused; the first record of a partition is taken as it
    is.

    ``advance_when_idle`` is for streams that fall silent and whose last windows shall close all the same: once all inputs of a
    task have been idle for so long, its time moves on with the wall clock, from where it stands, also after a restart. What comes
    after such a pause may be late for windows that have closed without it. It needs ``idle_after``. (Without it time holds
    while all are idle.)

    A record whose time is missing, null or of another type stops the service (`EventTimeError`) or goes where ``on_error``
    says. `DeclarationError`: a duration that is malformed or negative.

    >>> import streamkit as sk
    >>> sk.event_time("bidtime", out_of_orderness="5s", idle_after="30s")
    EventTime(by='bidtime', out_of_orderness_ms=5000, idle_after_ms=30000, max_future_ms=None, advance_when_idle_ms=None)
    """
    if by is not None and not isinstance(by, str) and not callable(by):
        raise DeclarationError(f"event_time: expected the name of a field or a function, got {by!r}")
    if advance_when_idle is not None and idle_after is None:
        raise DeclarationError("event_time: advance_when_idle needs idle_after, which says when a partition counts as idle")
    max_future_ms = None if max_future is None else duration_ms(max_future, what="event_time: max_future")
    if max_future_ms == 0:
        raise DeclarationError("event_time: max_future must be longer than 0: every record that moves time on would be refused")
    return EventTime(
        by,
        duration_ms(out_of_orderness, what="event_time: out_of_orderness"),
        None if idle_after is None else duration_ms(idle_after, what="event_time: idle_after"),
        max_future_ms,
        None if advance_when_idle is None else duration_ms(advance_when_idle, what="event_time: advance_when_idle"),
    )


def check_event_time(event_time: EventTime, topic: Topic[Any, Any]) -> None:
    """`SchemaError` if the field is not there or cannot be a time."""
    by, schema = event_time.by, topic.value_serde.schema
    if not isinstance(by, str):
        return
    field = schema.field(by)
    if field is None:
        raise SchemaError(f"topic '{topic.name}': event_time('{by}') names no field; {near_names(by, schema.names)}")
    if field.kind not in (Kind.DATETIME, Kind.INT, Kind.ANY):
        raise SchemaError(
            f"topic '{topic.name}': event_time('{by}') is {field}; an event time is a datetime, or an int in milliseconds since "
            "1970 UTC. Compute one with a function: event_time(lambda value: ...)"
        )
