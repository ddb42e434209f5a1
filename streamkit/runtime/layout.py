"""The plan laid out on a cluster: the tasks of each sub-topology, the partitions they read, the internal topics that takes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from streamkit.errors import TopicError
from streamkit.eventtime.generators import GeneratedWatermark
from streamkit.eventtime.inputs import TaskTime
from streamkit.eventtime.watermark import PartitionWatermark
from streamkit.eventtime.windows import Window
from streamkit.kafka.client import TopicInfo, TopicPartition
from streamkit.operators.chain import build_chain
from streamkit.operators.operator import Failures, Output
from streamkit.plan import names
from streamkit.plan.nodes import EventTime, Globally, Repartition
from streamkit.plan.topology import SubTopology, Topology
from streamkit.runtime.decide.topics import Use
from streamkit.runtime.task import InputName, InputPosition, Task, TaskId
from streamkit.stages import Stages


class Layout:
    """``source_partitions``: partition count of every source topic. TopicError where counts do not fit together."""

    def __init__(self, topology: Topology, source_partitions: Mapping[str, int]) -> None:
        self.topology = topology
        self._partitions: dict[str, int] = dict(source_partitions)
        self._widths: dict[str, int] = {}  # the largest number of partitions among a part's inputs
        self._tasks: dict[str, int] = {}
        self._parts = {part.name: part for part in topology.parts}
        self.found: dict[str, TopicInfo] = {}
        """All topics of the plan as the cluster described them when they were checked."""
        for part in topology.parts:  # upstream before downstream
            self._lay_out(part)

    def _lay_out(self, part: SubTopology) -> None:
        sources = {source.topic.name: self._partitions[source.topic.name] for source in part.sources}
        if len(set(sources.values())) > 1 and (part.stores or part.reads):
            counts = ", ".join(f"{topic} has {count}" for topic, count in sources.items())
            raise TopicError(
                f"sub-topology '{part.name}' brings records of one key together, so its topics need equal partition counts: "
                f"{counts}. Use key_by(...) on one of the streams, or recreate a topic with the same number"
            )
        count = max(sources.values(), default=0) or max((self._wanted_by(r) for r in part.reads), default=0)
        if any(isinstance(r, Globally) for r in part.reads) and count > 1:
            raise TopicError(
                f"sub-topology '{part.name}' merges a globally() stream with partitioned ones; give both the same keys"
            )
        self._widths[part.name] = count
        self._tasks[part.name] = count if self._goes_together(part) else sum(sources.values())
        for repartition in part.reads:  # as many as the sources beside it have, or a key would be in two tasks
            self._partitions[self.topic_of(repartition)] = count

    def _wanted_by(self, repartition: Repartition) -> int:
        return 1 if isinstance(repartition, Globally) else self._widths[self.topology.writer_of(repartition).name]

    def _goes_together(self, part: SubTopology) -> bool:
        """Whether partition n of every input makes task n. Topics of unequal counts are assigned apart: with two workers 4 and 2
        partitions go as 0-1, 2-3 and as 0, 1, so that nobody would own partition 1 of both. Then each partition is a task."""
        return len({self._partitions[source.topic.name] for source in part.sources}) <= 1

    # ---- topics

    def topic_of(self, repartition: Repartition) -> str:
        return names.repartition_topic(self.topology.plan.app, repartition.name)

    def partitions_of(self, topic: str) -> int:
        return self._partitions[topic]

    def topics(self) -> list[str]:
        """All that the group consumes."""
        return sorted({tp.topic for inputs in self.task_inputs().values() for tp in inputs})

    def repartition_topics(self) -> dict[str, int]:
        """Name -> partitions."""
        return {topic: self._partitions[topic] for part in self.topology.parts for topic in map(self.topic_of, part.reads)}

    def internal_topics(self) -> dict[str, tuple[Use, int]]:
        """Name -> (use, partitions)."""
        changelogs = {name: (Use.CHANGELOG, count) for name, count in self.changelog_topics().items()}
        return changelogs | {name: (Use.REPARTITION, count) for name, count in self.repartition_topics().items()}

    def changelog_topics(self) -> dict[str, int]:
        """Name -> partitions."""
        topics: dict[str, int] = {}
        for part in self.topology.parts:
            owners = [store.name for store in part.stores] or ([part.reads[0].name] if self._keeps_time(part) else [])
            topics |= {names.changelog_topic(self.topology.plan.app, name): self._tasks[part.name] for name in owners}
        return topics

    @staticmethod
    def _keeps_time(part: SubTopology) -> bool:
        """R18: a stateless reader of a repartition topic whose own time is wanted further down keeps it in a changelog."""
        return bool(part.reads) and bool(part.writes) and not part.stores

    # ---- tasks

    def task_inputs(self) -> dict[TaskId, tuple[TopicPartition, ...]]:
        return self._task_inputs

    @cached_property
    def _task_inputs(self) -> dict[TaskId, tuple[TopicPartition, ...]]:
        return {
            TaskId(part.name, number): inputs
            for part in self.topology.parts
            for number, inputs in enumerate(self._inputs_of(part))
        }

    def _inputs_of(self, part: SubTopology) -> list[tuple[TopicPartition, ...]]:
        topics = [*(source.topic.name for source in part.sources), *map(self.topic_of, part.reads)]
        if self._goes_together(part):
            return [tuple(TopicPartition(topic, number) for topic in topics) for number in range(self._tasks[part.name])]
        return [(TopicPartition(topic, number),) for topic in topics for number in range(self._partitions[topic])]

    @property
    def longest_open_ms(self) -> int:
        """How far time may have to move until every window is closed: through windows over windows, the sum of all."""
        stores = [store for part in self.topology.parts for store in part.stores]
        return sum(store.window.longest_ms + store.window.grace_ms for store in stores)

    def windows_behind(self, repartition: Repartition) -> tuple[Window, ...]:
        """The windows that wait for time through this repartition topic."""
        return tuple(store.window for store in self.topology.reader_of(repartition).stores)

    def task(self, task_id: TaskId, output: Output, failures: Failures, incarnation: str, stages: Stages | None = None) -> Task:
        """A fresh task, without state."""
        part = self._parts[task_id.sub_topology]
        inputs = self._task_inputs[task_id]
        sources = {source.topic.name: source.event_time for source in part.sources}
        positions = {}
        for tp in inputs:
            event_time = sources.get(tp.topic)
            positions[tp] = InputPosition(
                tp,
                watermark=None if event_time is None else _watermark(event_time),
                idle_after_ms=None if event_time is None else event_time.idle_after_ms,
            )
        timed: list[InputName] = [tp for tp in inputs if tp.topic in sources]
        for repartition in part.reads:
            writer = self.topology.writer_of(repartition).name
            timed += [(self.topic_of(repartition), writer, number) for number in range(self._tasks[writer])]
        chain = build_chain(self.topology, part, output, failures, stages)
        own = {tp.topic for tp in inputs}
        waits = [event_time.advance_when_idle_ms for topic, event_time in sources.items() if topic in own]
        return Task(
            task_id, part, self.topology.plan.app, chain, positions, TaskTime(timed), incarnation,
            advance_when_idle_ms=None if not waits or None in waits else max(wait for wait in waits if wait is not None),
            keeps_time=self._keeps_time(part),
        )  # fmt: skip


def _watermark(event_time: EventTime) -> PartitionWatermark:
    """Of a partition of which nothing was read."""
    if event_time.watermark is None:
        return PartitionWatermark(event_time.out_of_orderness_ms)
    return GeneratedWatermark(0, rule=event_time.watermark)
