"""How far a consumer group is: the records that wait for it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from streamkit.errors import ContainerError
from streamkit.kafka.client import KafkaClient, TopicPartition

_TIMEOUT_S = 30.0


def waiting(client: KafkaClient, group: str, topics: Sequence[str]) -> dict[TopicPartition, tuple[int, int]]:
    """Partitions in which committed records stand behind the group's position: (position, end). Empty: it has caught up.

    A position below the end is not enough: behind the last record may stand a transaction's marker, which nobody is given. So
    where they differ, the log is read.
    """
    admin = client.admin()
    try:
        infos = admin.describe_topics(topics, _TIMEOUT_S)
        if missing := [name for name in topics if infos.get(name) is None]:
            raise ContainerError(f"group '{group}' cannot catch up with {', '.join(missing)}: no such topic")
        partitions = [TopicPartition(name, n) for name, info in infos.items() if info is not None for n in range(info.partitions)]
        committed = admin.group_offsets(group, _TIMEOUT_S)
        starts = admin.start_offsets(partitions, _TIMEOUT_S)
        ends = admin.end_offsets(partitions, _TIMEOUT_S)
    finally:
        admin.close()
    positions = {tp: max(committed[tp].offset if tp in committed else 0, starts[tp]) for tp in partitions}
    behind = {tp: position for tp, position in positions.items() if position < ends[tp]}
    return {tp: (positions[tp], ends[tp]) for tp in _with_records(client, behind)}


def _with_records(client: KafkaClient, positions: dict[TopicPartition, int]) -> list[TopicPartition]:
    """Those in which a committed record stands at or behind the position."""
    if not positions:
        return []
    reader = client.reader()
    found, left = [], dict(positions)
    deadline = time.monotonic() + _TIMEOUT_S
    try:
        reader.assign(positions)
        while left and time.monotonic() < deadline:
            polled = reader.poll(2_000, 0.2)
            found += [batch.tp for batch in polled.batches if len(batch) and left.pop(batch.tp, None) is not None]
            for tp in polled.ends:
                left.pop(tp, None)
    finally:
        reader.close()
    return sorted([*found, *left])


def described(behind: dict[TopicPartition, tuple[int, int]], most: int = 6) -> str:
    """For messages: where how many offsets are left.

    >>> described({TopicPartition("bids", 0): (5, 9)})
    'bids-0 at 5 of 9'
    """
    parts = [f"{tp} at {position} of {end}" for tp, (position, end) in list(behind.items())[:most]]
    return ", ".join(parts) + (f" and {len(behind) - most} more" if len(behind) > most else "")
