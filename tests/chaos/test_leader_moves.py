"""Questions about partitions whose leader has just gone: answered by the next leader as soon as there is one."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from streamkit.errors import RetriableError
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.confluent.admin import ClusterAdmin
from streamkit.kafka.confluent.settings import ConnectionSettings
from tests.support.cluster3 import ProxiedKafka

pytestmark = pytest.mark.broker
PARTITION = TopicPartition("numbers", 0)
SOON_S = 9.0  # several tries of a second, some of them at a broker that does not answer; without learning it was 10 to 60


@pytest.fixture(scope="module")
def kafka() -> Iterator[ProxiedKafka]:
    with ProxiedKafka() as kafka:
        kafka.create_topics(["numbers"], partitions=1)
        yield kafka


@pytest.fixture
def admin(kafka: ProxiedKafka) -> Iterator[ClusterAdmin]:
    kafka.wait_healthy(["numbers"])
    admin = ClusterAdmin(ConnectionSettings(kafka.bootstrap, transaction_timeout_ms=4_000, session_timeout_ms=6_000))
    yield admin
    admin.close()


def answered_within(admin: ClusterAdmin, seconds: float) -> float:
    started = time.monotonic()
    while True:
        try:
            assert admin.end_offsets([PARTITION], 1.0) == {PARTITION: 0}
        except RetriableError:
            assert time.monotonic() - started < seconds, f"the new leader was not asked within {seconds} s"
            time.sleep(0.1)
        else:
            return time.monotonic() - started


def moved(kafka: ProxiedKafka, before: int) -> None:
    deadline = time.monotonic() + 20
    while kafka.leaders("numbers")[0] in {before, -1}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_leader_that_was_killed(kafka: ProxiedKafka, admin: ClusterAdmin) -> None:
    answered_within(admin, 10)
    leader = kafka.leaders("numbers")[0]
    kafka.kill(leader)
    moved(kafka, leader)
    answered_within(admin, SOON_S)
    kafka.launch(leader)
    kafka.wait_healthy(["numbers"])
    answered_within(admin, SOON_S)


def test_a_leader_that_was_restarted_and_leads_no_more(kafka: ProxiedKafka, admin: ClusterAdmin) -> None:
    answered_within(admin, 10)
    leader = kafka.leaders("numbers")[0]
    kafka.kill(leader)
    moved(kafka, leader)
    kafka.launch(leader)
    kafka.wait_healthy(["numbers"])
    answered_within(admin, SOON_S)


def test_a_leader_that_was_stopped(kafka: ProxiedKafka, admin: ClusterAdmin) -> None:
    answered_within(admin, 10)
    leader = kafka.leaders("numbers")[0]
    kafka.pause(leader)
    try:
        moved(kafka, leader)
        answered_within(admin, SOON_S)
    finally:
        kafka.resume(leader)
