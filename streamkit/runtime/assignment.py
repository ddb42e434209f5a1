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

    def __init__(
        self,
        before_revoke: Callable[[], None],
        revoked: Callable[[Sequence[TopicPartition]], None],
        lost: Callable[[Sequence[TopicPartition]], None],
    ) -> None:
        self._before_revoke = before_revoke
        self._revoked = revoked
        self._lost = lost
        self._epochs: Counter[TopicPartition] = Counter()
        self.owned: set[TopicPartition] = set()
        self.changed = False
        self._silent = False
        self.complete = False  # the group has said last what we get, not what it takes

    def silence(self) -> None:
        """Nothing of what the group says counts any more: the worker is given up."""
        self._silent = True

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self._epochs.update(partitions)
        self.owned.update(partitions)
        self.changed = self.complete = True

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        if self._silent:
            return
        self._before_revoke()
        self._gone(partitions)
        self._revoked(partitions)

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        if self._silent:
            return
        self._gone(partitions)
        self._lost(partitions)

    def _gone(self, partitions: Sequence[TopicPartition]) -> None:
        self._epochs.update(partitions)
        self.owned.difference_update(partitions)
        self.changed, self.complete = True, False

    def epochs(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The present epochs; `owned` partitions only have meaningful ones."""
        return {tp: self._epochs[tp] for tp in partitions if tp in self.owned}
