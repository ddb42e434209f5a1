"""What this worker's tasks tell downstream of their time: which words are due, and which were said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streamkit.config import EngineSettings
from streamkit.runtime import control
from streamkit.runtime.control import TaskWord
from streamkit.runtime.decide.control import LastWord, due
from streamkit.runtime.layout import Layout
from streamkit.runtime.task import Task, TaskId
from streamkit.runtime.transaction import Transaction


class Word(NamedTuple):
    """A task's word, and the repartition topic that it goes through."""

    topic: str
    word: TaskWord

    @property
    def task(self) -> TaskId:
        return TaskId(self.word.sub_topology, self.word.partition)


class Words:
    """One control record per transaction and downstream partition holds the words of all tasks that have any."""

    def __init__(self, layout: Layout, settings: EngineSettings) -> None:
        self._layout = layout
        self._any = any(part.writes for part in layout.topology.parts)
        self._interval_s = settings.control_interval_ms / 1000
        self._heartbeat_s = settings.heartbeat_ms / 1000
        self._last: dict[tuple[str, TaskId], LastWord] = {}

    def due(self, tasks: Iterable[Task], now: float) -> list[Word]:
        """Those with news, or whose last word is old."""
        if not self._any:  # all tasks are looked through, in every step
            return []
        return [
            Word(writer.topic, word)
            for task in tasks
            if task.chain.writers
            for writer, word in task.words()
            if due(
                word,
                self._last.get((writer.topic, task.id)),
                now=now,
                windows=self._layout.windows_behind(writer.node),
                interval_s=self._interval_s,
                heartbeat_s=self._heartbeat_s,
            )
        ]

    def produce(self, words: Sequence[Word], transaction: Transaction) -> None:
        """Into every partition of the topics: each reader has to hear of all tasks upstream."""
        by_topic: dict[str, list[TaskWord]] = {}
        for topic, word in words:
            by_topic.setdefault(topic, []).append(word)
        for topic, said in by_topic.items():
            value = control.encode(said)
            for partition in range(self._layout.partitions_of(topic)):
                transaction.produce(topic, value, None, partition, control.HEADERS)

    def committed(self, words: Sequence[Word], now: float) -> None:
        for said in words:
            self._last[said.topic, said.task] = LastWord(said.word, now)

    def forget(self, task: Task) -> None:
        """If the task comes back, another worker may have spoken for it meanwhile: then it says everything anew."""
        for key in [key for key in self._last if key[1] == task.id]:
            del self._last[key]

    def forget_all(self) -> None:
        self._last.clear()
