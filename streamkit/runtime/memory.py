"""Window state stays below `memory_limit_mb`: who runs ahead in time waits, and what cannot be helped is an error.

    LOW ──80 % of the limit──> HIGH ──60 %──> LOW            HIGH ──the limit, or no help in sight──> StateLimitError

Records make state, and time takes it away, as windows close. So those partitions are held that are ahead in time of others whose
time closes the same windows: they fill windows that cannot close yet. The one that is behind all others is never held, for its
records are what closes them; to hold all would keep all state for ever. Where a task's time comes from one partition alone there
is nothing to hold: its windows are as large as they are, and only the limit counts.

Parked tasks (parking.py) take memory, too, but can be done without: where they and what is at work come to the limit together,
they are given up, and restored if they come back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Final

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import StateLimitError
from streamkit.eventtime.inputs import InputState
from streamkit.instrument import Instrument
from streamkit.kafka.client import TopicPartition
from streamkit.plan.topology import Topology
from streamkit.runtime.alignment import meeting
from streamkit.runtime.pauses import Pauses
from streamkit.runtime.task import InputPosition, Task
from streamkit.runtime.task_set import TaskSet
from streamkit.state.footprint import footprint

HOLD, RELEASE = 0.8, 0.6
"""Shares of the limit. To pause and resume costs a client what it has fetched ahead, so they lie apart."""

_MEGABYTE: Final = 1_000_000
_LOOK_EVERY_S: Final = 0.1
_SHARE: Final = 50
"""A look may take a fiftieth of the time between two."""

_LOOKS: Final = 8
"""Of a gap between two looks no more counts than this share of the time that a standstill may last (as in progress.py)."""

_REASON: Final = "memory_limit_mb"


def state_bytes(tasks: Collection[Task]) -> dict[str, int]:
    """Bytes of the state of these tasks, by store: open windows, what was changed and not yet told, the directory of changelog
    blocks."""
    found: dict[str, int] = {}
    for task in tasks:
        for name, operator in task.chain.aggregates.items():
            found[name] = found.get(name, 0) + footprint(*vars(operator).values(), task.changelogs[name])
    return found


class MemoryLimit:
    """`look` after every step; does nothing where there is no limit."""

    def __init__(
        self,
        topology: Topology,
        tasks: TaskSet,
        pauses: Pauses,
        clock: Clock,
        settings: EngineSettings,
        instrument: Instrument,
        parked: Collection[Task],
        give_up_parked: Callable[[], None],
    ) -> None:
        self._tasks = tasks
        self._parked = parked
        self._give_up_parked = give_up_parked
        self._pauses = pauses
        self._clock = clock
        self._limit = None if settings.memory_limit_mb is None else settings.memory_limit_mb * _MEGABYTE
        self._patience_s = settings.stalled_after_ms / 1000
        self._instrument = instrument
        self._meeting = meeting(topology)
        self._next = 0.0
        self._is_high = False
        self._stands: tuple[int, ...] = ()
        self._since = 0.0

    def look(self) -> None:
        if self._limit is None or (now := self._clock.monotonic()) < self._next:
            return
        # While Kafka was away nobody looked, and nobody could give anything.
        self._since += max(0.0, now - self._next - self._patience_s / _LOOKS)
        sizes = state_bytes(tuple(self._tasks.at_work()))
        total = sum(sizes.values())
        if self._parked and total + sum(state_bytes(self._parked).values()) >= self._limit:
            self._give_up_parked()
        after = self._clock.monotonic()
        self._next = after + max(_LOOK_EVERY_S, _SHARE * (after - now))
        if total >= self._limit:
            raise StateLimitError(f"{_told(sizes, self._limit)}. {_WHAT_TO_DO}")
        if total >= (RELEASE if self._is_high else HOLD) * self._limit:
            self._hold(sizes, after)
        elif self._is_high:
            self._is_high = False
            self._pauses.hold(_REASON, ())
            self._instrument.event("memory-released", bytes=total, limit=self._limit)

    def _hold(self, sizes: dict[str, int], now: float) -> None:
        assert self._limit is not None  # noqa: S101 - see look
        ahead, behind = self._ahead()
        self._pauses.hold(_REASON, ahead)
        stands = tuple(_watermark(position) for position in behind)
        if not self._is_high:
            self._instrument.event(
                "memory-high",
                bytes=sum(sizes.values()),
                limit=self._limit,
                stores={name: sizes[name] for name in sorted(sizes, key=lambda name: -sizes[name])},
                partitions=sorted(map(str, ahead)),
                waits_for=", ".join(str(position.tp) for position in behind),
            )
        if not self._is_high or stands != self._stands:
            self._is_high, self._stands, self._since = True, stands, now
        elif ahead and now - self._since > self._patience_s:
            waits = ", ".join(f"{position.tp} (at offset {position.next_offset})" for position in behind)
            raise StateLimitError(
                f"{_told(sizes, self._limit)}. Its windows wait for {waits}, which has given nothing for "
                f"{now - self._since:.0f} s, while the others are held back. If it is silent for long, give its event time an "
                "idle_after, so that time goes on without it; else raise memory_limit_mb"
            )

    def _ahead(self) -> tuple[list[TopicPartition], list[InputPosition]]:
        """The partitions that are ahead of others which close the same windows, and those others, the last of each group."""
        groups: dict[Hashable, list[InputPosition]] = {}
        for task in self._tasks.running():
            active = [position for position in task.inputs.values() if _counts(task, position)]
            groups.setdefault(self._meeting.get(task.id.sub_topology, task.id), []).extend(active)
        ahead: list[TopicPartition] = []
        behind: list[InputPosition] = []
        for members in groups.values():
            if len(members) > 1:
                last = min(members, key=_watermark)
                further = [position.tp for position in members if _watermark(position) > _watermark(last)]
                ahead += further
                behind += [last] if further else []
        return ahead, behind


def _counts(task: Task, position: InputPosition) -> bool:
    """Whether time waits for it: it is a source's, and neither idle nor at its end."""
    return position.watermark is not None and task.time.inputs[position.tp].state is InputState.ACTIVE and not position.at_end


def _watermark(position: InputPosition) -> int:
    assert position.watermark is not None  # noqa: S101 - only those of sources are looked at
    return position.watermark.watermark


_WHAT_TO_DO: Final = (
    "It is made of the windows that are open at a time: shorten them or their grace, use fewer keys or aggregates that keep "
    "numbers, share the partitions among more workers, or raise memory_limit_mb"
)


def _told(sizes: dict[str, int], limit: int) -> str:
    largest: Sequence[str] = sorted(sizes, key=lambda name: -sizes[name])
    total, most = sum(sizes.values()) / _MEGABYTE, sizes[largest[0]] / _MEGABYTE
    others = "" if len(largest) == 1 else f", of all stores {total:,.1f} MB"
    return (
        f"window state is close to its limit or at it: that of '{largest[0]}' takes {most:,.1f} MB{others}, "
        f"and memory_limit_mb is {limit // _MEGABYTE:,}"
    )
