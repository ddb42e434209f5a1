"""tumbling, hopping, cumulating, session, sliding, rolling and calendar: the windows of event time."""

from __future__ import annotations

from typing import Any

from streamkit.errors import DeclarationError
from streamkit.eventtime.calendar import CalendarWindow, Unit, Weekday
from streamkit.eventtime.duration import Duration, duration_ms
from streamkit.eventtime.sliding import RollingWindow, SlidingWindow
from streamkit.eventtime.windows import CumulatingWindow, HoppingWindow, SessionWindow, TumblingWindow, Window


def tumbling(size: Duration, *, offset: Duration = "0s", grace: Duration = "0s") -> Window:
    """Windows of one size side by side: each record is in exactly one.

    Boundaries are at multiples of ``size`` from 1970-01-01T00:00Z, moved by ``offset`` (which may be negative). A window
    [start, end) closes when the watermark passes end + ``grace``: longer grace, fewer late records, later results (Kafka Streams'
    ``TimeWindows.ofSizeAndGrace``). `DeclarationError`: a duration that is malformed, a size of zero, a negative grace.

    >>> import streamkit as sk
    >>> print(sk.tumbling("1m", grace="10s"))
    tumbling(1m, grace=10s)
    >>> sk.tumbling("0s")
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: tumbling window: size must be longer than 0, got 0 ms
    """
    size_ms = duration_ms(size, what="tumbling window: size")
    return TumblingWindow(size_ms=size_ms, step_ms=size_ms, **_shift("tumbling", offset, grace))


def hopping(size: Duration, hop: Duration, *, offset: Duration = "0s", grace: Duration = "0s") -> Window:
    """Windows of one size of which one begins every ``hop``: each record is in size / hop of them.

    Starts are at multiples of ``hop`` from 1970-01-01T00:00Z, moved by ``offset``; a size that is no multiple of the hop is fine
    (a record is then in one window more or less). A record that is late for the first of its windows still counts in the
    others. Records are added once, to a pane, and panes are put together when a window closes, so that the cost per record
    does not grow with the overlap. No result for a window in which nothing has arrived. (Flink's ``HOP``, Kafka Streams'
    ``TimeWindows.advanceBy``.) ``offset`` and ``grace`` as in `tumbling`. `DeclarationError`: as there, or a hop that is
    longer than the size.

    >>> import streamkit as sk
    >>> print(sk.hopping("10m", hop="1m"))
    hopping(10m, hop=1m)
    >>> sk.hopping("1m", hop="10m")
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: hopping window: hop (10m) must not be longer than size (1m): records in between ...
    """
    size_ms, hop_ms = (duration_ms(value, what=f"hopping window: {what}") for what, value in (("size", size), ("hop", hop)))
    return HoppingWindow(size_ms=size_ms, step_ms=hop_ms, **_shift("hopping", offset, grace))


def cumulating(size: Duration, step: Duration, *, offset: Duration = "0s", grace: Duration = "0s") -> Window:
    """Windows of one start that grow by ``step`` up to ``size``, then start anew: a running total with results on the way.

    The windows of a span are [start, start + step), [start, start + 2*step), ... [start, start + size) (Flink's ``CUMULATE``).
    A record counts in every window that holds it; one that is late for the first ones still counts in the later ones. No result
    for a window in which nothing has arrived yet. ``offset`` and ``grace`` as in `tumbling`. `DeclarationError`: as there, or
    a size that is no multiple of the step.

    >>> import streamkit as sk
    >>> print(sk.cumulating("10m", step="2m"))
    cumulating(10m, step=2m)
    >>> sk.cumulating("10m", step="3m")
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: cumulating window: size (10m) must be a multiple of step (3m)
    """
    size_ms, step_ms = (duration_ms(value, what=f"cumulating window: {what}") for what, value in (("size", size), ("step", step)))
    return CumulatingWindow(size_ms=size_ms, step_ms=step_ms, **_shift("cumulating", offset, grace))


def session(gap: Duration, *, grace: Duration = "0s") -> Window:
    """Records of a key that follow each other by less than ``gap``; two sessions that a record comes between become one.

    A session starts at its first record and ends ``gap`` after its last; it closes when the watermark passes its end +
    ``grace``. A record is late if its partition's watermark had passed its own time + gap + grace before it came. One that is
    not, but lies behind the watermark less grace (further out of order than ``out_of_orderness`` allows for), counts as if it
    had come at that point: so sessions do not depend on how partitions interleave. (Flink's and Kafka Streams' session windows,
    which take such a record as it is where the session happens to be open.) `DeclarationError`: a gap of zero.

    >>> import streamkit as sk
    >>> print(sk.session("30m", grace="5m"))
    session(30m, grace=5m)
    >>> sk.session("0s")
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: session window: gap must be longer than 0, got 0 ms
    """
    return SessionWindow(gap_ms=duration_ms(gap, what="session window: gap"), grace_ms=_grace("session", grace))


