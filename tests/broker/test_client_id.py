"""What a broker calls the clients of a worker: app, instance and index, in its logs, metrics, quotas and group descriptions."""

from __future__ import annotations

import secrets
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

import streamkit as sk
from tests.broker.test_kill import Service


def test_members_of_the_group_carry_app_and_slot(real_broker: str) -> None:
    run = secrets.token_hex(4)
    for name in ("events", "totals", "late"):
        sk.Broker.at(real_broker).create_topic(f"{name}-{run}")
    service = Service(real_broker, run, "--instance", "host-7")
    try:
        assert service.running.wait(60), service.text()
        assert members(real_broker, f"totals-{run}") == [f"totals-{run}-host-7-0"]
    finally:
        service.kill()


def members(bootstrap: str, group: str) -> list[str]:
    admin, deadline = AdminClient({"bootstrap.servers": bootstrap}), time.monotonic() + 20
    while True:
        try:
            return [m.client_id for m in admin.describe_consumer_groups([group], request_timeout=10)[group].result().members]
        except KafkaException:
            assert time.monotonic() < deadline, "the group was not described"
            time.sleep(0.1)
