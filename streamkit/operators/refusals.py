"""Records that a broker refuses for what they are: which input made them is found out, so that `on_error` can be asked (R5).

    a record of topic t is refused ──abort──> replay, in which sinks of t send and wait one by one ──refused again: this input──>
    on_error ──"skip"──> the rest of the batch is tried in the same way, with an abort behind each refusal, and none is committed
    ──abort──> replay without what these inputs send to t ──committed past them──> as before

A replay restores the state of all tasks, so it finds all that is refused of a batch at once, not one after the other.
Only for sinks, and for what comes of a record: a result of a window is of many, and the app's own topics take everything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from streamkit.kafka.client import TopicPartition

Place = tuple[TopicPartition, int]
"""An input record: its partition and offset."""


class Refusals:
    """False while nothing was refused."""

    def __init__(self) -> None:
        self._suspected: set[str] = set()
        self._left_out: defaultdict[str, set[Place]] = defaultdict(set)
        self._found = 0
        self._until: Mapping[TopicPartition, int] = {}

    def __bool__(self) -> bool:
        return bool(self._suspected)

    def suspects(self, topic: str) -> bool:
        """Whether a sink of the topic has to find out which record it is."""
        return topic in self._suspected

    def left_out(self, topic: str) -> AbstractSet[Place]:
        """The inputs of which this topic gets nothing."""
        return self._left_out[topic]

    def leave_out(self, topic: str, place: Place) -> None:
        self._left_out[topic].add(place)

    def may_be_found(self, topic: str, positions: Mapping[TopicPartition, int]) -> bool:
        """Whether another replay up to these positions helps: the first time, and as long as each one finds a record."""
        found = sum(map(len, self._left_out.values()))
        helps = topic not in self._suspected or found > self._found
        self._suspected.add(topic)
        self._found = found
        self._until = {tp: max(at, self._until.get(tp, at)) for tp, at in positions.items()}
        return helps

    def committed(self, positions: Mapping[TopicPartition, int]) -> None:
        """Past the place of the refusal everything is as before."""
        if self._suspected and all(positions.get(tp, at) >= at for tp, at in self._until.items()):
            self._suspected.clear()
            self._left_out.clear()
            self._found, self._until = 0, {}
