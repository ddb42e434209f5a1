"""A broker that is shut down, or stops answering, under a running service and comes back: nothing is lost or doubled, it is told,
and the wait costs no processor time.

Not killed: the only copy of a partition that was not shut down comes back by an unclean election, and that may lose the markers
of transactions (KAFKA-20716). Brokers that are killed are for clusters with replicas (tests/chaos).

And not shut down while a commit is being written: a coordinator whose broker goes takes partitions without a leader for deleted
and calls the transaction complete without their markers. Nobody ends it then, and the group's positions are pending for ever
(seen beside other work in 2 of 6 runs; what the engine says of it: tests/driver/test_stalled.py).
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import streamkit as sk
from streamkit.runtime.outage import TELL_EVERY_S
from tests.broker.test_kill import Service, check, feeder
from tests.support.apps.totals import OUT_OF_ORDERNESS_MS, SIZE_MS
from tests.support.local_kafka import LocalKafka
from tests.support.workload import generate, tumbling_reference

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

EVENTS, KEYS, PARTITIONS = 20_000, 200, 3
AWAY_S = 8.0
SEED = 815


@pytest.fixture
def kafka() -> Iterator[LocalKafka]:
    with LocalKafka() as kafka:
        yield kafka


def events(service: Service) -> list[dict[str, object]]:
    return [json.loads(line) for line in list(service.lines) if line.startswith("{")]


def of(service: Service, name: str) -> list[dict[str, object]]:
    return [event for event in events(service) if event["event"] == name]


def wait_for(condition: Callable[[], object], service: Service, seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert service.process.poll() is None, service.text()
        assert time.monotonic() < give_up, service.text()
        time.sleep(0.1)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def shut_down(kafka: LocalKafka, service: Service) -> None:
    """With no commit being written: one that was has ended within the pause, and the time-out of one that is open is longer."""
    service.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(0.7)
        kafka.terminate(1)
    finally:
        service.process.send_signal(signal.SIGCONT)


def lost_markers(kafka: LocalKafka) -> str:
    """What the broker says of markers that it has not written."""
    return "\n".join(line for line in kafka.log(1).splitlines() if "likely deleted already" in line)


@pytest.mark.parametrize("how", ["shut down", "stopped"])
def test_a_broker_that_is_away_for_a_while(kafka: LocalKafka, how: str) -> None:
    run = secrets.token_hex(4)
    workload = generate(EVENTS, keys=KEYS, partitions=PARTITIONS, seed=SEED)
    expected = tumbling_reference(workload, size_ms=SIZE_MS, out_of_orderness_ms=OUT_OF_ORDERNESS_MS)
    broker = sk.Broker.at(kafka.bootstrap)
    for name in ("events", "totals", "late"):
        broker.create_topic(f"{name}-{run}", partitions=PARTITIONS)
    service = Service(kafka.bootstrap, run)
    try:
        with feeder(kafka.bootstrap, f"events-{run}", workload, seconds=10) as feeding:
            assert service.running.wait(60), service.text()
            time.sleep(3)  # in mid-stream
            shut_down(kafka, service) if how == "shut down" else kafka.pause(1)
            began = time.monotonic()
            wait_for(lambda: of(service, "waiting-for-broker"), service)
            told_after_s = time.monotonic() - began
            before = cpu_s(service.process.pid)
            time.sleep(max(0.0, AWAY_S - told_after_s))
            used = cpu_s(service.process.pid) - before
            assert service.process.poll() is None, service.text()
            kafka.launch(1) if how == "shut down" else kafka.resume(1)
            wait_for(lambda: of(service, "broker-back"), service)
            feeding.join(60)
        assert service.kill(signal.SIGTERM) == 0, service.text()
    finally:
        service.kill()
    assert used < 0.3 * AWAY_S  # it waits, it does not spin
    waiting = of(service, "waiting-for-broker")
    assert waiting[0]["kafka"] == kafka.bootstrap
    assert waiting[0]["error"]
    away_s = [float(str(event["away_s"])) for event in waiting]
    within_one_outage = [after - before for before, after in pairwise(away_s) if after > before]
    assert all(seconds > TELL_EVERY_S - 1 for seconds in within_one_outage)  # now and then, not with every attempt
    last = Service(kafka.bootstrap, run, "--until-end")
    try:
        assert last.ended(60) == 0, f"{last.text()}\n{lost_markers(kafka)}"
    finally:
        last.kill()
    check(broker, run, expected)


def test_a_broker_that_is_down_at_the_start_is_waited_for(kafka: LocalKafka) -> None:
    run = secrets.token_hex(4)
    broker = sk.Broker.at(kafka.bootstrap)
    for name in ("events", "totals", "late"):
        broker.create_topic(f"{name}-{run}", partitions=1)
    kafka.kill(1)
    service = Service(kafka.bootstrap, run)
    try:
        wait_for(lambda: of(service, "waiting-for-broker"), service)
        kafka.launch(1)
        assert service.running.wait(60), service.text()
        waiting = of(service, "waiting-for-broker")
        assert waiting[0]["kafka"] == kafka.bootstrap
        assert "Connection refused" in str(waiting[0]["error"])
        assert 0 < int(str(waiting[0]["gives_up_in_s"])) <= 30
        assert service.kill(signal.SIGTERM) == 0, service.text()
    finally:
        service.kill()
