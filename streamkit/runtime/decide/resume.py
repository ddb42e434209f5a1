"""Whether a task that was parked may go on with the state that it has in memory.

every input was committed   offset and metadata are the task's own last   ->
no                          -                                             no
yes                         no: another worker has had it                 no
yes                         yes                                           yes

The metadata holds the commit counter (R18). It grows with every commit of the task, whoever makes it, so equal means: none since.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamkit.kafka.client import Committed, TopicPartition


def may_resume(own: Mapping[TopicPartition, Committed], found: Mapping[TopicPartition, Committed | None]) -> bool:
    """``own``: what the task committed last itself, or was restored from. ``found``: what the group has committed now."""
    return bool(own) and all(_same(position, found.get(tp)) for tp, position in own.items())


def _same(own: Committed, found: Committed | None) -> bool:
    return found is not None and (own.offset, own.metadata) == (found.offset, found.metadata)
