"""Asking for committed offsets until no transaction holds any of them pending (rule R13)."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory.client.classify import classified
from streamkit.kafka.memory.client.link import Link
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.requests.offset_fetch import fetch_offsets


def stable_offsets(
    link: Link, call: str, group_id: str, partitions: Sequence[TopicPartition] | None, timeout: float
) -> dict[TopicPartition, Committed | None]:
    """Of the partitions, or of all that the group has offsets of. RetriableError if they stay pending for `timeout`."""
    calling = link.call(call, timeout)
    while True:
        seen = link.version
        try:
            return calling.send("OffsetFetch", fetch_offsets, group_id, partitions)
        except BrokerError as error:
            if error.code != "UNSTABLE_OFFSET_COMMIT" or not link.wait(seen, calling.deadline):
                raise classified(error, call) from error
