"""Why a window is still open: which window is meant, what is known of it, and what would close it.

    in the state, not passed     OPEN     the input that holds time back is named, and what would move it
    passed by the watermark      CLOSED   its result was given; or nothing had arrived, and there was none
    neither                      EMPTY    nothing has arrived for this key; a record may still come

The window of a grid is named by its start. Of several that start together (cumulating) the first that is still open is meant, or
the one with the given end; of sessions the one that the instant lies in.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from streamkit.errors import DeclarationError
from streamkit.eventtime.sliding import RecordWindow
from streamkit.eventtime.watermark import MAX_TIMESTAMP, MIN_TIMESTAMP
from streamkit.eventtime.windows import CumulatingWindow, SessionWindow, Window
from streamkit.kafka.murmur2 import partition_for
from streamkit.operators.aggregate import AggregateOperator
from streamkit.operators.count_aggregate import CountAggregateOperator
from streamkit.operators.sink import NULL_KEY_PARTITION
from streamkit.plan.names import near_names
from streamkit.plan.nodes import Repartition, WindowAggregate, keyed_upstream
from streamkit.plan.topology import SubTopology, Topology
from streamkit.record import instants
from streamkit.record.model import Row
from streamkit.runtime.inspect import TaskSource, TaskView, delays, look
from streamkit.runtime.layout import Layout
from streamkit.runtime.task import Task, TaskId
from streamkit.serdes.keys import key_serde_for
from streamkit.state.key_index import exact_keys


class WindowState(enum.Enum):
    OPEN = "open"
    CLOSED = "closed"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Question:
    """``start_ms`` None: the oldest open window of the key. ``keys``: one, or all that the text can stand for."""

    node: WindowAggregate
    keys: tuple[Any, ...]
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """``closes_at_ms`` is the watermark that completes the window, of the aggregate; the time of ``task`` is what its
    ``needed_ms`` is measured by. ``row`` is the result as it is now. ``others``: start and end of further windows of the key.
    ``wanted``: the records that a count window still waits for; None of others. Windows that are not ``closed_by_time`` have no
    bounds, and ``closes_at_ms`` is None."""

    aggregate: str
    key: Any
    state: WindowState
    start_ms: int | None
    end_ms: int | None
    closes_at_ms: int | None
    grace_ms: int
    task: TaskView
    row: Row | None
    others: tuple[tuple[int, int], ...]
    is_live: bool
    is_keyed: bool
    wanted: int | None = None
    closed_by_time: bool = True


# ---- the question


def aggregate_of(topology: Topology, name: str | None) -> WindowAggregate:
    """The aggregate of this name, or the only one. `DeclarationError`: none, or several."""
    stores = {store.name: store for part in topology.parts for store in part.stores}
    if name is not None:
        if name not in stores:
            raise DeclarationError(f"no aggregate '{name}' in app '{topology.plan.app}'; {near_names(name, stores)}")
        return stores[name]
    if len(stores) != 1:
        which = "has no windows" if not stores else f"has several aggregates, say which: {', '.join(stores)}"
        raise DeclarationError(f"app '{topology.plan.app}' {which}")
    return next(iter(stores.values()))


def keys_of(text: str, node: WindowAggregate) -> tuple[Any, ...]:
    """The keys that a text stands for: it is the key as it is on the wire, ``null`` is none. Where keys are of any type, what it
    says as JSON and the text itself. `DeclarationError`: it is not of the key's type."""
    key_type = node.key.key_type
    if key_type is None:
        if text not in ("", "null"):
            raise DeclarationError(f"aggregate '{node.name}' has one group for all records: leave the key out (@START)")
        return (None,)
    if text == "null":
        return (None,)
    serde = key_serde_for(key_type)
    if key_type is Any:
        return _of_any_type(text)
    try:
        return (serde.decode_one(text.encode()),)
    except ValueError as error:
        name = serde.name
        raise DeclarationError(f"aggregate '{node.name}' has keys of type {name}, and {text!r} is none: {error}") from None


def _of_any_type(text: str) -> tuple[Any, ...]:
    serde = key_serde_for(Any)
    found: list[Any] = []
    for tag in ("i", "j", "t", None):
        try:
            key = serde.decode_tagged_one(text.encode(), tag)  # type: ignore[attr-defined]  # a DynamicKey
        except ValueError:
            continue
        if exact_keys([key])[0] not in map(_exact, found):
            found.append(key)
    return tuple(found)


