"""What librdkafka is told: guarantees that no property can break, and time-outs that fit each other."""

from __future__ import annotations

from contextlib import suppress

import confluent_kafka
import pytest

from streamkit.errors import ConfigError, RetriableError
from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
from streamkit.kafka.confluent.settings import CONSUMER_ONLY, FETCH_MAX_BYTES, GUARDED, PRODUCER_ONLY


def settings(**arguments) -> ConnectionSettings:
    return ConnectionSettings("127.0.0.1:1", **arguments)


@pytest.mark.parametrize("name", sorted(GUARDED))
def test_a_property_that_would_break_a_guarantee_is_refused_with_the_reason(name):
    with pytest.raises(ConfigError) as caught:
        settings(properties={name: "something else"})
    assert name in str(caught.value)
    assert GUARDED[name].reason in str(caught.value)


@pytest.mark.parametrize("name,value", [(name, guard.allowed[0]) for name, guard in GUARDED.items() if guard.allowed])
def test_a_property_that_says_what_is_set_anyway_is_taken(name, value):
    assert settings(properties={name: value}).properties[name] == value


def test_the_guarantees_of_r22():
    consumer = settings().consumer_config("g")
    assert (consumer["enable.auto.commit"], consumer["enable.auto.offset.store"]) == (False, False)
    assert consumer["isolation.level"] == "read_committed"
    assert consumer["allow.auto.create.topics"] is False
    assert consumer["auto.offset.reset"] == "error"
    assert consumer["enable.partition.eof"] is True
    assert consumer["partition.assignment.strategy"] == "range"
    producer = settings().producer_config("p")
    assert (producer["enable.idempotence"], producer["acks"], producer["partitioner"]) == (True, "all", "murmur2_random")


def test_with_kip_848_the_client_leaves_session_and_heartbeats_to_the_brokers():
    consumer = settings(group_protocol="consumer").consumer_config("g")
    assert (consumer["group.protocol"], consumer["group.remote.assignor"]) == ("consumer", "range")
    assert not {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"} & set(consumer)
    assert ConfluentClient(settings(group_protocol="consumer")).consumer("g") is not None  # librdkafka would refuse them


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_only_a_static_member_has_an_instance_id(protocol):
    assert "group.instance.id" not in settings(group_protocol=protocol).consumer_config("g")
    static = settings(group_protocol=protocol, group_instance_id="bids-0").consumer_config("g")
    assert static["group.instance.id"] == "bids-0"


@pytest.mark.parametrize("transaction_ms", [1_000, 5_000, 30_000, 40_000])
def test_time_outs_are_ordered_as_r20_says(transaction_ms):
    one = settings(transaction_timeout_ms=transaction_ms)
    producer, consumer = one.producer_config("p"), one.consumer_config("g")
    assert producer["socket.timeout.ms"] < producer["message.timeout.ms"] < producer["transaction.timeout.ms"]
    assert producer["transaction.timeout.ms"] < consumer["session.timeout.ms"] <= consumer["max.poll.interval.ms"]
    assert consumer["heartbeat.interval.ms"] * 3 <= consumer["session.timeout.ms"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"transaction_timeout_ms": 500},
        {"transaction_timeout_ms": 45_000},
        {"session_timeout_ms": 400_000},
        {"properties": {"socket.timeout.ms": "60000"}},
        {"properties": {"socket.timeout.ms": "soon"}},
    ],
)
def test_time_outs_in_the_wrong_order_are_refused(arguments):
    with pytest.raises(ConfigError, match="ms"):
        settings(**arguments)


def test_no_servers_are_refused():
    with pytest.raises(ConfigError, match="bootstrap servers"):
        ConnectionSettings(" ")


def test_properties_go_only_to_the_clients_that_know_them():
    one = settings(properties={"linger.ms": "5", "fetch.max.bytes": "1000000", "socket.keepalive.enable": "true"})
    configs = {"consumer": one.consumer_config("g"), "producer": one.producer_config("p"), "admin": one.admin_config()}
    assert {kind for kind, config in configs.items() if config.get("linger.ms") == "5"} == {"producer"}
    assert {kind for kind, config in configs.items() if config.get("fetch.max.bytes") == "1000000"} == {"consumer"}
    assert {kind for kind, config in configs.items() if "socket.keepalive.enable" in config} == set(configs)


@pytest.mark.parametrize(
    "properties,expected",
    [
        ({}, FETCH_MAX_BYTES),
        ({"message.max.bytes": "2000000"}, FETCH_MAX_BYTES),
        ({"message.max.bytes": "10000000"}, 10_000_000),
        ({"message.max.bytes": "10000000", "fetch.max.bytes": "20000000"}, "20000000"),
        ({"fetch.max.bytes": "1000000"}, "1000000"),
        ({"fetch.message.max.bytes": "50000000"}, FETCH_MAX_BYTES),
        ({"receive.message.max.bytes": "5000000"}, FETCH_MAX_BYTES),
    ],
)
def test_a_response_is_bounded_and_librdkafka_takes_the_bound_beside_larger_messages(properties, expected):
    one = settings(properties=properties)
    assert one.consumer_config("g")["fetch.max.bytes"] == expected
    ConfluentClient(one).reader().close()


def test_a_size_that_is_no_number_is_refused():
    with pytest.raises(ConfigError, match=r"message\.max\.bytes must be a number of bytes, not 'large'"):
        settings(properties={"message.max.bytes": "large"}).consumer_config("g")


def test_librdkafka_takes_every_client_and_warns_of_nothing(caplog):
    """Also the check that our tables of producer and consumer properties fit this librdkafka."""
    client = ConfluentClient(settings(properties={"client.rack": "r1", "compression.type": "zstd", "fetch.min.bytes": "1"}))
    producer, consumer, reader, admin = client.producer("p"), client.consumer("g"), client.reader(), client.admin()
    with caplog.at_level("INFO", logger="streamkit.kafka"):
        for one in (consumer, reader):
            with suppress(RetriableError):  # nobody is there
                one.poll(1, 0)
        producer._serve()
    for one in (producer, consumer, reader, admin):
        one.close()
    assert not [record for record in caplog.records if "CONFWARN" in record.getMessage()]
    assert client.describe() == "127.0.0.1:1"


@pytest.mark.parametrize("properties", [{"no.such.property": "1"}, {"batch.size": "large"}])
def test_what_librdkafka_refuses_is_a_config_error(properties):
    with pytest.raises(ConfigError, match=next(iter(properties))):
        ConfluentClient(settings(properties=properties)).producer("p")


def test_the_tables_of_one_sided_properties_do_not_overlap():
    assert not PRODUCER_ONLY & CONSUMER_ONLY
    assert confluent_kafka.libversion()[0] >= "2.16"


@pytest.mark.parametrize("session_ms,silence_ms", [(45_000, 10_000), (12_000, 6_000), (5_000, 3_000)])
def test_a_silent_broker_is_given_up_within_a_session(session_ms, silence_ms):
    made = ConnectionSettings("localhost:9092", transaction_timeout_ms=1_000, session_timeout_ms=session_ms)
    assert made.consumer_config("group")["socket.timeout.ms"] == silence_ms
    assert made.admin_config()["socket.timeout.ms"] == silence_ms
