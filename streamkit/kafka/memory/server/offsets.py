"""The committed offsets of one group, and those that open transactions hold pending."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory.server.errors import BrokerError

MAX_METADATA_BYTES = 4095  # of a broker with default settings (measured)


class GroupOffsets:
    """Owns what a group has committed. The caller holds the cluster's lock."""

    def __init__(self) -> None:
        self.committed: dict[TopicPartition, Committed] = {}
        self._pending: dict[int, dict[TopicPartition, Committed]] = {}  # by producer id

    def add_pending(self, producer_id: int, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Keeps the offsets of an open transaction until it ends."""
        for tp, committed in offsets.items():
            if len(committed.metadata.encode()) > MAX_METADATA_BYTES:
                raise BrokerError("OFFSET_METADATA_TOO_LARGE", f"{tp}: more than {MAX_METADATA_BYTES} bytes of metadata")
        self._pending.setdefault(producer_id, {}).update(offsets)

    def end_pending(self, producer_id: int, *, commit: bool) -> dict[TopicPartition, Committed]:
        """Makes the offsets of a transaction the committed ones, or drops them; returns them."""
        offsets = self._pending.pop(producer_id, {})
        if commit:
            self.committed.update(offsets)
        return offsets

    def is_pending(self, tp: TopicPartition) -> bool:
        return any(tp in offsets for offsets in self._pending.values())

    def fetch(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Committed | None]:
        """Stable offsets only (require_stable): an open transaction's offset commit blocks its partitions."""
        wanted = list(partitions)
        unstable = [str(tp) for tp in wanted if self.is_pending(tp)]
        if unstable:
            raise BrokerError("UNSTABLE_OFFSET_COMMIT", f"offsets of open transactions: {', '.join(unstable)}")
        return {tp: self.committed.get(tp) for tp in wanted}

    def known_partitions(self) -> list[TopicPartition]:
        """Partitions with a committed or a pending offset."""
        return sorted({tp for offsets in (self.committed, *self._pending.values()) for tp in offsets})

    def forget_topic(self, topic: str) -> None:
        """A deleted topic takes its committed offsets with it."""
        for offsets in (self.committed, *self._pending.values()):
            for tp in [tp for tp in offsets if tp.topic == topic]:
                del offsets[tp]
