"""Three brokers whose clients reach them through a proxy only, so that a test can harm every link and single requests.

    with ProxiedKafka() as kafka:
        kafka.bootstrap      the proxy's ports: what the service under test is given
        kafka.direct         past the proxy: for whoever watches
        kafka.proxy          cuts, stalls, delays ... (tests/support/proxy.py)
        kafka.kill(2)        SIGKILL; `launch(2)` brings it back; `pause(2)` and `resume(2)` are SIGSTOP and SIGCONT
        kafka.healthy()      whether every partition has all its replicas in sync

Each broker has two listeners: PLAINTEXT, for brokers among themselves and for watchers, and CLIENT, which it advertises under
the port of the proxy.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from functools import partial

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs do not say what they re-export

from tests.support.jvm import Report
from tests.support.local_kafka import LocalKafka, _free_ports, _silent
from tests.support.proxy import Proxy
from tests.support.ready import wait_ready

NODES = 3
_ASK_FOR_S = 2.0


class ProxiedKafka(LocalKafka):
    """A cluster of three, replication factor 3, of which 2 must have a record."""

    def __init__(self, properties: Mapping[str, str] | None = None, *, report: Report = _silent) -> None:
        super().__init__(NODES, {"min.insync.replicas": "2", **(properties or {})}, report=report)
        self.proxy = Proxy()
        self.down: set[int] = set()  # killed, or stopped
        self._behind = [0] * NODES
        self._front = [self.proxy.listen(node, partial(self._address, node)) for node in self._each_node()]

    def _address(self, node: int) -> tuple[str, int]:
        return "127.0.0.1", self._behind[node - 1]

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self._front)

    @property
    def direct(self) -> str:
        return super().bootstrap

    def wait_ready(self, timeout: float = 60) -> None:
        wait_ready(self.direct, nodes=self.nodes, timeout=timeout, died=self._why_dead)

    def _write_configuration(self) -> None:
        super()._write_configuration()
        self._behind = _free_ports(NODES, self._ports)
        brokers, controllers = self._ports[:NODES], self._ports[NODES:]
        for node, broker, controller, behind, front in zip(
            self._each_node(), brokers, controllers, self._behind, self._front, strict=True
        ):
            properties = {
                "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller},CLIENT://127.0.0.1:{behind}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker},CLIENT://127.0.0.1:{front}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENT:PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
            }
            with self._properties_file(node).open("a") as file:  # of a name that comes twice, the last one counts
                file.write("".join(f"{name}={value}\n" for name, value in properties.items()))

    def stop(self) -> None:
        super().stop()
        self.proxy.close()

    def launch(self, node: int, *jvm_flags: str) -> None:
        super().launch(node, *jvm_flags)
        self.down.discard(node)

    def kill(self, node: int) -> None:
        self.down.add(node)
        super().kill(node)

    def terminate(self, node: int) -> None:
        self.down.add(node)
        super().terminate(node)

    def pause(self, node: int) -> None:
        self.down.add(node)
        super().pause(node)

    def resume(self, node: int) -> None:
        super().resume(node)
        self.down.discard(node)

    def create_topics(self, names: list[str], partitions: int) -> None:
        """Replicated three times, kept for ever whatever the records' times; returns when all replicas are in sync."""
        config = {"retention.ms": "-1", "message.timestamp.after.max.ms": str(2**63 - 1)}
        wanted = [NewTopic(name, partitions, NODES, config=config) for name in names]
        admin = self.admin()
        for made in admin.create_topics(wanted, operation_timeout=30).values():
            made.result(30)
        self.wait_healthy(names)

    # ---- what a fault needs to know

    def admin(self) -> AdminClient:
        """A new one, past the proxy and past nodes that are down: one that is kept would ask a stopped broker until its time-out.
        Keep a reference while you wait: with the client its answers go, too."""
        return AdminClient(self.client_config())

    def client_config(self) -> dict[str, str | int | float | bool]:
        """Of a client of librdkafka that asks, past the proxy, the nodes that are up now."""
        up = ",".join(f"127.0.0.1:{self._ports[node - 1]}" for node in self._each_node() if node not in self.down)
        return {"bootstrap.servers": up, "socket.timeout.ms": 2_000, "reconnect.backoff.max.ms": 200, "log_level": 0}

    def leaders(self, topic: str) -> dict[int, int]:
        """Partition -> node that leads it; -1 where nobody does."""
        deadline = time.monotonic() + 20
        while True:
            admin = self.admin()
            with contextlib.suppress(KafkaException, TimeoutError):
                found = admin.describe_topics(TopicCollection([topic]), request_timeout=_ASK_FOR_S)[topic].result(_ASK_FOR_S + 1)
                return {p.id: p.leader.id if p.leader is not None else -1 for p in found.partitions}
            if time.monotonic() > deadline:
                raise TimeoutError(f"no broker told who leads '{topic}' within 20 s")

    def healthy(self, topics: list[str]) -> bool:
        """Whether every partition of these has a leader and all its replicas in sync."""
        admin = self.admin()
        try:
            found = admin.describe_topics(TopicCollection(topics), request_timeout=_ASK_FOR_S)
            described = [one.result(_ASK_FOR_S + 1) for one in found.values()]
        except (KafkaException, TimeoutError):
            return False
        return all(p.leader is not None and len(p.isr) == NODES for one in described for p in one.partitions)

    def wait_healthy(self, topics: list[str], timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while not self.healthy(topics):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not every replica of {', '.join(topics)} was in sync within {timeout:.0f} s")
            time.sleep(0.2)

    def group_coordinator(self, group: str) -> int:
        """The node that coordinates a group: the leader of its partition of the offsets topic."""
        return self._coordinator("__consumer_offsets", group)

    def transaction_coordinator(self, transactional_id: str) -> int:
        return self._coordinator("__transaction_state", transactional_id)

    def _coordinator(self, topic: str, name: str) -> int:
        leaders = self.leaders(topic)
        return leaders[java_hash(name) % len(leaders)]


def java_hash(text: str) -> int:
    """`Utils.abs(text.hashCode())`, by which brokers choose the partition of a group or of a transactional id.

    >>> java_hash("orders"), java_hash("polygenelubricants")
    (1008770331, 0)
    """
    value = 0
    for char in text:
        value = (31 * value + ord(char)) & 0xFFFFFFFF
    signed = value - (1 << 32) if value >= 1 << 31 else value
    return 0 if signed == -(1 << 31) else abs(signed)
