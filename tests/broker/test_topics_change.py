"""A topic of a running app is deleted, made anew or changed (R23), on real Kafka: a named error, and nothing committed of it."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not say what they re-export
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

import streamkit as sk
from streamkit.errors import TopicChangedError

PARTITIONS = 2


class Kafka:
    """The topics of one app, and what somebody else does to them."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.run = secrets.token_hex(4)
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.broker = sk.Broker.at(bootstrap)
        self.events, self.results = sk.Topic(f"events-{self.run}", key=str), sk.Topic(f"results-{self.run}", key=str)
        for topic in (self.events, self.results):
            self.broker.create_topic(topic, partitions=PARTITIONS)
        self.changelog = f"app-{self.run}.agg.changelog"

    def app(self, *, stateful: bool) -> sk.App:
        app = sk.App(f"app-{self.run}")
        events = app.stream(self.events)
        if stateful:
            totals = events.by_record_key().window(sk.tumbling("1h")).aggregate("agg", n=sk.count())
            totals.on_close().to(self.results)
        else:
            events.to(self.results)
        return app

    def send(self) -> None:
        self.broker.send(self.events, *[sk.Row(n=n) for n in range(10)], key="k")

    def committed(self) -> dict[str, int]:
        found = self.broker.client.admin().group_offsets(f"app-{self.run}", 10.0)
        return {str(tp): committed.offset for tp, committed in found.items()}

    def delete(self, name: str) -> None:
        self.admin.delete_topics([name])[name].result(10)
        while name in self.admin.list_topics(timeout=10).topics:
            time.sleep(0.1)

    def recreate(self, name: str) -> None:
        self.delete(name)
        for _ in range(50):  # the name is free a moment after it is gone
            with contextlib.suppress(Exception):
                self.admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(10)
                return
            time.sleep(0.1)

    def grow(self, name: str) -> None:
        self.admin.create_partitions([NewPartitions(name, PARTITIONS + 1)])[name].result(10)

    def set(self, name: str, setting: str, value: str) -> None:
        entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(10)


def error_of(kafka: Kafka, change: Callable[[], None], *, stateful: bool = True) -> TopicChangedError:
    """Runs the app until it stops by itself; the change comes as soon as it has committed something."""
    failed: list[BaseException] = []

    def interfere() -> None:
        try:
            while sum(kafka.committed().values()) < 10:
                time.sleep(0.1)
            change()
        except BaseException as error:  # noqa: BLE001 - told by the test
            failed.append(error)

    kafka.send()
    thread = threading.Thread(target=interfere, daemon=True)
    thread.start()
    settings = sk.EngineSettings(topic_check_ms=500)
    with pytest.raises(TopicChangedError) as caught:
        kafka.app(stateful=stateful).run(bootstrap_servers=kafka.bootstrap, settings=settings, log_level="ERROR")
    thread.join(10)
    assert not failed
    return caught.value


@pytest.fixture
def kafka(real_broker: str) -> Kafka:
    return Kafka(real_broker)


def test_a_deleted_source(kafka: Kafka) -> None:
    error = error_of(kafka, lambda: kafka.delete(kafka.events.name))
    assert str(error).startswith(f"source topic '{kafka.events.name}' was deleted")


def test_a_source_that_was_made_anew(kafka: Kafka) -> None:
    error = error_of(kafka, lambda: kafka.recreate(kafka.events.name))
    assert error.topic == kafka.events.name
    assert "was deleted" in str(error)  # whether it was there again when it was looked for depends on the moment


def test_a_source_that_was_made_anew_with_more_records_than_the_old_one(kafka: Kafka) -> None:
    """The position then lies inside the new log, and no fetch fails."""

    def change() -> None:
        kafka.recreate(kafka.events.name)
        for _ in range(5):
            kafka.send()

    error = error_of(kafka, change)
    assert "was deleted" in str(error)


def test_a_deleted_sink(kafka: Kafka) -> None:
    error = error_of(kafka, lambda: kafka.delete(kafka.results.name), stateful=False)
    assert str(error).startswith(f"sink topic '{kafka.results.name}' was deleted")


def test_a_deleted_changelog(kafka: Kafka) -> None:
    error = error_of(kafka, lambda: kafka.delete(kafka.changelog))
    assert str(error).startswith(f"internal changelog topic '{kafka.changelog}' was deleted")


def test_a_changelog_whose_policy_was_changed(kafka: Kafka) -> None:
    error = error_of(kafka, lambda: kafka.set(kafka.changelog, "cleanup.policy", "delete"))
    assert "cleanup.policy is 'delete' but must be 'compact,delete'" in str(error)


@pytest.mark.timeout(180)
def test_a_source_that_grew_and_a_restart(kafka: Kafka) -> None:
    error = error_of(kafka, lambda: kafka.grow(kafka.events.name), stateful=False)
    assert f"grew from {PARTITIONS} to {PARTITIONS + 1} partitions" in str(error)
    assert "A restart takes the new ones up" in str(error)
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(kafka.events.name, b'{"n":99}', partition=PARTITIONS)
    assert producer.flush(30) == 0
    kafka.app(stateful=False).run(bootstrap_servers=kafka.bootstrap, until_end=True, log_level="ERROR")
    assert sorted(record.value.n for record in kafka.broker.read(kafka.results)) == [*range(10), 99]


def test_a_source_that_grew_under_an_app_with_state(kafka: Kafka) -> None:
    error = error_of(kafka, lambda: kafka.grow(kafka.events.name))
    assert "Reset the app" in str(error)
