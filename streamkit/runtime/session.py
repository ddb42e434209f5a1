"""R20 where the session time-out is not ours to set: with KIP-848 it is the brokers' setting of the group."""

from __future__ import annotations

from streamkit.config import EngineSettings
from streamkit.config.duration import duration_text
from streamkit.errors import ConfigError, KafkaError
from streamkit.instrument import Instrument
from streamkit.kafka.client import Admin


def check_session(admin: Admin, group: str, settings: EngineSettings, instrument: Instrument) -> None:
    """`ConfigError` if a transaction of ours could outlive our membership, or polls may stay away for less than a session."""
    if settings.group_protocol != "consumer":
        return
    try:
        session_ms = admin.group_session_timeout_ms(group, settings.start_timeout_ms / 1000)
    except KafkaError as error:  # not allowed to ask, for one: the setting is checked by whoever made it
        instrument.event("session-unknown", group=group, error=str(error))
        return
    if session_ms is None:
        instrument.event("session-unknown", group=group, error="the brokers have no settings of groups")
        return
    where = f"the session time-out of group '{group}' (consumer.session.timeout.ms on the brokers) is {duration_text(session_ms)}"
    if settings.transaction_timeout_ms >= session_ms:
        raise ConfigError(
            f"{where}; transaction_timeout ({duration_text(settings.transaction_timeout_ms)}) must be below it: the transaction "
            "of a worker that is gone must have ended before its partitions are given to another. Lower the one, or raise the "
            f"other (kafka-configs.sh --alter --entity-type groups --entity-name {group})"
        )
    if session_ms > settings.max_poll_interval_ms:
        raise ConfigError(
            f"{where}; max_poll_interval ({duration_text(settings.max_poll_interval_ms)}) must not be below it: a worker that "
            "polls too seldom would be noticed before one that is dead"
        )
    instrument.event("session", group=group, timeout=duration_text(session_ms))
