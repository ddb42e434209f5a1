"""JoinGroup: becomes a member of the generation that is being prepared (classic protocol)."""

from __future__ import annotations

from typing import NamedTuple

from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.classic_group import JoinRequest


class Joined(NamedTuple):
    """``accepted`` is False for MEMBER_ID_REQUIRED: the member is to join again with the id that it was given."""

    member_id: str
    accepted: bool


def join_group(broker: Broker, request: JoinRequest) -> Joined:
    """The assignment comes by `sync_group` once all have joined."""
    group = broker.group(request.group_id).classic()
    member_id, accepted = group.join(request, broker.clock.monotonic(), lambda: f"{request.client_id}-{broker.next_number():06}")
    broker.touch()
    return Joined(member_id, accepted)
