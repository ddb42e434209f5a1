"""The time of a task as people look at it: every input with its watermark, and the one that holds time back.

It looks at tasks wherever they are: in a worker that runs, or made from what Kafka holds of them (stored.py). Of an input that
is a task upstream, behind a repartition topic, it goes on looking there, down to the partition of a source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from streamkit.eventtime.inputs import InputState
from streamkit.eventtime.watermark import NO_TIME, PartitionWatermark
from streamkit.kafka.client import TopicPartition
from streamkit.operators.aggregate import AggregateOperator
from streamkit.operators.chain import Chain
from streamkit.operators.operator import Operator
from streamkit.runtime.task import InputName, Task, TaskId, Upstream


@dataclass(frozen=True, slots=True)
class PartitionView:
    """What is in a partition of a source. ``waiting`` records, control records included, lie behind the position (0: it is read
    to its end); ``last_written_ms`` is the Kafka timestamp of the last record in front of it, None where that is gone."""

    position: int
    waiting: int
    last_written_ms: int | None = None


class TaskSource(Protocol):
    """Where tasks are looked at."""

    is_live: bool
    """Whether states of inputs (idle, ended) are known; Kafka does not hold them."""

    def task(self, task_id: TaskId) -> Task: ...
    def partition(self, task: Task, tp: TopicPartition) -> PartitionView: ...
    def has_ended(self, task: Task) -> bool:
        """Whether it has come to the end of its input, and closed everything."""
        ...

    def committed_ms(self, task_id: TaskId) -> int | None:
        """Wall time of the last commit that changed the task's state; None where that is not known."""
        ...


@dataclass(frozen=True, slots=True)
class InputView:
    """One input of a task. Times are milliseconds since 1970 UTC.

    ``short_ms``: how far its watermark is short of what is needed, 0 if it is not. ``needs_ms``: the event time of a record in it
    that would be enough; None where a rule of the user's makes the watermark. It, ``latest_ms`` (the largest event time so far),
    ``partition`` and ``idle_after_ms`` are of source partitions. Of a task upstream there are ``topic``, through which it tells,
    ``waiting``, the records there that were not read, and where it holds time back ``upstream``, the task itself.
    """

    name: str
    watermark_ms: int
    state: InputState
    short_ms: int
    needs_ms: int | None = None
    latest_ms: int = NO_TIME
    partition: PartitionView | None = None
    idle_after_ms: int | None = None
    topic: str | None = None
    waiting: int = 0
    upstream: TaskView | None = None


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task's time, and what has to come for it to reach ``needed_ms``. ``holder`` is the input that holds it back."""

    task: TaskId
    watermark_ms: int
    needed_ms: int
    inputs: tuple[InputView, ...]
    holder: InputView | None
    has_ended: bool
    committed_ms: int | None
    advance_when_idle_ms: int | None

    @property
    def all_idle(self) -> bool:
        return all(each.state is not InputState.ACTIVE for each in self.inputs)

    @property
    def behind(self) -> tuple[InputView, ...]:
        """The inputs that are short of what is needed and count, the holder first."""
        rest = (each for each in self.inputs if each.short_ms and each.state is InputState.ACTIVE and each is not self.holder)
        return (*(() if self.holder is None else (self.holder,)), *sorted(rest, key=lambda each: each.watermark_ms))


def delays(chain: Chain) -> dict[int, int]:
    """How far the time of each operator, by identity, lies behind that of its task: the graces of the windows before it."""
    own: dict[int, int] = {}
    passed: dict[int, int] = {}
    for operator, inputs in chain.order:
        own[id(operator)] = max((passed[id(one)] for one in inputs), default=0)
        passed[id(operator)] = own[id(operator)] + _delay(operator)
    return own


def _delay(operator: Operator) -> int:
    return operator.window.grace_ms if isinstance(operator, AggregateOperator) else 0


def look(source: TaskSource, task: Task, needed_ms: int) -> TaskView:
    """The task's time, seen by what it needs to reach."""
    reached = task.fired if source.has_ended(task) else task.time.watermark()
    states = {name: each.state for name, each in task.time.inputs.items()}
    if not source.is_live:
        states |= _left_out(task, reached, needed_ms)
    holding = _holding(task, states)
    views = []
    holder = None
    for name, each in task.time.inputs.items():
        short_ms = max(0, needed_ms - each.watermark)
        if isinstance(name, TopicPartition):
            view = _source_input(source, task, name, states[name], needed_ms)
        else:
            upstream = _upstream(source, name, needed_ms) if name == holding and short_ms else None
            view = InputView(
                f"{name[1]}/{name[2]}", each.watermark, states[name], short_ms,
                topic=name[0], waiting=_waiting(source, task, name[0]), upstream=upstream,
            )  # fmt: skip
        views.append(view)
        holder = view if name == holding else holder
    return TaskView(
        task.id, reached, needed_ms, tuple(views), holder,
        source.has_ended(task), source.committed_ms(task.id), task.advance_when_idle_ms,
    )  # fmt: skip


def _left_out(task: Task, reached: int, needed_ms: int) -> dict[InputName, InputState]:
    """Kafka does not hold who is idle. But time that has gone on past an input went on without it; unless all that is left were
    enough for more: time would have gone on further then, so it counts again."""
    behind = {name: InputState.IDLE for name, each in task.time.inputs.items() if each.watermark < reached}
    rest = [each.watermark for name, each in task.time.inputs.items() if name not in behind]
    return behind if reached >= needed_ms or not rest or min(rest) < needed_ms else {}


def _holding(task: Task, states: dict[InputName, InputState]) -> InputName | None:
    """The slowest of the inputs that count; if all are idle the furthest, where time stands then."""
    times = task.time.inputs
    active = [name for name in times if states[name] is InputState.ACTIVE]
    if active:
        return min(active, key=lambda name: times[name].watermark)
    idle = [name for name in times if states[name] is InputState.IDLE]
    return max(idle, key=lambda name: times[name].watermark, default=None)


def _source_input(source: TaskSource, task: Task, tp: TopicPartition, state: InputState, needed_ms: int) -> InputView:
    position = task.inputs[tp]
    assert position.watermark is not None  # noqa: S101 - every source partition has one
    watermark = position.watermark
    reached = task.time.inputs[tp].watermark
    return InputView(
        str(tp), reached, state, max(0, needed_ms - reached),
        needs_ms=needed_ms + watermark.out_of_orderness_ms + 1 if type(watermark) is PartitionWatermark else None,
        latest_ms=watermark.max_timestamp,
        partition=source.partition(task, tp),
        idle_after_ms=position.idle_after_ms,
    )  # fmt: skip


def _waiting(source: TaskSource, task: Task, topic: str) -> int:
    return sum(source.partition(task, tp).waiting for tp in task.inputs if tp.topic == topic)


def _upstream(source: TaskSource, name: Upstream, needed_ms: int) -> TaskView:
    """The task in front of a repartition topic, seen by what it must say there."""
    topic, sub, partition = name
    found = source.task(TaskId(sub, partition))
    own = delays(found.chain)
    delay = next(own[id(writer)] for writer in found.chain.writers if writer.topic == topic)
    return look(source, found, needed_ms + delay)
