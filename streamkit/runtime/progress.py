"""Records wait in a partition that is ours, and nothing is committed of it: no error says so by itself.

A partition may stand still because it is at its end, because only control records are left, or because a transaction in front of
it is open: none of that is a fault here. So a standstill is proven before it is raised: a fresh reader, from the position where
the worker stands, is given a record.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from streamkit.clock import Clock
from streamkit.errors import RetriableError, StalledError
from streamkit.instrument import Instrument
from streamkit.kafka.client import Admin, KafkaClient, TopicPartition
from streamkit.runtime.task import Task, TaskState

_LOOKS: Final = 8
"""Within the bound. Between two looks at most twice their interval counts: a process that was stopped had no chance to go on."""

_TIMEOUT_S: Final = 1.0
_PROOF_POLLS: Final = 4
_PROOF_POLL_S: Final = 0.5
_START_AGAIN: Final = (
    "Start the worker again (--workers and a container's restart policy do); if it stands still again, report it with the log"
)
_COMMITTED: Final = "committed"
"""The call by which a consumer is asked where its group stands."""
NOT_STARTED: Final = -1
"""The place of a partition whose task does not run yet."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a question came to that Kafka did not answer, of which client call. Not the error, whose traceback has the tasks."""

    call: str
    text: str


@dataclass(slots=True)
class _Stand:
    place: int
    stood_s: float = 0.0


class Standstill:
    """For how long each partition has stood at its place, as looks see it. Pure: it is told places and time."""

    def __init__(self, bound_s: float, every_s: float) -> None:
        self._bound_s = bound_s
        self._most_s = 2 * every_s
        self._stands: dict[TopicPartition, _Stand] = {}
        self._looked: float | None = None

    def look(self, now: float, places: Mapping[TopicPartition, int], owned: Collection[TopicPartition]) -> list[TopicPartition]:
        """The partitions that have stood for longer than the bound.

        A place is compared with the furthest one before: a worker that goes back to what is committed, again and again, gets
        nowhere. A partition that is ours and has no place at this look (its state is being restored) is not counted in it.
        """
        passed = 0.0 if self._looked is None else min(now - self._looked, self._most_s)
        self._looked = now
        self._stands = {tp: stand for tp, stand in self._stands.items() if tp in owned}
        for tp, place in places.items():
            stand = self._stands.get(tp)
            if stand is None or place > stand.place:
                self._stands[tp] = _Stand(place)
            else:
                stand.stood_s += passed
        return [tp for tp in places if self._stands[tp].stood_s > self._bound_s]

    def stood_s(self, tp: TopicPartition) -> float:
        return self._stands[tp].stood_s

    def place(self, tp: TopicPartition) -> int:
        return self._stands[tp].place

    def excuse(self, tp: TopicPartition) -> None:
        """There is nothing to be had at its place."""
        self._stands[tp].stood_s = 0.0


