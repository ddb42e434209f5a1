"""Produce: appends records to a partition, if the topic's settings allow every one of them."""

from __future__ import annotations

from array import array

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.columns import RECORD_OVERHEAD, Columns
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import ProducerId
from streamkit.kafka.memory.server.topic import TopicConfig
from streamkit.kafka.memory.server.transaction import TransactionState


def produce(
    broker: Broker,
    tp: TopicPartition,
    columns: Columns,
    transactional_id: str | None = None,
    producer: ProducerId | None = None,
    first_sequence: int | None = None,
    records: int | None = None,
) -> int:
    """Returns the offset of the first record. One bad record refuses them all, as one bad record refuses its batch.

    A batch of ``records`` records with sequence numbers is appended once: a repetition is answered with the offset that it has.
    (``columns`` belongs to the log once it was appended, so a repetition that hands in the same object says nothing by it.)
    """
    log = broker.log(tp)
    if transactional_id is not None and producer is not None:
        _check_transaction(broker, tp, transactional_id, producer)
        if first_sequence is not None and records is not None:
            repeated = log.repetition(producer, first_sequence, records)
            if repeated is not None:
                return repeated
    now_ms = broker.clock.now_ms()
    config = broker.topics[tp.topic].config
    size = check_records(config, columns, now_ms)
    if config.log_append_time:
        columns.timestamps = array("q", [now_ms]) * len(columns)
    log.roll(size, now_ms, config.segment_bytes, config.segment_ms)
    base_offset = log.append(columns, producer, first_sequence)
    broker.touch()
    return base_offset


def _check_transaction(broker: Broker, tp: TopicPartition, transactional_id: str, producer: ProducerId) -> None:
    transaction = broker.transactions.find(transactional_id)
    if transaction is None or transaction.producer != producer:
        raise BrokerError("INVALID_PRODUCER_EPOCH", f"{tp}: producer {producer} no longer owns '{transactional_id}'")
    if transaction.state is not TransactionState.ONGOING or tp not in transaction.partitions:
        raise BrokerError("INVALID_TXN_STATE", f"{tp} is not part of a transaction of '{transactional_id}'")


def check_records(config: TopicConfig, columns: Columns, now_ms: int) -> int:
    """Raises for the first record that the topic does not take; returns the size of all."""
    sizes = columns.sizes()
    size = max(sizes, default=0) + RECORD_OVERHEAD
    if size > config.max_message_bytes:
        index = sizes.index(size - RECORD_OVERHEAD)
        limit = f"max.message.bytes is {config.max_message_bytes}"
        raise BrokerError("MSG_SIZE_TOO_LARGE", f"a record of {size} bytes; {limit}", record=index)
    if "compact" in config.policies and None in columns.keys:
        index = columns.keys.index(None)
        raise BrokerError("INVALID_RECORD", "a record without a key in a compacted topic", record=index)
    if not config.log_append_time:
        _check_timestamps(config, columns, now_ms)
    return sum(sizes)


def _check_timestamps(config: TopicConfig, columns: Columns, now_ms: int) -> None:
    oldest, newest = now_ms - config.timestamp_before_max_ms, now_ms + config.timestamp_after_max_ms
    for timestamp in (min(columns.timestamps, default=now_ms), max(columns.timestamps, default=now_ms)):
        if not oldest <= timestamp <= newest:
            message = f"timestamp {timestamp} is not within {oldest} and {newest}"
            raise BrokerError("INVALID_TIMESTAMP", message, record=columns.timestamps.index(timestamp))