def sliding(size: Duration, *, grace: Duration = "0s") -> Window:
    """Kafka Streams' sliding windows: records of a key that are at most ``size`` apart, each such set of records once.

    Of each distinct event time t of a key there are two: the one that ends with it, [t - size, t], and the one that begins right
    behind it, [t + 1 ms, t + 1 ms + size], if anything lies in that. Both ends belong to a window, as in Kafka; but
    ``window_end`` is the first instant that does not, as of all windows here: 1 ms more than Kafka's. (Kafka Streams cuts windows
    off at 1970; here those before it are like all others.) A window closes, and gives its one result, when the watermark passes
    its end + ``grace``. So a record makes up to two results, each at a cost that does not grow with what lies in a window.

    A record that comes after the window that ends with it has closed counts in all later ones that hold it, as in Kafka. There is
    also one that ends at the first instant that was still open when it came, so that it counts somewhere. Late are records
    that are older than that instant by more than ``size``. With `on_update` a record changes all windows that hold it: as many
    results as it has neighbours. `DeclarationError`: a size of zero.

    >>> import streamkit as sk
    >>> app, events, out = sk.App("app"), sk.Topic("events", key=str), sk.Topic("out", key=str)
    >>> by_key = app.stream(events, event_time=sk.event_time("at")).by_record_key()
    >>> by_key.window(sk.sliding("5s")).aggregate("seen", values=sk.collect("value", limit=9)).on_close().to(out)
    >>> with sk.TestDriver(app) as driver:
    ...     driver.send(events, *({"at": at, "value": at} for at in (8000, 9200, 12400)), key="A")
    ...     driver.end_of_input()
    ...     for record in driver.read(out):
    ...         print(record.value.window_start[17:], "to", record.value.window_end[17:], record.value["values"])
    03Z to 08.001000Z [8000]
    04.200000Z to 09.201000Z [8000, 9200]
    07.400000Z to 12.401000Z [8000, 9200, 12400]
    08.001000Z to 13.002000Z [9200, 12400]
    09.201000Z to 14.202000Z [12400]
    """
    return SlidingWindow(size_ms=duration_ms(size, what="sliding window: size"), grace_ms=_grace("sliding", grace))


def rolling(size: Duration, *, grace: Duration = "0s") -> Window:
    """Each record and what came before it: of each distinct event time t of a key the window [t - size, t].

    SQL's ``OVER (PARTITION BY key ORDER BY time RANGE BETWEEN INTERVAL size PRECEDING AND CURRENT ROW)``: both ends belong to the
    window, and records of a key with the very same time are peers, with one result. ``window_end`` is the first instant that
    does not belong to it, t + 1 ms, as of all windows here; the event time of the result is t. It comes when the watermark passes
    t + ``grace``, at a cost that does not grow with what lies in a window.

    A record is late if its partition's watermark had passed its own time + ``grace``: the result of that time may have been given
    (Flink's rule for OVER). With `on_update` a record out of order changes the results of those behind it that are open.
    `DeclarationError`: a size of zero.

    >>> import streamkit as sk
    >>> app, cards, out = sk.App("app"), sk.Topic("cards", key=str), sk.Topic("out", key=str)
    >>> by_card = app.stream(cards, event_time=sk.event_time("at")).by_record_key()
    >>> by_card.window(sk.rolling("1m")).aggregate("spent", n=sk.count(), total=sk.sum("amount")).on_close().to(out)
    >>> with sk.TestDriver(app) as driver:
    ...     driver.send(cards, *({"at": at, "amount": 5} for at in (60_000, 120_000, 121_000)), key="4711")
    ...     driver.end_of_input()
    ...     for record in driver.read(out):
    ...         print(f"{record.timestamp:%H:%M:%S}", record.value.n, record.value.total)
    00:01:00 1 5
    00:02:00 2 10
    00:02:01 2 10
    """
    return RollingWindow(size_ms=duration_ms(size, what="rolling window: size"), grace_ms=_grace("rolling", grace))


def calendar(unit: Unit, *, tz: str, first_day: Weekday = "monday", grace: Duration = "0s") -> Window:
    """The hours, days, weeks, months, quarters or years of a time zone, one window each.

    ``tz`` is an IANA name. A day lasts from its first instant in the zone to the next one's, so the days of the clock changes
    have 23 and 25 hours, and months and years follow. Hours are those of the clock: the one that comes twice in autumn is two
    windows, and one that a change of half an hour cuts is cut there. ``first_day`` is the weekday on which weeks begin.
    `DeclarationError`: a unit, weekday or zone that does not exist, a negative grace.

    >>> import streamkit as sk
    >>> print(sk.calendar("day", tz="Europe/Tallinn"))
    calendar(day, tz=Europe/Tallinn)
    >>> print(sk.calendar("week", tz="America/New_York", first_day="sunday", grace="1h"))
    calendar(week, tz=America/New_York, first_day=sunday, grace=1h)
    >>> sk.calendar("day", tz="Europe/Atlantis")
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: calendar window: 'Europe/Atlantis' is not a time zone that this machine knows; ...
    """
    return CalendarWindow(unit=unit, zone=tz, first_day=first_day, grace_ms=_grace("calendar", grace))


def checked_window(window: Any) -> Window:
    if not isinstance(window, Window):
        raise DeclarationError(
            f'window: expected a window such as sk.tumbling("1m") or sk.hopping("10m", hop="1m"), got {window!r}'
        )
    return window


def _grace(kind: str, grace: Duration) -> int:
    return duration_ms(grace, what=f"{kind} window: grace")


def _shift(kind: str, offset: Duration, grace: Duration) -> dict[str, int]:
    return {
        "offset_ms": duration_ms(offset, what=f"{kind} window: offset", negative=True),
        "grace_ms": _grace(kind, grace),
    }
