"""The door to Docker: the client, images, testcontainers. Whatever is missing is a `ContainerError` that says what to do."""

from __future__ import annotations

import gc
import importlib
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from streamkit.errors import ContainerError

Report = Callable[[str], None]

PULL_TIMEOUT_S = 180.0
_ANSWER_TIMEOUT_S = 60.0


def silent(_: str) -> None:
    """Reports nothing."""


def library(name: str) -> Any:
    """A module of the libraries that talk to Docker; they come with the ``test`` extra."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ContainerError(f"containers need the test extra: pip install 'streamkit[test]' ({error})") from error


@contextmanager
def docker_client() -> Iterator[Any]:
    """The engine's client, closed at the end. `ContainerError`: no engine answers."""
    with closing(_client()) as client:
        yield client


def _client() -> Any:
    docker = library("docker")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a client whose constructor failed leaves its socket open
        try:
            return docker.from_env(timeout=_ANSWER_TIMEOUT_S)  # asks the engine for its version
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no engine
            reason = f"{type(error).__name__}: {error}"[:300]
        gc.collect()
    at = f" at DOCKER_HOST={os.environ['DOCKER_HOST']}" if os.environ.get("DOCKER_HOST") else ""
    raise ContainerError(f"no Docker daemon answers{at}: start one, or use replicas as processes ({reason})")


def have_image(image: str, report: Report = silent, *, timeout_s: float = PULL_TIMEOUT_S) -> None:
    """Pulls an image that is not there. `ContainerError`: it cannot be pulled, or not in time."""
    with docker_client() as client:
        if client.images.list(image):
            return
    report(f"pulling {image} (at most {timeout_s:.0f} s) ...")
    # In a process of its own: the client has no time-out for a pull that makes no progress.
    command = [sys.executable, "-c", f"import docker; docker.from_env().images.pull({image!r})"]
    try:
        pull = subprocess.run(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ContainerError(f"image '{image}' is not here and was not pulled within {timeout_s:.0f} s") from error
    if pull.returncode:
        reason = (pull.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ContainerError(f"image '{image}' is not here and cannot be pulled; build it, or check its name ({reason[:300]})")


def new_container(image: str) -> Any:
    """A container of testcontainers, which removes it when this process is gone (its reaper; see its documentation)."""
    with docker_client():  # a plain word where there is no engine, instead of what comes out of the library
        return library("testcontainers.core.container").DockerContainer(image)


def new_network() -> Any:
    """A network of its own, in which containers find each other by name."""
    with docker_client():
        return library("testcontainers.core.network").Network()


def reachable_host(port: int, fallback: str) -> str:
    """Loopback where the port answers there. testcontainers' guess is for an engine on another machine, and takes a machine
    that has /.dockerenv for a container beside ours."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return fallback
    return "127.0.0.1"
