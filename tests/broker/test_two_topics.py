"""Two topics of different rates in one window, with a partition that has nothing, on real Kafka, while workers come and go."""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import replace
from heapq import merge

import pytest
from confluent_kafka import Producer

import streamkit as sk
from tests.broker.test_kill import SEED, Service, check
from tests.broker.test_outage import of, wait_for
from tests.broker.test_rescale import wait_for_progress
from tests.support.apps.totals import SIZE_MS
from tests.support.apps.two_topics import OUT_OF_ORDERNESS_MS
from tests.support.workload import Event, generate, produce, tumbling_reference

PARTITIONS, IDLE = 4, 3
FAST, SLOW, KEYS, SECONDS = 40_000, 2_000, 200, 12.0
SLOW_FROM = 1_000_000  # numbers, and in the reference partitions, of the slow topic


def workload() -> list[tuple[str, Event]]:
    """(topic, event) in the order of production: both topics span the same time, the slow one in a twentieth of the records."""
    fast = generate(FAST, keys=KEYS, partitions=PARTITIONS, seed=SEED + 11)
    slow = generate(SLOW, keys=KEYS, partitions=IDLE, seed=SEED + 12, step_ms=20 * FAST // SLOW)
    numbered = [replace(event, number=event.number + SLOW_FROM) for event in slow]
    both = merge(
        ((index / FAST, "fast", event) for index, event in enumerate(fast)),
        ((index / SLOW, "slow", event) for index, event in enumerate(numbered)),
        key=lambda each: each[0],
    )
    return [(topic, event) for _, topic, event in both]


def feed(bootstrap: str, run: str, events: list[tuple[str, Event]], stop: threading.Event) -> None:
    """Both topics by one thread: neither falls behind the other by what the machine is busy with."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True})
    slices = int(SECONDS * 20)
    for number in range(slices):
        for topic, event in events[len(events) * number // slices : len(events) * (number + 1) // slices]:
            produce(producer, f"{topic}-{run}", [event])
        if stop.wait(SECONDS / slices):
            break
    producer.flush(30)


def idle_partitions(service: Service) -> list[tuple[str, int]]:
    return [(str(event["topic"]), int(str(event["partition"]))) for event in of(service, "partition-idle")]


@pytest.mark.timeout(200)
def test_two_topics_of_different_rates_survive_1_3_2_workers(real_broker: str) -> None:
    run, broker, stop = secrets.token_hex(4), sk.Broker.at(real_broker), threading.Event()
    for name in ("fast", "slow", "totals", "late"):
        broker.create_topic(f"{name}-{run}", partitions=PARTITIONS)
    events = workload()
    of_reference = [
        replace(event, partition=event.partition + SLOW_FROM) if topic == "slow" else event for topic, event in events
    ]
    expected = tumbling_reference(of_reference, size_ms=SIZE_MS, out_of_orderness_ms=OUT_OF_ORDERNESS_MS)
    assert len(expected.late) > 100
    feeding = threading.Thread(target=feed, args=(real_broker, run, events, stop), daemon=True)
    running: dict[str, Service] = {}

    def start(name: str) -> None:
        running[name] = Service(real_broker, run, "--instance", name, app="two_topics")
        assert running[name].running.wait(60), running[name].text()

    def leave(name: str) -> None:
        assert running[name].kill(15) == 0, running[name].text()

    try:
        feeding.start()
        start("a")
        wait_for_progress(broker, run, feeding)  # without an end of input: the partition that has nothing counts as idle
        wait_for(lambda: (f"slow-{run}", IDLE) in idle_partitions(running["a"]), running["a"])
        start("b")
        start("c")
        wait_for_progress(broker, run, feeding)
        leave("a")
        wait_for_progress(broker, run, feeding)
        feeding.join(60)
        for name in ("b", "c"):
            leave(name)
        running["last"] = Service(real_broker, run, "--until-end", app="two_topics")
        assert running["last"].ended(60) == 0, running["last"].text()
    finally:
        stop.set()
        for service in running.values():
            service.kill()
    check(broker, run, expected)


@pytest.mark.timeout(120)
def test_in_a_backlog_the_topic_that_runs_ahead_is_held_back_and_paused(real_broker: str) -> None:
    """Both span 20 minutes, the one in a tenth of the records: read as they come, it would be there long before the other."""
    run, broker = secrets.token_hex(4), sk.Broker.at(real_broker)
    for name in ("fast", "slow", "totals", "late"):
        broker.create_topic(f"{name}-{run}", partitions=1)
    many = generate(100_000, keys=20, partitions=1, seed=SEED, step_ms=12, late=0)
    few = [
        replace(event, number=event.number + SLOW_FROM)
        for event in generate(10_000, keys=20, partitions=1, seed=SEED + 1, step_ms=120, late=0)
    ]
    producer = Producer({"bootstrap.servers": real_broker, "enable.idempotence": True})
    produce(producer, f"fast-{run}", many)
    produce(producer, f"slow-{run}", few)
    producer.flush(30)
    of_reference = [*many, *(replace(event, partition=SLOW_FROM) for event in few)]
    service = Service(real_broker, run, "--until-end", app="two_topics")
    try:
        assert service.ended(60) == 0, service.text()
    finally:
        service.kill()
    held = [json.loads(line) for line in service.lines if '"partition-held"' in line]
    assert (f"slow-{run}", f"fast-{run}-0") in [(event["topic"], event["waits_for"]) for event in held]
    check(broker, run, tumbling_reference(of_reference, size_ms=SIZE_MS, out_of_orderness_ms=OUT_OF_ORDERNESS_MS))
