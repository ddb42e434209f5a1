"""Workers come and go under load, on real Kafka: 1 -> 3 -> 2, a rolling restart, a kill. The results equal the reference."""

from __future__ import annotations

import json
import secrets
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not say what they re-export
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

import streamkit as sk
from tests.broker.test_kill import PARTITIONS, SEED, Service, check
from tests.support.apps.totals import OUT_OF_ORDERNESS_MS, SIZE_MS
from tests.support.workload import Event, feeder, generate, tumbling_reference

EVENTS, KEYS, SECONDS = 200_000, 1_000, 30
FEW, FEW_SECONDS = 40_000, 10


def wait_for_progress(broker: sk.Broker, run: str, feeding: threading.Thread, seconds: float = 60.0) -> None:
    """Until more results are there than at the call: the service is at work. On a busy machine the input may be over by then."""
    results = sk.Topic(f"totals-{run}")
    before, deadline = len(broker.read(results)), time.monotonic() + seconds
    while len(broker.read(results)) <= before and feeding.is_alive():
        assert time.monotonic() < deadline, f"no result came within {seconds} s"
        time.sleep(0.3)


class Services:
    """Workers of one app by instance id, over topics of their own."""

    def __init__(self, bootstrap: str) -> None:
        self.run = secrets.token_hex(4)
        self.group = f"totals-{self.run}"
        self.broker = sk.Broker.at(bootstrap)
        self._bootstrap = bootstrap
        self.running: dict[str, Service] = {}
        for name in ("events", "totals", "late"):
            self.broker.create_topic(f"{name}-{self.run}", partitions=PARTITIONS)

    def start(self, name: str, *arguments: str) -> None:
        service = self.running[name] = Service(self._bootstrap, self.run, "--instance", name, *arguments)
        assert service.running.wait(60), service.text()

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        service = self.running.pop(name)
        assert service.kill(number) == (0 if number == signal.SIGTERM else -number), service.text()

    def events(self, name: str) -> list[str]:
        """What a worker has told so far, by name."""
        lines = [line for line in self.running[name].lines if line.startswith("{")]
        return [json.loads(line)["event"] for line in lines]

    def wait_for(self, name: str, event: str, seconds: float = 60.0) -> None:
        """Until a worker has told this."""
        deadline = time.monotonic() + seconds
        while event not in self.events(name):
            assert time.monotonic() < deadline, self.running[name].text()
            time.sleep(0.05)

    def session_of_group(self, ms: int) -> None:
        """With KIP-848 the session time-out is the brokers' setting of the group."""
        entry = ConfigEntry("consumer.session.timeout.ms", str(ms), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.GROUP, self.group, incremental_configs=[entry])
        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(10)

    def finish(self, *arguments: str) -> None:
        """A last worker closes all windows."""
        last = Service(self._bootstrap, self.run, "--until-end", *arguments)
        try:
            assert last.ended(120) == 0, last.text()
        finally:
            last.kill()


@pytest.fixture
def services(real_broker: str) -> Iterator[Services]:
    made = Services(real_broker)
    yield made
    for service in made.running.values():
        service.kill()


def workload(count: int, seed: int) -> tuple[list[Event], object]:
    events = generate(count, keys=KEYS, partitions=PARTITIONS, seed=seed)
    return events, tumbling_reference(events, size_ms=SIZE_MS, out_of_orderness_ms=OUT_OF_ORDERNESS_MS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("before,after", [("classic", "classic"), ("consumer", "consumer"), ("classic", "consumer")])
def test_scaling_and_rolling_restarts_lose_and_double_nothing(
    services: Services, real_broker: str, before: str, after: str
) -> None:
    """The last case goes from one protocol to the other by a rolling restart."""
    run, broker = services.run, services.broker
    share = 1.0 if before == after == "classic" else 0.6
    events, expected = workload(int(EVENTS * share), SEED + 1)
    services.session_of_group(3_000)
    with feeder(real_broker, f"events-{run}", events, seconds=SECONDS * share) as feeding:
        services.start("a", "--protocol", before)
        wait_for_progress(broker, run, feeding)
        services.start("b", "--protocol", before)
        services.start("c", "--protocol", before)
        wait_for_progress(broker, run, feeding)
        services.stop("a")  # 3 -> 2
        wait_for_progress(broker, run, feeding)
        for name in ("b", "c"):  # a rolling restart
            services.stop(name)
            services.start(name, "--protocol", after)
        wait_for_progress(broker, run, feeding)
        services.stop("b", signal.SIGKILL)
        feeding.join(60)
    services.stop("c")
    services.finish("--protocol", after)
    check(broker, run, expected)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_who_stays_goes_on_without_a_restore_when_another_joins(services: Services, real_broker: str, protocol: str) -> None:
    """Parked and resumed with the classic protocol, never stopped with KIP-848; restored once, at the start."""
    # On a busy machine: nobody is to be missed, and no commit to be rolled back because it took half of its transaction's time.
    options = ("--protocol", protocol, "--session-ms", "20000", "--transaction-ms", "15000")
    events, expected = workload(FEW, SEED + 2)
    with feeder(real_broker, f"events-{services.run}", events, seconds=FEW_SECONDS) as feeding:
        services.start("a", *options)
        wait_for_progress(services.broker, services.run, feeding)
        services.start("b", *options)
        wait_for_progress(services.broker, services.run, feeding)
        if protocol == "classic":  # the other one may be at work before it
            services.wait_for("a", "resumed")
        feeding.join(60)
        told = services.events("a")
    assert told.count("running") == 1, services.running["a"].text()
    assert told.count("revoked") >= 1, services.running["a"].text()
    assert told.count("resumed") >= 1 or protocol == "consumer", services.running["a"].text()
    services.stop("a")
    services.stop("b")
    services.finish("--protocol", protocol)
    check(services.broker, services.run, expected)


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "protocol,number", [("classic", signal.SIGKILL), ("classic", signal.SIGTERM), ("consumer", signal.SIGTERM)]
)
def test_a_static_member_that_comes_back_causes_no_rebalance(
    services: Services, real_broker: str, protocol: str, number: signal.Signals
) -> None:
    static = ("--static", "--protocol", protocol, "--session-ms", "40000")
    events, expected = workload(FEW, SEED + 3)
    with feeder(real_broker, f"events-{services.run}", events, seconds=FEW_SECONDS) as feeding:
        services.start("a", *static)
        services.start("b", *static)
        wait_for_progress(services.broker, services.run, feeding)
        before = services.events("a").count("revoked")
        for _ in range(2):
            services.stop("b", number)
            services.start("b", *static)
            wait_for_progress(services.broker, services.run, feeding)
        feeding.join(60)
        assert services.events("a").count("revoked") == before
    services.stop("a")
    services.stop("b")
    services.running["a"] = Service(real_broker, services.run, "--until-end", "--instance", "a", *static)
    services.running["b"] = Service(real_broker, services.run, "--until-end", "--instance", "b", *static)
    for service in services.running.values():  # each its own, for the group knows both
        assert service.ended(120) == 0, service.text()
    check(services.broker, services.run, expected)


@pytest.mark.timeout(120)
def test_of_two_workers_with_one_slot_the_older_one_stops(services: Services) -> None:
    static = ("--static", "--session-ms", "40000")
    services.start("a", *static)
    older = services.running.pop("a")
    services.start("a", *static)
    assert older.ended(60) == 1, older.text()
    assert "another live worker has the same instance id" in older.text()
    services.stop("a")
