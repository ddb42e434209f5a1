"""The pictures of docs/concepts/time.md, drawn from what the engine does: ``python -m tests.support.pictures`` writes them.

Each runs an app in a `TestDriver` and draws what came out: results, late records, watermarks, panes, open sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import streamkit as sk
from streamkit.eventtime.watermark import NO_TIME
from tests.support.svg import Picture

PLACE = Path(__file__).resolve().parents[2] / "docs/concepts/pictures"
T0 = datetime(2020, 4, 15, 8, tzinfo=UTC)
EVENTS, RESULTS, UPDATES, LATE = (sk.Topic(name) for name in ("events", "results", "updates", "late"))
WIDTH, LEFT, RIGHT = 760, 70, 730


class Sent(NamedTuple):
    """A record: minutes after 08:00, and its value."""

    at: float
    value: int


def _app(window: Any, **time: Any) -> sk.App:
    app = sk.App("pictures")
    windows = app.stream(EVENTS, event_time=sk.event_time("at", **time)).by_record_key().window(window)
    totals = windows.aggregate("totals", total=sk.sum("value"), n=sk.count())
    totals.on_close().to(RESULTS)
    totals.on_update().to(UPDATES)
    totals.late().to(LATE)
    return app


def _send(driver: sk.TestDriver, sent: Sent, partition: int = 0) -> None:
    driver.send(EVENTS, sk.Row(at=T0 + timedelta(minutes=sent.at), value=sent.value), partition=partition)


def _minutes(instant: datetime | str | int) -> float:
    """After 08:00, of a datetime, its text in a result, or milliseconds."""
    if isinstance(instant, int):
        instant = datetime.fromtimestamp(instant / 1000, UTC)
    return ((datetime.fromisoformat(instant) if isinstance(instant, str) else instant) - T0) / timedelta(minutes=1)


def _watermark(driver: sk.TestDriver) -> float | None:
    """Of the one task, in minutes; None before the first record."""
    (task,) = driver.worker.tasks
    reached = task.time.watermark()
    return None if reached == NO_TIME else _minutes(reached)


def _clock(minutes: float) -> str:
    return f"08:{int(minutes):02d}"


class Axis(NamedTuple):
    """Event time from left to right, in minutes after 08:00."""

    first: float
    last: float

    def __call__(self, minutes: float) -> float:
        return LEFT + (RIGHT - LEFT) * (minutes - self.first) / (self.last - self.first)

    def ticks(self, picture: Picture, every: int, top: float, bottom: float) -> None:
        minute = -(-int(self.first) // every) * every
        while minute <= self.last:
            picture.line([(self(minute), top), (self(minute), bottom)], "grid")
            picture.write(self(minute), top - 8, _clock(minute), "faint small", "middle")
            minute += every


# ---- records, watermark, windows: one row for each record as it arrives

RECORDS = (
    Sent(2, 2),
    Sent(7, 3),
    Sent(5, 1),
    Sent(12, 4),
    Sent(9, 5),
    Sent(15, 1),
    Sent(8, 7),
    Sent(18, 2),
    Sent(21, 3),
    Sent(25, 6),
    Sent(9, 4),
)
ROW, TOP = 34, 62


def watermark() -> Picture:
    """A window closes when the watermark reaches its end; what comes after it is late."""
    return _arrivals(
        "Tumbling windows of 10 minutes, out_of_orderness 4 minutes: records as they arrive, the watermark behind them",
        sk.tumbling("10m"), say=lambda kind: kind == "final",
    )  # fmt: skip


def grace() -> Picture:
    """With grace a window takes records after its end, and tells a new result for them."""
    return _arrivals(
        "The same records with grace 5 minutes: the window takes a record behind its end, tells it, and closes later",
        sk.tumbling("10m", grace="5m"), say=lambda kind: kind in ("late", "final"),
    )  # fmt: skip


def _arrivals(title: str, window: Any, *, say: Callable[[str], bool]) -> Picture:
    axis = Axis(0, 30)
    picture = Picture(WIDTH, TOP + ROW * len(RECORDS) + 50, title)
    bottom = TOP + ROW * len(RECORDS) - 6
    driver = sk.TestDriver(_app(window, out_of_orderness="4m"))
    times: list[tuple[float | None, float]] = []
    told: list[tuple[float, float, str, int]] = []  # row, window start, kind, total
    is_late: list[bool] = []
    for number, sent in enumerate(RECORDS):
        y = TOP + ROW * number + ROW / 2
        _send(driver, sent)
        is_late.append(bool(driver.read(LATE)))
        times.append((_watermark(driver), y))
        for topic in (UPDATES, RESULTS):
            for result in driver.read(topic):
                kind = (result.headers.get("streamkit-result") or b"final").decode() if topic is UPDATES else "final"
                told.append((y, _minutes(result.value.window_start), kind, result.value.total))
    closed = {start: y for y, start, kind, _ in told if kind == "final"}
    for start in (0, 10, 20):
        until = closed.get(start, bottom) - (TOP - 16)
        picture.rect(axis(start) + 2, TOP - 16, axis(start + 10) - axis(start) - 4, until, "pane shade", round_=4)
        picture.write(
            (axis(start) + axis(start + 10)) / 2,
            TOP - 38,
            f"window {_clock(start)} to {_clock(start + 10)}",
            "ink bold",
            "middle",
        )
    axis.ticks(picture, 5, TOP - 16, bottom)
    _stairs(picture, axis, times, bottom)
    _told(picture, axis, told, window.grace_ms / 60_000, say)
    for number, (sent, late) in enumerate(zip(RECORDS, is_late, strict=True)):
        x, y = axis(sent.at), TOP + ROW * number + ROW / 2 - 9
        picture.dot(x, y, "red hollow" if late else "blue fill")
        picture.write(x + 10, y + 4, f"{sent.value}{'  late' if late else ''}", "red bold" if late else "ink bold")
    picture.write(LEFT - 14, TOP + 12, "arrives", "faint small", "end")
    picture.write(LEFT - 14, TOP + 26, "first", "faint small", "end")
    picture.write(LEFT - 14, bottom - 4, "last", "faint small", "end")
    _legend(
        picture,
        bottom + 28,
        [("blue fill", "record"), ("red hollow", "late record"), ("violet thick", "watermark"), ("pane shade", "window is open")],
    )
    return picture


def _stairs(picture: Picture, axis: Axis, times: list[tuple[float | None, float]], bottom: float) -> None:
    """The watermark: after each record as far as it has come, until the next."""
    points: list[tuple[float, float]] = []
    for reached, y in times:
        if reached is None:
            continue
        x = axis(max(reached, axis.first))
        points += [(points[-1][0] if points else x, y), (x, y)]
    picture.line([*points, (points[-1][0], bottom)], "violet thick")


def _told(
    picture: Picture, axis: Axis, told: list[tuple[float, float, str, int]], grace: float, say: Callable[[str], bool]
) -> None:
    lines: dict[tuple[float, float], list[str]] = {}
    for y, start, kind, total in told:
        if say(kind):
            lines.setdefault((y, start), []).append(f"closes: {total}" if kind == "final" else f"told anew: {total}")
    for (y, start), said in lines.items():
        if any("closes" in each for each in said):
            picture.line([(axis(start) + 2, y), (axis(start + 10) - 2, y)], "green thick")
            picture.line([(axis(start + 10), y), (axis(start + 10 + grace), y)], "green thick dash")
        picture.write(axis(start) + 8, y - 5, ", ".join(said), "green bold")


def _legend(picture: Picture, y: float, entries: Iterable[tuple[str, str]]) -> None:
    x: float = LEFT
    for kind, text in entries:
        if "thick" in kind:
            picture.line([(x - 8, y - 4), (x + 8, y - 4)], kind)
        elif "shade" in kind:
            picture.rect(x - 8, y - 12, 16, 14, kind, round_=3)
        else:
            picture.dot(x, y - 4, kind)
        picture.write(x + 16, y, text, "ink small")
        x += 44 + 6.4 * len(text)


# ---- hopping windows: panes


def panes() -> Picture:
    """Each record is added to one pane; windows are put together from panes."""
    axis = Axis(0, 22)
    driver = sk.TestDriver(_app(sk.hopping("8m", hop="4m", grace="1h")))
    records = (Sent(1, 2), Sent(3, 1), Sent(5, 4), Sent(9, 3), Sent(10, 1), Sent(14, 5), Sent(17, 2))
    for sent in records:
        _send(driver, sent)
    (task,) = driver.worker.tasks
    store: Any = task.chain.aggregates["totals"].store
    held = [(pane.end, store.results(store.get(pane))[0].to_list()[0]) for pane in store.panes]
    driver.end_of_input()
    results = [(_minutes(r.value.window_start), _minutes(r.value.window_end), r.value.total) for r in driver.read(RESULTS)]
    shown = [each for each in results if each[0] >= 0 and each[1] <= axis.last]
    picture = Picture(
        WIDTH,
        166 + 30 * len(shown),
        "Hopping windows of 8 minutes every 4: each record is added to one pane, each window adds up two",
    )
    bottom = 142 + 30 * len(shown)
    axis.ticks(picture, 4, 46, bottom)
    for sent in records:
        picture.dot(axis(sent.at), 66, "blue fill")
        picture.write(axis(sent.at) + 9, 70, str(sent.value), "ink bold")
    picture.write(LEFT - 14, 70, "records", "faint small", "end")
    for end_ms, total in held:
        end = _minutes(end_ms)
        left, right = axis(end - 4), axis(end)
        picture.rect(left + 2, 90, right - left - 4, 30, "violet shade", round_=4)
        picture.write((left + right) / 2, 110, str(total), "violet bold", "middle")
    picture.write(LEFT - 14, 110, "panes", "faint small", "end")
    for number, (start, end, total) in enumerate(shown):
        y = 136 + 30 * number
        picture.rect(axis(start) + 2, y, axis(end) - axis(start) - 4, 22, "pane shade", round_=4)
        picture.write((axis(start) + axis(end)) / 2, y + 16, f"{_clock(start)} to {_clock(end)}:  {total}", "ink", "middle")
    picture.write(LEFT - 14, 152, "windows", "faint small", "end")
    return picture


# ---- sessions


def sessions() -> Picture:
    """A record may put two sessions together."""
    axis = Axis(0, 22)
    records = (Sent(1, 1), Sent(4, 1), Sent(12, 1), Sent(8, 1), Sent(16, 1))
    driver = sk.TestDriver(_app(sk.session("5m"), out_of_orderness="10m"))
    picture = Picture(WIDTH, 84 + 44 * len(records), "Sessions with a gap of 5 minutes: the open sessions after each record")
    bottom = 58 + 44 * len(records)
    axis.ticks(picture, 2, 46, bottom)
    for number, sent in enumerate(records):
        _send(driver, sent)
        y = 60 + 44 * number
        for row in driver.store("totals"):
            start, end = _minutes(row.window_start), _minutes(row.window_end)
            picture.rect(axis(start), y, axis(end) - axis(start), 30, "pane shade", round_=6)
            picture.write(axis(end) - 8, y + 20, f"n = {row.n}", "ink small", "end")
        for earlier in records[:number]:
            picture.dot(axis(earlier.at), y + 15, "faint fill", 4)
        picture.dot(axis(sent.at), y + 15, "blue fill")
        picture.write(LEFT - 14, y + 20, _clock(sent.at), "faint small", "end")
    return picture


# ---- windows that lie where the records are


def where_the_records_are() -> Picture:
    """Rolling windows look back from each record; sliding ones also forward."""
    axis = Axis(2, 15)
    records = (Sent(8, 2), Sent(9, 3), Sent(12, 4))
    told = []
    for window in (sk.rolling("5m"), sk.sliding("5m")):
        driver = sk.TestDriver(_app(window))
        for sent in records:
            _send(driver, sent)
        driver.end_of_input()
        told.append([(_minutes(r.value.window_start), _minutes(r.value.window_end), r.value.total) for r in driver.read(RESULTS)])
    count = sum(map(len, told))
    picture = Picture(
        WIDTH, 140 + 28 * count, "Rolling and sliding windows of 5 minutes over three records, and what they add up to"
    )
    axis.ticks(picture, 1, 46, 128 + 28 * count)
    picture.write(LEFT - 14, 70, "records", "faint small", "end")
    for sent in records:
        picture.dot(axis(sent.at), 66, "blue fill")
        picture.write(axis(sent.at) + 9, 70, str(sent.value), "ink bold")
    y = 90.0
    for kind, windows, shade in (("rolling", told[0], "violet shade"), ("sliding", told[1], "pane shade")):
        picture.write(LEFT - 14, y + 15, kind, "faint small", "end")
        for start, end, total in windows:
            picture.rect(axis(start), y, axis(end) - axis(start), 20, shade, round_=4)
            picture.write((axis(start) + axis(end)) / 2, y + 15, str(total), "ink bold", "middle")
            y += 28
        y += 14
    return picture


# ---- idle partitions


def idle() -> Picture:
    """Time waits for the slowest partition, until that is proven idle."""
    driver = sk.TestDriver(_app(sk.tumbling("5m"), idle_after="2m"), partitions=2, start=T0)
    app_events = _merged(driver)
    driver = app_events
    steps = 56  # of 15 seconds
    axis = Axis(0, steps / 4)
    picture = Picture(
        WIDTH, 420, "Two partitions, idle_after 2 minutes: the time of the task waits for the silent one until it is idle"
    )
    top, bottom = 50.0, 360.0

    def y(minutes: float) -> float:
        return bottom - (bottom - top) * minutes / 15

    lines: dict[str, list[tuple[float, float]]] = {"events-0": [], "events-1": [], "task": []}
    closes: list[tuple[float, float]] = []
    idle_from: float | None = None
    for step in range(steps):
        now = step / 4
        if step % 2 == 0:
            _send(driver, Sent(now, 1), 0)
        if step % 3 == 0 and (now <= 4 or now >= 11):
            _send(driver, Sent(now, 1), 1)
        driver.advance("15s")
        (task,) = [each for each in driver.worker.tasks if each.chain.aggregates]
        for name, each in task.time.inputs.items():
            if each.watermark != NO_TIME:
                label = f"events-{name[-1]}"  # a task upstream stands for its partition
                lines[label].append((axis(now), y(_minutes(each.watermark))))
                if label == "events-1" and each.state.value == "idle" and idle_from is None:
                    idle_from = now
        reached = task.time.watermark()
        if reached != NO_TIME:
            lines["task"].append((axis(now), y(_minutes(reached))))
        closes += [(now, _minutes(result.value.window_end)) for result in driver.read(RESULTS)]
    for minute in range(0, 16, 5):
        picture.line([(LEFT, y(minute)), (RIGHT, y(minute))], "grid")
        picture.write(LEFT - 10, y(minute) + 4, _clock(minute), "faint small", "end")
    for minute in range(0, int(axis.last) + 1, 2):
        picture.write(axis(minute), bottom + 18, f"{minute} min", "faint small", "middle")
    assert idle_from is not None
    back = 11.0
    picture.rect(axis(idle_from), top, axis(back) - axis(idle_from), bottom - top, "faint shade")
    picture.write((axis(idle_from) + axis(back)) / 2, bottom - 10, "events-1 is idle", "faint bold", "middle")
    picture.line(lines["events-0"], "blue medium")
    picture.line(lines["events-1"], "red medium")
    picture.line(lines["task"], "violet thick dash")
    for now, end in closes:
        picture.dot(axis(now), y(end), "green fill", 5)
        picture.write(axis(now) - 8, y(end) - 8, f"closes {_clock(end - 5)} to {_clock(end)}", "green bold", "end")
    picture.write(8, 34, "event time", "faint small")
    picture.write(RIGHT, bottom + 36, "wall time", "faint small", "end")
    _legend(
        picture,
        bottom + 40,
        [("blue thick", "watermark of events-0"), ("red thick", "of events-1"), ("violet thick dash", "time of the task")],
    )
    return picture


def _merged(driver: sk.TestDriver) -> sk.TestDriver:
    """An app in which one task hears both partitions."""
    driver.close()
    app = sk.App("pictures")
    windows = app.stream(EVENTS, event_time=sk.event_time("at", idle_after="2m")).globally().window(sk.tumbling("5m"))
    windows.aggregate("totals", n=sk.count()).on_close().to(RESULTS)
    return sk.TestDriver(app, partitions=2, start=T0)


PICTURES: dict[str, Callable[[], Picture]] = {
    "watermark.svg": watermark,
    "grace.svg": grace,
    "panes.svg": panes,
    "sessions.svg": sessions,
    "where-the-records-are.svg": where_the_records_are,
    "idle.svg": idle,
}


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (PLACE / name).write_text(draw().text())
        print(name)
