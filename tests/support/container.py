"""Kafka in a container, as users of `streamkit.testing.containers` get it, with the test settings and our watchdog."""

from __future__ import annotations

import importlib
import os

from streamkit.errors import ContainerError
from streamkit.testing.containers.broker import IMAGE
from streamkit.testing.containers.broker import KafkaContainer as UsersKafkaContainer
from streamkit.testing.containers.engine import have_image
from tests.support.broker_settings import TEST_SETTINGS, replication_settings
from tests.support.jvm import Report
from tests.support.watchdog import Watchdog

__all__ = ["IMAGE", "ContainerError", "KafkaContainer", "label_of_this_run"]

# testcontainers' reaper would be one more image to pull; our watchdog does its work. Read when testcontainers is first imported.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")


def label_of_this_run() -> str:
    """What testcontainers puts on every container and network of this process."""
    labels = importlib.import_module("testcontainers.core.labels")
    return f"{labels.LABEL_SESSION_ID}={labels.SESSION_ID}"


class KafkaContainer:
    """One broker in a container of the public image."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._container = UsersKafkaContainer(IMAGE, replication_settings(1) | TEST_SETTINGS)
        self._watchdog: Watchdog | None = None

    @property
    def bootstrap(self) -> str:
        return self._container.bootstrap

    def start(self, timeout: float = 60) -> None:
        try:
            have_image(IMAGE, self._report)
            self._watchdog = Watchdog()
            self._watchdog.watch_label(label_of_this_run())
            self._container.start(timeout)
        except ContainerError:
            self.stop()
            raise

    def stop(self) -> None:
        self._container.stop()
        if self._watchdog is not None:
            self._watchdog.release()
            self._watchdog = None