class Progress:
    """Looks at the positions of a worker's partitions every so often. `StalledError`: one stands still without a reason."""

    def __init__(self, client: KafkaClient, admin: Admin, clock: Clock, bound_s: float, instrument: Instrument) -> None:
        self._client = client
        self._admin = admin
        self._clock = clock
        self._instrument = instrument
        self._every_s = bound_s / _LOOKS
        self._standstill = Standstill(bound_s, self._every_s)
        self._next = clock.monotonic() + self._every_s

    def look(
        self,
        tasks: Iterable[Task],
        owned: Collection[TopicPartition],
        held: Collection[TopicPartition] = (),
        *,
        restoring: bool,
        trouble: Trouble | None = None,
    ) -> None:
        """``held`` are not read on purpose, and whoever holds them has a bound for it; ``trouble``: why tasks do not start."""
        now = self._clock.monotonic()
        if now < self._next:
            return
        self._next = now + self._every_s
        places = places_of(tasks)
        if not restoring:  # a restore has a deadline of its own
            at_work = {tp for task in tasks if task.state in (TaskState.RUNNING, TaskState.ENDED) for tp in task.inputs}
            places |= {tp: NOT_STARTED for tp in owned if tp not in at_work}
        for tp in held:
            places.pop(tp, None)
        suspects = self._standstill.look(now, places, owned)
        if suspects:
            self._judge(suspects, trouble)

    def _judge(self, suspects: list[TopicPartition], trouble: Trouble | None) -> None:
        try:
            ends = self._admin.end_offsets(suspects, _TIMEOUT_S)
        except RetriableError:  # that Kafka does not answer is told elsewhere, and waited for; afterwards they get their time
            for tp in suspects:
                self._standstill.excuse(tp)
            return
        waiting = {}
        for tp in suspects:
            place = self._standstill.place(tp)
            if place >= ends[tp] or ends[tp] == 0:
                self._standstill.excuse(tp)
            elif place == NOT_STARTED:
                raise self._not_started(tp, ends[tp], trouble)
            else:
                waiting[tp] = place
        for tp, offset in self._readable(waiting).items():
            if offset is not None:
                what = f"the record at offset {offset} can be read, but nothing is committed of it"
                raise self._stalled(tp, waiting[tp], ends[tp], what)
            self._standstill.excuse(tp)
            self._instrument.event("held-up", topic=tp.topic, partition=tp.partition, position=waiting[tp], end=ends[tp])

    def _readable(self, waiting: Mapping[TopicPartition, int]) -> dict[TopicPartition, int | None]:
        """The first record at or behind each place; None where a reader comes to the end without one. What gave no answer is left
        out."""
        found: dict[TopicPartition, int | None] = {}
        if not waiting:
            return found
        reader = self._client.reader()
        try:
            reader.assign(waiting)
            for _ in range(_PROOF_POLLS):
                polled = reader.poll(1, _PROOF_POLL_S)
                for tp in polled.ends:
                    found.setdefault(tp, None)
                for batch in polled.batches:
                    found[batch.tp] = batch.first_offset
                if len(found) == len(waiting):
                    break
        except RetriableError:
            return {tp: offset for tp, offset in found.items() if offset is not None}
        finally:
            reader.close()
        return found

    def _not_started(self, tp: TopicPartition, end: int, trouble: Trouble | None) -> StalledError:
        what = "no task could be started for it"
        if trouble is None:
            return self._stalled(tp, NOT_STARTED, end, what)
        what = f"{what}; lately: {trouble.text}"
        if trouble.call != _COMMITTED:
            return self._stalled(tp, NOT_STARTED, end, what)
        tool = f"kafka-transactions.sh --bootstrap-server {self._client.describe()}"
        hint = (
            "Kafka answers, but not where the group stands. If the group's coordinator is up, a transaction that nobody ends "
            f"holds the positions, and starting again does not help. `{tool} find-hanging --broker-id N "
            f"--max-transaction-timeout 1`, for each broker, lists where it is open, and `{tool} abort --topic T --partition P "
            "--start-offset O` ends it there: do that for every line"
        )
        return self._stalled(tp, NOT_STARTED, end, what, hint)

    def _stalled(self, tp: TopicPartition, place: int, end: int, what: str, hint: str = _START_AGAIN) -> StalledError:
        seconds = self._standstill.stood_s(tp)
        where = "" if place == NOT_STARTED else f" at offset {place}"
        return StalledError(
            f"{tp} is assigned to this worker and has records up to offset {end}, but has stood still{where} for "
            f"{seconds:.0f} s: {what}. {hint}",
            topic=tp.topic,
            partition=tp.partition,
            position=place,
            end=end,
            seconds=seconds,
        )


def places_of(tasks: Iterable[Task]) -> dict[TopicPartition, int]:
    """How far each partition of the running tasks is committed, or is known to have nothing more."""
    return {
        tp: max(task.last_committed[tp].offset if tp in task.last_committed else 0, position.caught_up_at)
        for task in tasks
        if task.state is TaskState.RUNNING
        for tp, position in task.inputs.items()
        if not position.at_end
    }
