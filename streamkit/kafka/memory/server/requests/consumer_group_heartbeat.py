"""ConsumerGroupHeartbeat: the one request of the consumer group protocol (KIP-848)."""

from __future__ import annotations

from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.consumer_group import ConsumerGroup, ConsumerHeartbeat, HeartbeatAnswer
from streamkit.kafka.memory.server.errors import BrokerError


def consumer_group_heartbeat(broker: Broker, request: ConsumerHeartbeat) -> HeartbeatAnswer:
    known = broker.groups.get(request.group_id)
    if request.member_epoch != 0 and (known is None or not isinstance(known.membership, ConsumerGroup)):
        raise BrokerError("UNKNOWN_MEMBER_ID", f"there is no group {request.group_id}")
    group = broker.group(request.group_id).consumer(
        session_timeout_ms=broker.consumer_session_timeout_ms, heartbeat_interval_ms=broker.consumer_heartbeat_interval_ms
    )
    before = group.epoch, group.assignments()
    answer = group.heartbeat(request, broker.clock.monotonic())
    if (group.epoch, group.assignments()) != before or request.owned is not None:
        broker.touch()  # others may have something to give up or to get
    return answer
