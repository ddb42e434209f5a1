"""What is known of a window, in one sentence and a table of the inputs of its task."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from streamkit.eventtime.duration import duration_text
from streamkit.eventtime.inputs import InputState
from streamkit.eventtime.watermark import NO_TIME
from streamkit.runtime.inspect import InputView, TaskView
from streamkit.runtime.open_window import Answer, WindowState, instant

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000))
_NAMED = 3


def sentence(answer: Answer) -> str:
    """Why the window is open, and what would close it; or that it is closed, or empty."""
    match answer.state:
        case WindowState.CLOSED if answer.task.has_ended:
            return f"{_window(answer)} is closed: the app has run to the end of its input (--until-end), which closes everything"
        case WindowState.CLOSED:
            return (
                f"{_window(answer)} is closed: the watermark has passed {_time(answer.closes_at_ms)}. If anything had arrived in "
                "it, its final result was given then; a record that still comes for it is late"
            )
        case WindowState.OPEN if answer.closes_at_ms is None:
            return f"{_window(answer)} is in a window that time does not close: {_timeless(answer)}"
        case WindowState.OPEN:
            return f"{_window(answer)} is open because {_because(answer.task)}"
        case _:
            return f"{_empty(answer)}{_then(answer)}"


def _timeless(answer: Answer) -> str:
    if answer.wanted is None:
        return "it is told by on_update(), and closes only at the end of a bounded input"
    records = "1 more record comes" if answer.wanted == 1 else f"{answer.wanted:,} more records have come"
    waiting = _unread(answer.task)
    unread = f"; of those that have come, some are unread in {waiting}" if waiting else ""
    return f"its next result is given when {records}{unread}"


def _unread(task: TaskView) -> str:
    """Where records wait, or nothing."""
    waiting = [each for each in _sources(task) if _waiting(each)]
    return _list([f"{each.name} ({_records(_waiting(each))})" for each in waiting]) if waiting else ""


def _empty(answer: Answer) -> str:
    if answer.start_ms is not None:
        return f"{_window(answer)} holds nothing, so it would close without a result"
    whose = f"Key {shown(answer.key)} has" if answer.is_keyed else "There is"
    return f"{whose} no open window in aggregate '{answer.aggregate}'"


def _then(answer: Answer) -> str:
    """Of a window in which nothing has arrived: what waits, or how long it may still come."""
    if waiting := _unread(answer.task):
        return f"; but records wait unread in {waiting}, so it may be that what belongs there has not been processed yet"
    if answer.wanted is not None:
        return f"; {_timeless(answer)}"
    if not answer.closed_by_time:
        return "; no record has come for it yet" if answer.is_keyed else "; no record has come yet"
    if answer.closes_at_ms is None:
        return "; what came for it, if anything did, is in windows that have closed, or was late"
    now = _time(answer.task.watermark_ms)
    return f"; it takes records until the watermark is {_time(answer.task.needed_ms)}, and task {answer.task.task} is at {now}"


def _because(task: TaskView) -> str:
    if task.watermark_ms >= task.needed_ms:
        return f"task {task.task} has only just come to {_time(task.watermark_ms)}: it closes with the next commit"
    where = f"task {task.task} is at {_time(task.watermark_ms)}, {_span(task.needed_ms - task.watermark_ms)} short of"
    where = f"{where} {_time(task.needed_ms)}, at which it closes"
    if task.holder is None:
        return f"{where}, and all its inputs have ended: the run is about to close what is open"
    if task.all_idle:
        return f"{where}, and all its inputs are idle, so time stands; {_any_record(task)}"
    return f"{where}, held back by {_held(task, is_alone=True)}{_behind_as_well(task)}"


def _held(task: TaskView, *, is_alone: bool) -> str:
    """By which input, and on to the task upstream if it is one. ``is_alone``: no input counts but those on this path."""
    held = task.holder
    assert held is not None  # noqa: S101 - somebody holds time back
    is_alone = is_alone and not any(each.state is InputState.ACTIVE for each in task.inputs if each is not held)
    if held.topic is not None:
        return _told(held, is_alone=is_alone)
    if held.needs_ms is None:
        return f"{held.name}: {_why(held, is_alone=is_alone)}; the window closes once the watermark of {held.name} gets there"
    return (
        f"{held.name}: {_why(held, is_alone=is_alone)}; "
        f"the window closes once {held.name} has a record of {_time(held.needs_ms)} or later"
    )


def _told(held: InputView, *, is_alone: bool) -> str:
    """A task upstream holds time back: has it not told, is it unread, or what holds that task back?"""
    told = "has told nothing yet" if held.watermark_ms == NO_TIME else f"has told {_time(held.watermark_ms)}"
    link = f"task {held.name}, which {told} through {held.topic}"
    upstream = held.upstream
    if upstream is None or upstream.holder is None:
        return link
    if upstream.watermark_ms >= upstream.needed_ms:
        if held.waiting:
            return (
                f"{link}: it is at {_time(upstream.watermark_ms)} by now, but {_records(held.waiting)} there have not been read"
            )
        return f"{link}: it is at {_time(upstream.watermark_ms)} by now and tells that with one of its next commits"
    if upstream.all_idle:
        return f"{link} and whose inputs are all idle; {_any_record(upstream)}"
    return f"{link} and is held back by {_held(upstream, is_alone=is_alone)}{_behind_as_well(upstream)}"


def _behind_as_well(task: TaskView) -> str:
    rest = [each.name for each in task.behind[1:]]
    if not rest:
        return ""
    named = _list([*rest[:_NAMED], *([f"{len(rest) - _NAMED} more"] if len(rest) > _NAMED else [])])
    return f"; {named} {'is' if len(rest) == 1 else 'are'} short of it as well"


def _why(held: InputView, *, is_alone: bool) -> str:
    """What is known of the source partition that holds time back."""
    written = None if held.partition is None else held.partition.last_written_ms
    since = "" if written is None else f" (the last one was written {instant(written)})"
    waiting = _waiting(held)
    if held.latest_ms != NO_TIME:
        latest = f"its latest record is of {_time(held.latest_ms)}{since}"
    else:
        latest = "no record of it has been read yet" if waiting else "it has had no record yet"
    if waiting:
        wait = "waits" if waiting == 1 else "wait"
        return f"{latest}, and {_records(waiting)} {wait} in it unread (does a worker run, and does it keep up?)"
    if held.idle_after_ms is None:
        return f"{latest}, it is read to its end, and without idle_after a silent partition counts for ever"
    if is_alone:
        return f"{latest}, it is read to its end, and no other input counts, so time stands"
    return f"{latest}, it is read to its end, and it counts until it has been silent for {duration_text(held.idle_after_ms)}"


def _any_record(task: TaskView) -> str:
    needs = min((each.needs_ms for each in _sources(task) if each.needs_ms is not None), default=None)
    record = (
        "the window closes when one moves on" if needs is None else f"the window closes with a record of {_time(needs)} or later"
    )
    if task.advance_when_idle_ms is None:
        return f"{record} (without advance_when_idle time does not move by itself)"
    return f"{record}, or by the wall clock once they have been silent for {duration_text(task.advance_when_idle_ms)}"


def _sources(task: TaskView) -> Iterator[InputView]:
    for each in task.inputs:
        if each.upstream is not None:
            yield from _sources(each.upstream)
        else:
            yield each


# ---- the table


def rows(task: TaskView) -> Iterator[tuple[str, str, str, str, str, str]]:
    """A row for each input of a task and of those upstream that were looked at, the slowest first."""
    for each in sorted(task.inputs, key=lambda each: (each is not task.holder, each.watermark_ms)):
        kept = each.partition
        yield (
            ("* " if each is task.holder and each.short_ms else "  ") + each.name,
            _time(each.watermark_ms),
            f"-{_span(each.short_ms)}" if each.short_ms and each.watermark_ms != NO_TIME else "never" if each.short_ms else "ok",
            each.state.value,
            str(_waiting(each)),
            "" if kept is None or kept.last_written_ms is None else instant(kept.last_written_ms),
        )
    for each in task.inputs:
        if each.upstream is not None:
            yield (f"task {each.upstream.task}", _time(each.upstream.watermark_ms), "", "", "", "")
            yield from rows(each.upstream)


_HEADINGS = ("input", "watermark", "short", "state", "waiting", "last record written")


def text(answer: Answer) -> str:
    """The sentence, the window as it is now, the table of inputs."""
    lines = [sentence(answer) + ".", ""]
    if answer.row is not None:
        values = {name: value for name, value in answer.row.items() if name not in ("window_start", "window_end")}
        lines.append(f"result so far   {json.dumps(values, default=str, ensure_ascii=False)}")
    for start, end in answer.others[:_NAMED]:
        lines.append(f"open as well    {instant(start)} to {instant(end)}")
    if len(answer.others) > _NAMED:
        lines.append(f"                and {len(answer.others) - _NAMED} more windows of this key")
    lines.append(f"task {answer.task.task}: watermark {_time(answer.task.watermark_ms)}, needed {_time(answer.task.needed_ms)}")
    lines.append(_as_of(answer))
    table = [_HEADINGS, *rows(answer.task)]
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEADINGS))]
    lines += ["", *("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)]
    return "\n".join(lines)


def _as_of(answer: Answer) -> str:
    if answer.is_live:
        return "as the worker has it now"
    if answer.task.committed_ms is None:
        return "from Kafka: nothing was committed by this task yet"
    return f"from Kafka: as of its last commit, {instant(answer.task.committed_ms)}; idle is concluded from it, not stored"


def as_dict(answer: Answer) -> dict[str, Any]:
    """For JSON: times are RFC 3339, or null where there are none."""
    return {
        "sentence": sentence(answer) + ".",
        "aggregate": answer.aggregate,
        "key": answer.key,
        "state": answer.state.value,
        "window_start": _or_none(answer.start_ms),
        "window_end": _or_none(answer.end_ms),
        "closes_at": _or_none(answer.closes_at_ms),
        "wanted": answer.wanted,
        "result": answer.row,
        "other_windows": [[instant(start), instant(end)] for start, end in answer.others],
        "task": _task_dict(answer.task),
    }


def _task_dict(task: TaskView) -> dict[str, Any]:
    return {
        "task": str(task.task),
        "watermark": _or_none(task.watermark_ms),
        "needed": _or_none(task.needed_ms),
        "held_back_by": None if task.holder is None or not task.holder.short_ms else task.holder.name,
        "committed": _or_none(task.committed_ms),
        "inputs": [_input_dict(each) for each in task.inputs],
    }


def _input_dict(each: InputView) -> dict[str, Any]:
    kept = each.partition
    return {
        "input": each.name,
        "watermark": _or_none(each.watermark_ms),
        "short_ms": each.short_ms if each.watermark_ms != NO_TIME else None,
        "state": each.state.value,
        "waiting": _waiting(each),
        "latest_event_time": _or_none(each.latest_ms),
        "last_written": None if kept is None else _or_none(kept.last_written_ms),
        "position": None if kept is None else kept.position,
        "needs_record_of": _or_none(each.needs_ms),
        "through": each.topic,
        "upstream": None if each.upstream is None else _task_dict(each.upstream),
    }


# ---- words


def _window(answer: Answer) -> str:
    of_key = f" of key {shown(answer.key)}" if answer.is_keyed else ""
    if answer.start_ms is None or answer.end_ms is None:
        return f"What there is{of_key} in aggregate '{answer.aggregate}'"
    grace = f" (grace {duration_text(answer.grace_ms)})" if answer.grace_ms else ""
    return f"The window from {instant(answer.start_ms)} to {instant(answer.end_ms)}{of_key}{grace}"


def shown(key: Any) -> str:
    return "null" if key is None else repr(key)


def _waiting(each: InputView) -> int:
    return each.waiting if each.partition is None else each.partition.waiting


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"about {count:,} records"


def _time(ms: int | None) -> str:
    return "no time yet" if ms is None or abs(ms) >= -NO_TIME // 2 else instant(ms)


def _or_none(ms: int | None) -> str | None:
    return None if ms is None or abs(ms) >= -NO_TIME // 2 else instant(ms)


def _span(ms: int) -> str:
    """A length of time for people: its two largest units.

    >>> _span(125_000), _span(90_061_000), _span(1_500), _span(2**62)
    ('2m 5s', '1d 1h', '1.5s', 'all')
    """
    if ms >= 2**60:
        return "all"
    for (unit, length), (next_unit, shorter) in zip(_UNITS, (*_UNITS[1:], ("s", 1_000)), strict=True):
        if ms >= length:
            rest = ms % length // shorter
            return f"{ms // length}{unit} {rest}{next_unit}" if rest else f"{ms // length}{unit}"
    return f"{ms / 1000:g}s"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
