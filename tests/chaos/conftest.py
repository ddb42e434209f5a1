"""One cluster of three brokers behind the proxy, for the cases of test_zoo.py and test_strays.py."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
from tests.chaos.zoo import TRANSACTION_MS
from tests.support.cluster3 import ProxiedKafka


@pytest.fixture(scope="session")
def kafka() -> Iterator[ProxiedKafka]:
    with ProxiedKafka() as kafka:
        yield kafka


@pytest.fixture
def topic(kafka: ProxiedKafka) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    kafka.create_topics([name], 2)
    return name


@pytest.fixture
def client(kafka: ProxiedKafka) -> ConfluentClient:
    return ConfluentClient(
        ConnectionSettings(kafka.bootstrap, client_id="ours", transaction_timeout_ms=TRANSACTION_MS, session_timeout_ms=15_000)
    )
