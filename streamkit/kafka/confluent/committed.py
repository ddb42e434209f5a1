"""A committed position as librdkafka gives it, as ours."""

from __future__ import annotations

import confluent_kafka as ck

from streamkit.kafka.client import Committed


def committed_of(found: ck.TopicPartition) -> Committed | None:
    """None where nothing was committed (librdkafka says -1001)."""
    if found.offset < 0:
        return None
    epoch: int | None = found.leader_epoch  # None or -1 where the committer did not know it, whatever the stubs say
    return Committed(found.offset, found.metadata or "", None if epoch is None or epoch < 0 else epoch)
