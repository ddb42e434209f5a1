"""Workers come and go under load, on real Kafka: 1 -> 3 -> 2, a rolling restart, a kill. The results equal the reference."""

from __future__ import annotations

import secrets
import signal
import time

import pytest

import streamkit as sk
from tests.broker.test_kill import PARTITIONS, SEED, Service, check
from tests.support.apps.totals import OUT_OF_ORDERNESS_MS, SIZE_MS
from tests.support.workload import feeder, generate, tumbling_reference

EVENTS, KEYS, SECONDS = 200_000, 1_000, 30


def wait_for_progress(broker: sk.Broker, run: str, seconds: float = 30.0) -> None:
    """Until more results are there than at the call: the service is at work."""
    results = sk.Topic(f"totals-{run}")
    before, deadline = len(broker.read(results)), time.monotonic() + seconds
    while len(broker.read(results)) <= before:
        assert time.monotonic() < deadline, f"no result came within {seconds} s"
        time.sleep(0.3)


@pytest.mark.timeout(300)
def test_scaling_and_rolling_restarts_lose_and_double_nothing(real_broker: str) -> None:
    run = secrets.token_hex(4)
    events = generate(EVENTS, keys=KEYS, partitions=PARTITIONS, seed=SEED + 1)
    expected = tumbling_reference(events, size_ms=SIZE_MS, out_of_orderness_ms=OUT_OF_ORDERNESS_MS)
    broker = sk.Broker.at(real_broker)
    for name in ("events", "totals", "late"):
        broker.create_topic(f"{name}-{run}", partitions=PARTITIONS)
    services: dict[str, Service] = {}

    def start(name: str) -> None:
        services[name] = Service(real_broker, run, "--instance", name)
        assert services[name].running.wait(60), services[name].text()

    def stop(name: str, number: int = signal.SIGTERM) -> None:
        service = services.pop(name)
        assert service.kill(number) == (0 if number == signal.SIGTERM else -number), service.text()

    with feeder(real_broker, f"events-{run}", events, seconds=SECONDS) as feeding:
        start("a")
        wait_for_progress(broker, run)
        start("b")
        start("c")
        wait_for_progress(broker, run)
        stop("a")  # 3 -> 2
        wait_for_progress(broker, run)
        for name in ("b", "c"):  # a rolling restart
            stop(name)
            start(name)
        wait_for_progress(broker, run)
        stop("b", signal.SIGKILL)
        feeding.join(60)
    stop("c")
    last = Service(real_broker, run, "--until-end")
    try:
        assert last.process.wait(120) == 0, last.text()
    finally:
        last.kill()
    check(broker, run, expected)
