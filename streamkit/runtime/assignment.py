"""Which partitions are ours, and since when: the rebalance listener and the ownership epochs (R8, R9, R11, R12).

Inside a callback nothing is read and nothing is restored: `on_assigned` notes, the next step acts. `on_revoked` lets the worker
commit while the partitions are still ours. An epoch is counted up whenever a partition comes or goes, so that a transaction which
began under another ownership is never committed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from streamkit.kafka.client import TopicPartition


class Assignment:
    """Implements kafka.client.RebalanceListener."""

    def __init__(self, before_revoke: Callable[[], None], dropped: Callable[[Sequence[TopicPartition]], None]) -> None:
        self._before_revoke = before_revoke
        self._dropped = dropped
        self._epochs: Counter[TopicPartition] = Counter()
        self.owned: set[TopicPartition] = set()
        self.changed = False

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self._epochs.update(partitions)
        self.owned.update(partitions)
        self.changed = True

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self._before_revoke()
        self._gone(partitions)

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        self._gone(partitions)

    def _gone(self, partitions: Sequence[TopicPartition]) -> None:
        self._epochs.update(partitions)
        self.owned.difference_update(partitions)
        self.changed = True
        self._dropped(partitions)

    def epochs(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The present epochs; `owned` partitions only have meaningful ones."""
        return {tp: self._epochs[tp] for tp in partitions if tp in self.owned}