def _exact(key: Any) -> Any:
    return exact_keys([key])[0]


# ---- where the key is


def _part_of(topology: Topology, node: WindowAggregate) -> SubTopology:
    return next(part for part in topology.parts if node in part.stores)


def tasks_of(layout: Layout, question: Question) -> list[TaskId]:
    """The tasks that may hold the key: the one of its partition where streamkit chose that, else all, the likely one first."""
    part = _part_of(layout.topology, question.node)
    count = sum(1 for task_id in layout.task_inputs() if task_id.sub_topology == part.name)
    likely = list(dict.fromkeys(_partition(question.node, key, count) for key in question.keys))
    if isinstance(keyed_upstream(question.node.keyed), Repartition):
        return [TaskId(part.name, number) for number in likely]
    return [TaskId(part.name, number) for number in dict.fromkeys([*likely, *range(count)])]


def _partition(node: WindowAggregate, key: Any, count: int) -> int:
    wire = key_serde_for(node.key.key_type).encode_one(key)
    return NULL_KEY_PARTITION if wire is None else partition_for(wire, count)


# ---- the answer


def answer(source: TaskSource, layout: Layout, question: Question) -> Answer:
    """What is known of the window. `DeclarationError`: no window of the aggregate starts there."""
    window = question.node.window
    if question.start_ms is not None:
        _check_start(question.node, question.start_ms, question.end_ms)
    first: tuple[Task, list[tuple[Any, Row]]] | None = None
    for task_id in tasks_of(layout, question):
        task = source.task(task_id)
        rows = _open_rows(task, question)
        first = first or (task, rows)
        if rows:
            first = (task, rows)
            break
    assert first is not None  # noqa: S101 - there is at least one task
    task, rows = first
    operator = task.chain.aggregates[question.node.name]
    if not window.closed_by_time:
        return _timeless(source, task, operator, question, rows)
    key, row = _chosen(rows, question, window)
    start_ms, end_ms = _bounds(operator, row, question)
    delay = delays(task.chain)[id(operator)]
    closes_at = None if end_ms is None else window.closes_at(end_ms)
    task_view = look(source, task, (closes_at if closes_at is not None else operator.progress.frontier) + delay)
    passed = task_view.has_ended or (end_ms is not None and end_ms <= operator.progress.closed_through)
    state = WindowState.CLOSED if passed else WindowState.OPEN if row is not None else WindowState.EMPTY
    others = tuple(_span(each) for _, each in rows if each is not row)
    return Answer(
        question.node.name, key, state, start_ms, end_ms, closes_at, window.grace_ms, task_view, row, others,
        source.is_live, question.node.key.key_type is not None,
    )  # fmt: skip


def _timeless(
    source: TaskSource, task: Task, operator: AggregateOperator, question: Question, rows: Sequence[tuple[Any, Row]]
) -> Answer:
    """Of a window that time does not close."""
    key, row = rows[0] if rows else (question.keys[0], None)
    view = look(source, task, task.time.watermark())
    state = WindowState.CLOSED if view.has_ended else WindowState.OPEN if row is not None else WindowState.EMPTY
    wanted = operator.store.wanted(key) if isinstance(operator, CountAggregateOperator) else None
    is_keyed = question.node.key.key_type is not None
    return Answer(
        question.node.name, key, state, None, None, None, 0, view, row, (), source.is_live, is_keyed, wanted, closed_by_time=False
    )


def _check_start(node: WindowAggregate, start_ms: int, end_ms: int | None) -> None:
    if not MIN_TIMESTAMP <= start_ms <= MAX_TIMESTAMP:
        raise DeclarationError(f"{start_ms} ms is no event time: it is outside the years 101 to 9899")
    window = node.window
    if not window.closed_by_time:
        raise DeclarationError(f"aggregate '{node.name}': {window} has no start that names it: ask for KEY@, without a START")
    if isinstance(window, SessionWindow | RecordWindow):  # they may start at any millisecond
        return
    end = _first_end(window, start_ms)
    found = window.start_of(end)
    if found != start_ms:
        following = window.start_of(window.next_end(end)) if not isinstance(window, CumulatingWindow) else found + window.size_ms
        raise DeclarationError(
            f"aggregate '{node.name}': no window of {window} starts at {instant(start_ms)}; near it one starts at "
            f"{instant(found)}, another at {instant(following)}"
        )
    if end_ms is not None and end_ms not in _ends(window, start_ms):
        known = ", ".join(instant(each) for each in _ends(window, start_ms)[:20])
        raise DeclarationError(
            f"aggregate '{node.name}': no window of {window} from {instant(start_ms)} ends at {instant(end_ms)}; it may end at: "
            f"{known}"
        )


