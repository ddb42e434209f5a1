"""What the tasks of a worker are at: their time, input by input, and how much is open. Asked of a running worker by SIGUSR1.

It asks nobody and changes nothing. What Kafka does not hold is in it: which inputs are idle, and for how long they are silent.
A task that is still being restored has neither time nor positions yet: of it there is how far its changelogs are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from streamkit.eventtime.inputs import InputState, InputTime
from streamkit.eventtime.watermark import NO_TIME
from streamkit.kafka.client import TopicPartition
from streamkit.runtime.open_window import instant
from streamkit.runtime.task import InputName, Task


def snapshot(tasks: Iterable[Task], now: float, restored: Callable[[Task], dict[str, Any] | None]) -> Iterator[dict[str, Any]]:
    """One for each task, by name; ``now`` is monotonic seconds, ``restored`` says how far a task is that does not run yet."""
    for task in sorted(tasks, key=lambda task: task.id):
        if (so_far := restored(task)) is not None:
            yield {"task": str(task.id), "state": task.state.value, **so_far}
            continue
        inputs = task.time.inputs
        counted = [name for name, each in inputs.items() if each.state is InputState.ACTIVE]
        slowest = min(counted, key=lambda name: inputs[name].watermark, default=None)
        yield {
            "task": str(task.id),
            "state": task.state.value,
            "watermark": _instant(task.fired),
            "held_back_by": None if slowest is None else _label(slowest),
            "inputs": [_input(task, name, each, now) for name, each in inputs.items()],
            "aggregates": {
                name: {"rows": len(operator.store), "late": operator.progress.late_records}
                for name, operator in task.chain.aggregates.items()
            },
        }


def _input(task: Task, name: InputName, each: InputTime, now: float) -> dict[str, Any]:
    told: dict[str, Any] = {"input": _label(name), "watermark": _instant(each.watermark), "state": each.state.value}
    if isinstance(name, TopicPartition):
        position = task.inputs[name]
        told |= {"position": position.next_offset, "silent_s": round(now - position.last_data, 1)}
    return told


def _label(name: InputName) -> str:
    return str(name) if isinstance(name, TopicPartition) else f"{name[1]}/{name[2]}"


def _instant(ms: int) -> str | None:
    return None if ms == NO_TIME else instant(ms)
