"""What the tests of the services share: the table that must come out, and Kafka topics of their own."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator

import pytest

import streamkit as sk
from services.bids.app import Topics, topics
from services.bids.demo import PARTITIONS

TABLE = """\
window_start       window_end         price
2020-04-15 08:00   2020-04-15 08:06    4.00
2020-04-15 08:00   2020-04-15 08:08    6.00
2020-04-15 08:00   2020-04-15 08:10   11.00
2020-04-15 08:10   2020-04-15 08:12    3.00
2020-04-15 08:10   2020-04-15 08:14    4.00
2020-04-15 08:10   2020-04-15 08:16    4.00
2020-04-15 08:10   2020-04-15 08:18   10.00
2020-04-15 08:10   2020-04-15 08:20   10.00"""


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A service sets up its process's log; here the process is that of all tests."""
    logger = logging.getLogger("streamkit")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture
def own(real_broker: str) -> Iterator[tuple[sk.Broker, str, Topics]]:
    """A real Kafka with the service's topics under names of this test: (broker, app name, topics)."""
    suffix = f"-{secrets.token_hex(4)}"
    broker, found = sk.Broker.at(real_broker), topics(suffix)
    create(broker, found)
    yield broker, f"bids{suffix}", found
    delete(broker, f"bids{suffix}", found)


def create(broker: sk.Broker, found: Topics) -> None:
    for topic in found:
        broker.create_topic(topic, partitions=1 if topic is found.totals else PARTITIONS)


def delete(broker: sk.Broker, app: str, found: Topics) -> None:
    """The topics, those that the app has made, and its group."""
    admin = broker.client.admin()
    try:
        internal = [name for name in admin.topic_names(20) if name.startswith(f"{app}.")]
        admin.delete_topics([*(topic.name for topic in found), *internal], 20)
        admin.delete_group(app, 20)
    finally:
        admin.close()
