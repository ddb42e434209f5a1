"""Kafka's range assignor: per topic, contiguous runs of partitions in the order of the member ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from streamkit.kafka.client import TopicPartition


def assign_range(
    subscriptions: Mapping[str, Sequence[str]], partition_count: Callable[[str], int]
) -> dict[str, list[TopicPartition]]:
    """Member id -> partitions. The first members get one more where a topic's partitions do not divide evenly, so topics
    with equally many partitions and the same subscribers stay together (co-partitioning).

    >>> shares = assign_range({"a": ["t"], "b": ["t"]}, lambda topic: 3)
    >>> {member: [str(tp) for tp in partitions] for member, partitions in shares.items()}
    {'a': ['t-0', 't-1'], 'b': ['t-2']}
    """
    assignment: dict[str, list[TopicPartition]] = {member: [] for member in sorted(subscriptions)}
    for topic in sorted({topic for topics in subscriptions.values() for topic in topics}):
        members = [member for member in sorted(subscriptions) if topic in subscriptions[member]]
        least, extra = divmod(partition_count(topic), len(members))
        first = 0
        for index, member in enumerate(members):
            last = first + least + (1 if index < extra else 0)
            assignment[member] += [TopicPartition(topic, p) for p in range(first, last)]
            first = last
    return assignment