def _first_end(window: Window, instant_ms: int) -> int:
    """The end of the window that starts there, or of the last one that starts before."""
    at = np.array([instant_ms], np.int64)
    if isinstance(window, CumulatingWindow):
        return int(window.pane_ends(at)[0])
    return int(window.last_window_end(window.pane_ends(at))[0])


def _ends(window: Window, start_ms: int) -> list[int]:
    if isinstance(window, RecordWindow):
        return [start_ms + window.longest_ms]
    if isinstance(window, CumulatingWindow):
        return list(range(start_ms + window.step_ms, start_ms + window.size_ms + 1, window.step_ms))
    return [_first_end(window, start_ms)]


def _open_rows(task: Task, question: Question) -> list[tuple[Any, Row]]:
    """The key's open windows, oldest first, each with the key that it was found under."""
    wanted = {_exact(key) for key in question.keys}
    found: list[tuple[Any, Row]] = []
    for batch in task.chain.aggregates[question.node.name].open_results():
        keys = batch.keys if isinstance(batch.keys, list) else batch.keys.tolist()
        found += [
            (key, Row(row)) for key, exact, row in zip(keys, exact_keys(list(keys)), batch.rows(), strict=True) if exact in wanted
        ]
    return sorted(found, key=lambda each: _span(each[1])) if question.node.window.has_bounds else found


def _span(row: Row) -> tuple[int, int]:
    start, end = (instants.micros_of(row[name]) // 1000 for name in ("window_start", "window_end"))
    return start, end


def _chosen(rows: Sequence[tuple[Any, Row]], question: Question, window: Window) -> tuple[Any, Row | None]:
    for key, row in rows:
        start, end = _span(row)
        if question.start_ms is None:
            return key, row
        inside = isinstance(window, SessionWindow) and start <= question.start_ms < end
        if (inside or start == question.start_ms) and question.end_ms in (None, end):
            return key, row
    return (rows[0][0] if rows else question.keys[0]), None


def _bounds(operator: AggregateOperator, row: Row | None, question: Question) -> tuple[int | None, int | None]:
    """Start and end of the window that is meant."""
    if row is not None:
        return _span(row)
    if question.start_ms is None:
        return None, None
    if isinstance(operator.window, SessionWindow):
        return question.start_ms, question.start_ms + operator.window.gap_ms
    if question.end_ms is not None:
        return question.start_ms, question.end_ms
    ends = _ends(operator.window, question.start_ms)
    return question.start_ms, next((end for end in ends if end > operator.progress.closed_through), ends[-1])


def instant(ms: int) -> str:
    """RFC 3339 in UTC, as results have it."""
    return instants.datetime_of(ms * 1000).isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")


def instant_ms(text: str | int | datetime) -> int:
    """Milliseconds since 1970 UTC of a time with its zone, or of the number itself. `ValueError`: it is neither."""
    if isinstance(text, int):
        return text
    if isinstance(text, datetime):
        return instants.micros_of(text) // 1000
    if text.removeprefix("-").isdecimal():
        return int(text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone; write Z behind it for UTC, or an offset such as +03:00")
    return instants.micros_of(moment) // 1000


def parsed(text: str) -> tuple[str, int | None, int | None]:
    """``KEY@START`` or ``KEY@START/END``: the key's text, and its bounds in milliseconds; no START means the oldest open window.
    `ValueError` says what is wrong.

    >>> parsed("A@2020-04-15T08:00:00Z"), parsed("me@example.org@0/60000"), parsed("A@")
    (('A', 1586937600000, None), ('me@example.org', 0, 60000), ('A', None, None))
    """
    key, at, bounds = text.rpartition("@")
    if not at:
        raise ValueError(
            f"{text!r} has no @: write KEY@START such as 'A@2020-04-15T08:00:00Z', or KEY@ for its oldest open window"
        )
    start, slash, end = bounds.partition("/")
    try:
        return key, instant_ms(start) if start else None, instant_ms(end) if slash else None
    except ValueError as error:
        raise ValueError(
            f"{bounds!r} behind the last @ is no START: {error}; write a time with its zone such as 2020-04-15T08:00:00Z, or "
            "milliseconds since 1970"
        ) from None
