"""A real Kafka for tests: the one that the environment names, or a container of the public image."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self

from streamkit.errors import BrokerUnreachableError, ContainerError, RetriableError
from streamkit.eventtime.duration import duration_ms
from streamkit.kafka.client import KafkaClient
from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
from streamkit.testing.broker import Broker
from streamkit.testing.containers.engine import Report, have_image, new_container, new_network, reachable_host, silent

IMAGE = "apache/kafka:4.3.1"
"""The image of `kafka` unless another is given."""

VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"
_NAMED_TIMEOUT_S = 20.0
_ALIAS = "kafka"  # the broker's name among containers
_INSIDE, _OUTSIDE = 9092, 29092  # its ports for containers, and for this machine (mapped)
_START_SCRIPT = "/tmp/start.sh"  # noqa: S108 - inside the container
_WRITTEN = "/tmp/start.written"  # noqa: S108 - made behind the script: a file is there before its content is
_CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"

SETTINGS: Mapping[str, str] = {
    # A topic that is made by accident has the wrong partitions.
    "auto.create.topics.enable": "false",
    # One broker: one copy of everything. Few partitions and no wait for further members: the first group starts sooner.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
}
"""Broker settings that make a test quick."""

_LISTENERS: Mapping[str, str] = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "listeners": f"OUTSIDE://:{_OUTSIDE},INSIDE://:{_INSIDE},CONTROLLER://:9093",
    "listener.security.protocol.map": "OUTSIDE:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # The broker talks to itself as well, to verify transactions, and it cannot reach the mapped port from inside.
    "inter.broker.listener.name": "INSIDE",
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.voters": "1@localhost:9093",
}


class Kafka(Broker):
    """A real Kafka for a test: a `Broker` (`create_topic`, `send`, `read`) that also knows how containers reach it.

    ``bootstrap_servers`` is its address for this machine. ``inside`` is its address for containers of ``network``; where the
    Kafka was named by the environment both are the same, and ``network`` is None: containers then use this machine's network.
    ``way`` says in words where it comes from.
    """

    def __init__(
        self, client: KafkaClient, bootstrap_servers: str, *, way: str, inside: str | None = None, network: Any = None
    ) -> None:
        super().__init__(client, is_embedded=False)
        self.bootstrap_servers = bootstrap_servers
        self.inside = inside or bootstrap_servers
        self.network = network
        self.way = way

    @classmethod
    def reached_at(cls, bootstrap_servers: str, *, way: str = "as given", inside: str | None = None, network: Any = None) -> Self:
        """A Kafka that runs already, such as one that a test started in another way."""
        client = ConfluentClient(ConnectionSettings(bootstrap_servers))
        return cls(client, bootstrap_servers, way=way, inside=inside, network=network)


@contextmanager
def kafka(
    image: str = IMAGE,
    *,
    settings: Mapping[str, str] | None = None,
    timeout: str | timedelta = "60s",
    report: Report = silent,
) -> Iterator[Kafka]:
    """A real Kafka, while the ``with`` block runs.

    It is the one that ``KAFKA_BOOTSTRAP_SERVERS`` names, if that is set: it must answer, nothing else is tried, and it is
    left as it is. Else a container of ``image``, removed at the end, with ``settings`` (of the broker, by their names in
    Kafka) over those that make a test quick. ``report`` is told which of the two it is.

    `ContainerError`: no Docker engine answers, the image cannot be had, or the broker does not answer within ``timeout``.
    `BrokerUnreachableError`: the Kafka that the environment names does not answer.

        with kafka() as broker:
            broker.create_topic(ORDERS, partitions=3)
            broker.send(ORDERS, Order("A", 2), key="A")
    """
    timeout_s = duration_ms(timeout, what="timeout") / 1000
    named = os.environ.get(VARIABLE)
    if named:
        found = Kafka.reached_at(named, way=VARIABLE)
        if (why := _why_no_answer(found.client, min(timeout_s, _NAMED_TIMEOUT_S))) is not None:
            raise BrokerUnreachableError(f"{VARIABLE}={named}, but no broker answers there ({why}): start it, or unset it")
        report(f"kafka: {VARIABLE} at {named}")
        yield found
        return
    container = KafkaContainer(image, settings)
    try:
        have_image(image, report)
        started = time.monotonic()
        container.start(timeout_s)
        report(f"kafka: container of {image} at {container.bootstrap}, ready after {time.monotonic() - started:.1f} s")
        yield Kafka.reached_at(
            container.bootstrap, way=f"container of {image}", inside=f"{_ALIAS}:{_INSIDE}", network=container.network
        )
    finally:
        container.stop()


class KafkaContainer:
    """One broker in a container, in a network of its own.

    The broker must advertise the port that Docker maps, and Docker chooses it only when the container starts. So the
    container starts with a loop that waits for a script, and the script, which names the port, is copied in afterwards.
    """

    def __init__(self, image: str = IMAGE, settings: Mapping[str, str] | None = None) -> None:
        self.image = image
        self.bootstrap = ""
        self.network: Any = None
        self._settings = {**SETTINGS, **(settings or {})}
        self._container: Any = None

    def start(self, timeout_s: float = 60.0) -> None:
        """Returns when it answers. `ContainerError` with the end of its log."""
        self._launch()
        self._serve(timeout_s)

    def _launch(self) -> None:
        """The container, waiting to be told its address."""
        self.network = new_network().create()
        container = new_container(self.image)
        container.with_exposed_ports(_OUTSIDE).with_network(self.network).with_network_aliases(_ALIAS)
        wait = f"until [ -f {_WRITTEN} ]; do sleep 0.05; done; exec bash {_START_SCRIPT}"
        container.with_command(["bash", "-c", wait]).with_envs(**environment({**_LISTENERS, **self._settings}))
        self._container = container
        try:
            container.start()
        except Exception as error:
            raise ContainerError(f"a container of {self.image} does not start: {type(error).__name__}: {error}") from error

    def _serve(self, timeout_s: float) -> None:
        """Tells it its address, and waits until it answers."""
        port = int(self._container.get_exposed_port(_OUTSIDE))
        self.bootstrap = f"{reachable_host(port, self._container.get_container_host_ip())}:{port}"
        advertised = f"OUTSIDE://{self.bootstrap},INSIDE://{_ALIAS}:{_INSIDE}"
        script = f"export KAFKA_ADVERTISED_LISTENERS={advertised}\nexec /etc/kafka/docker/run\n".encode()
        self._container.get_wrapped_container().put_archive("/", _archive({_START_SCRIPT: script, _WRITTEN: b""}))
        client = ConfluentClient(ConnectionSettings(self.bootstrap))
        deadline = time.monotonic() + timeout_s
        while (why := _why_no_answer(client, 0.5)) is not None:
            wrapped = self._container.get_wrapped_container()
            wrapped.reload()
            if wrapped.status == "exited" or time.monotonic() > deadline:
                state = "has ended" if wrapped.status == "exited" else f"does not answer within {timeout_s:.0f} s ({why})"
                log = b"".join(self._container.get_logs())[-3000:].decode(errors="replace")
                raise ContainerError(f"the broker in the container of {self.image} {state}; the end of its log:\n{log}")

    def stop(self) -> None:
        """Removes container and network; nothing if it was not started."""
        container, self._container = self._container, None
        if container is not None and container.get_wrapped_container() is not None:
            container.stop(force=True, delete_volume=True)
        network, self.network = self.network, None
        if network is not None:
            network.remove()


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Broker settings in the image's way: ``a.b`` is ``KAFKA_A_B``. One such variable replaces the image's whole default file.

    >>> environment({"auto.create.topics.enable": "false"})
    {'CLUSTER_ID': '5L6g3nShT-eMCtK--X86sw', 'KAFKA_AUTO_CREATE_TOPICS_ENABLE': 'false'}
    """
    return {"CLUSTER_ID": _CLUSTER_ID} | {f"KAFKA_{name.replace('.', '_').upper()}": value for name, value in settings.items()}


def _archive(files: Mapping[str, bytes]) -> bytes:
    """They are unpacked in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = len(content), 0o644, int(time.time())
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _why_no_answer(client: KafkaClient, timeout_s: float) -> str | None:
    admin = client.admin()
    try:
        admin.cluster_id(timeout_s)
    except RetriableError as error:
        return str(error)
    finally:
        admin.close()
    return None
