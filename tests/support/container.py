"""Kafka in a container, through testcontainers: for machines with a Docker daemon."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import socket
import subprocess
import sys
import tarfile
import time
import warnings
from typing import Any

from tests.support.broker_settings import KAFKA_VERSION, TEST_SETTINGS, replication_settings
from tests.support.jvm import Report
from tests.support.ready import NotReadyError, wait_ready
from tests.support.watchdog import Watchdog

IMAGE = f"apache/kafka:{KAFKA_VERSION}"
PULL_TIMEOUT = 120  # seconds; a registry that cannot be reached must not cost more than that
HOST_PORT = 29092
START_SCRIPT = "/tmp/start.sh"  # inside the container
CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"


class ContainerError(Exception):
    """No container could be had; the message says at which step."""


class KafkaContainer:
    """One broker in a container of the public image.

    The broker must advertise the port that Docker maps, and Docker chooses it only when the container starts. So the
    container starts with a loop that waits for a script, and the script, which names the port, is copied in afterwards.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._container: Any = None
        self._watchdog: Watchdog | None = None
        self.bootstrap = ""

    def start(self, timeout: float = 60) -> None:
        try:
            with contextlib.closing(self._docker()) as docker:
                self._have_image(docker)
            self._run()
            self._advertise()
            wait_ready(self.bootstrap, timeout=timeout, died=self._why_dead)
        except ContainerError:
            self.stop()
            raise
        except NotReadyError as error:
            self.stop()
            raise ContainerError(f"the container of {IMAGE} does not answer: {error}") from error
        except Exception as error:  # any way in which Docker can fail leads to the next way to a broker
            self.stop()
            raise ContainerError(f"{IMAGE} does not run: {type(error).__name__}: {error}") from error

    def stop(self) -> None:
        if self._container is not None:
            self._container.stop(force=True, delete_volume=True)
            self._container = None
        if self._watchdog is not None:
            self._watchdog.release()
            self._watchdog = None

    @staticmethod
    def _docker() -> Any:
        """The Docker client, if a daemon answers."""
        # The reaper would be one more image to pull; our watchdog does its work.
        os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # a client whose constructor failed leaves its socket open
            try:
                return importlib.import_module("docker").from_env(timeout=10)  # asks the daemon for its version
            except Exception as error:  # noqa: BLE001 - any way in which Docker can fail leads to the next way to a broker
                reason = f"no Docker daemon answers ({type(error).__name__})"
            gc.collect()
        raise ContainerError(reason)

    def _have_image(self, docker: Any) -> None:
        if docker.images.list(IMAGE):
            return
        self._report(f"pulling {IMAGE} (at most {PULL_TIMEOUT} s) ...")
        # In a process of its own: the client has no time-out for a pull that makes no progress.
        command = [sys.executable, "-c", f"import docker; docker.from_env().images.pull({IMAGE!r})"]
        try:
            pull = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PULL_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ContainerError(f"{IMAGE} could not be pulled within {PULL_TIMEOUT} s") from error
        if pull.returncode:
            reason = (pull.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ContainerError(f"{IMAGE} cannot be pulled: {reason[:300]}")

    def _run(self) -> None:
        container_class = importlib.import_module("testcontainers.core.container").DockerContainer
        self._container = container_class(IMAGE)
        self._container.with_exposed_ports(HOST_PORT)
        wait = f"until [ -f {START_SCRIPT} ]; do sleep 0.05; done; exec bash {START_SCRIPT}"
        self._container.with_command(["bash", "-c", wait])
        self._container.with_envs(**_environment())
        self._watchdog = Watchdog()
        self._container.start()
        self._watchdog.watch_container(self._container.get_wrapped_container().id)

    def _advertise(self) -> None:
        port = int(self._container.get_exposed_port(HOST_PORT))
        self.bootstrap = f"{_reachable_host(port, self._container.get_container_host_ip())}:{port}"
        advertised = f"HOST://{self.bootstrap},INTERNAL://localhost:9092"
        script = f"export KAFKA_ADVERTISED_LISTENERS={advertised}\nexec /etc/kafka/docker/run\n".encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            info = tarfile.TarInfo(START_SCRIPT)
            info.size, info.mode, info.mtime = len(script), 0o644, int(time.time())
            archive.addfile(info, io.BytesIO(script))
        self._container.get_wrapped_container().put_archive("/", buffer.getvalue())

    def _why_dead(self) -> str | None:
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        if wrapped.status != "exited":
            return None
        return "it ended: " + b"".join(self._container.get_logs())[-3000:].decode(errors="replace")


def _reachable_host(port: int, fallback: str) -> str:
    """Loopback where the port answers there; testcontainers' guess is for a daemon on another machine, and takes a machine
    that has /.dockerenv for a container beside ours."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return fallback
    return "127.0.0.1"


def _environment() -> dict[str, str]:
    """The image's way of configuration: `a.b` is `KAFKA_A_B`. One such variable replaces the image's whole default file."""
    properties = {
        "node.id": "1",
        "process.roles": "broker,controller",
        # The broker talks to itself as well, to verify transactions, and it cannot reach the mapped port from inside.
        "listeners": f"HOST://:{HOST_PORT},INTERNAL://:9092,CONTROLLER://:9093",
        "listener.security.protocol.map": "HOST:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": "1@localhost:9093",
        **replication_settings(1),
        **TEST_SETTINGS,
    }
    return {"CLUSTER_ID": CLUSTER_ID} | {f"KAFKA_{name.replace('.', '_').upper()}": value for name, value in properties.items()}
