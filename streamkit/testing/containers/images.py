"""A replica as a container of the service's image, run as it would be in production: read-only, without rights."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from streamkit.errors import ContainerError
from streamkit.testing.containers.broker import Kafka
from streamkit.testing.containers.engine import library, new_container

_LOOK_EVERY_S = 0.1
_DEATH_S = 10.0
HARDENED: Mapping[str, object] = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}


class ContainerReplica:
    """A container whose host name is the replica's name: started again, it is the same instance of the service."""

    def __init__(
        self, name: str, image: str, arguments: Sequence[str] | None, environment: Mapping[str, str], kafka: Kafka
    ) -> None:
        self.name = name
        self._container = new_container(image)
        self._container.with_envs(**environment)
        if arguments is not None:
            self._container.with_command(list(arguments))
        place: dict[str, object] = {"hostname": name}
        if kafka.network is None:
            place = {"network_mode": "host"}  # its address is one of this machine's
            self._container.with_env("STREAMKIT_INSTANCE_ID", name)
        else:
            self._container.with_network(kafka.network)
        self._container.with_kwargs(**HARDENED, **place)
        self._wrapped: Any = None

    @property
    def id(self) -> str:
        """Of the container, for Docker."""
        return str(self._started().id)

    def start(self) -> None:
        if self._wrapped is not None:
            self._wrapped.start()
            return
        try:
            self._container.start()
        except Exception as error:
            raise ContainerError(f"'{self.name}' does not start: {type(error).__name__}: {error}") from error
        self._wrapped = self._container.get_wrapped_container()

    def terminate(self) -> None:
        self._send("SIGTERM")

    def kill(self) -> None:
        self._send("SIGKILL")
        self.wait(_DEATH_S)

    def _send(self, signal: str) -> None:
        if self._wrapped is not None:
            with suppress(library("docker").errors.APIError):  # it has just ended by itself
                self._wrapped.kill(signal)

    def wait(self, timeout_s: float) -> int | None:
        deadline = time.monotonic() + timeout_s
        while (code := self.exit_code()) is None and self._wrapped is not None and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
        return code

    def exit_code(self) -> int | None:
        if self._wrapped is None:
            return None
        self._wrapped.reload()
        return int(self._wrapped.attrs["State"]["ExitCode"]) if self._wrapped.status == "exited" else None

    def log(self) -> str:
        return "" if self._wrapped is None else self._wrapped.logs().decode(errors="replace")

    def close(self) -> None:
        if self._wrapped is not None:
            self._wrapped = None
            self._container.stop(force=True, delete_volume=True)

    def _started(self) -> Any:
        if self._wrapped is None:
            raise ContainerError(f"'{self.name}' was not started")
        return self._wrapped
