"""When a broker is ready: when it answers a metadata request, not when it prints something."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient


class NotReadyError(Exception):
    """No answer within the time allowed, or the broker ended while it was waited for."""


def wait_ready(bootstrap: str, *, nodes: int = 1, timeout: float = 60, died: Callable[[], str | None] = lambda: None) -> None:
    """Returns when `nodes` brokers are in the cluster's metadata. `died` says why waiting is of no use any more, or None."""
    deadline = time.monotonic() + timeout
    admin = AdminClient(
        {
            "bootstrap.servers": bootstrap,
            "reconnect.backoff.ms": 20,  # librdkafka's default grows to 10 s: far longer than a start takes
            "reconnect.backoff.max.ms": 60,
            "log_level": 0,  # refused connections are what we expect
        }
    )
    while True:
        try:
            if len(admin.list_topics(timeout=0.25).brokers) >= nodes:
                return
        except KafkaException as error:
            last = str(error)
        else:
            last = "fewer brokers than expected"
        if reason := died():
            raise NotReadyError(reason)
        if time.monotonic() > deadline:
            raise NotReadyError(f"{bootstrap} did not answer a metadata request within {timeout:.0f} s: {last}")
        time.sleep(0.02)
