"""A service of several replicas under test: started, fed, killed, scaled, and read."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from streamkit.app import App
from streamkit.config.sources import variable_of
from streamkit.errors import ContainerError
from streamkit.eventtime.duration import duration_ms
from streamkit.load import load_app
from streamkit.plan.names import repartition_topic
from streamkit.plan.topic import Topic
from streamkit.record.model import Record
from streamkit.runtime.topics import external_topics
from streamkit.testing.containers.broker import VARIABLE, Kafka
from streamkit.testing.containers.engine import Report, have_image, silent
from streamkit.testing.containers.images import ContainerReplica
from streamkit.testing.containers.processes import ProcessReplica
from streamkit.testing.containers.progress import described, waiting
from streamkit.testing.containers.replica import Replica, events_of, tail
from streamkit.testing.containers.target import target_of

K = TypeVar("K")
V = TypeVar("V")

Duration = str | timedelta
_PAUSE_S = 0.1
_CLOSE_S = 10.0


class Service:
    """The replicas of one service, numbered from 0, and the Kafka that they work on; `service` makes it.

    Every method that waits is bounded, says what it waits for when the time is over, and fails at once with the last lines of its
    log if a replica dies that was not killed by the test.
    """

    def __init__(self, name: str, kafka: Kafka, make: Callable[[str, Sequence[str] | None], Replica], app: App | None) -> None:
        self.kafka = kafka
        self._name = name
        self._make = make
        self._app = app
        self._replicas: list[Replica] = []
        self._finishing: list[Replica] = []
        self._should_run: set[int] = set()
        self._log_at_start: dict[int, int] = {}

    # ---- records

    def send(
        self,
        topic: Topic[K, V],
        *values: V | None,
        key: K | None = None,
        timestamp: datetime | None = None,
        partition: int = -1,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Appends records to a topic in one transaction. Without a partition the key chooses, by Kafka's own rule."""
        self.kafka.send(topic, *values, key=key, timestamp=timestamp, partition=partition, headers=headers)

    def read(self, topic: Topic[K, V], *, at_least: int = 0, timeout: Duration = "30s") -> list[Record[K, V]]:
        """All committed records of a topic, by partition and offset; waits until there are ``at_least`` so many.

        `ContainerError`: they did not come within ``timeout``.
        """
        found: list[Record[K, V]] = []

        def enough() -> str | None:
            found[:] = self.kafka.read(topic)
            return None if len(found) >= at_least else f"{at_least} records in '{topic.name}', which has {len(found)}"

        self._wait(enough, timeout)
        return found

    def wait_until_caught_up(self, *topics: Topic[Any, Any] | str, timeout: Duration = "60s") -> None:
        """Until the committed offsets of the service have reached the end of its input, repartition topics included.

        What windows hold back is not waited for: ask `read` for as many results as must come. ``topics`` are needed only
        for an image whose app was not given. `ContainerError` with the partitions in which records still wait.
        """
        names = [each if isinstance(each, str) else each.name for each in topics] or self._inputs()
        client = self.kafka.client

        def behind() -> str | None:
            # In the order in which records flow: what one step has committed stands in the topic of the next.
            left = [each for name in names if (each := waiting(client, self._name, [name]))]
            return f"group '{self._name}' to process {', '.join(map(described, left))}" if left else None

        self._wait(behind, timeout)

    def run_until_end(self, *, timeout: Duration = "120s") -> None:
        """Stops all replicas and lets a single one process what is left, close all windows and end (``--until-end``).

        The group is finished then: it processes nothing more until ``streamkit reset``.
        """
        self.scale(0)
        last = self._make(f"{self._name}-last", ["--until-end"])
        self._finishing.append(last)
        last.start()
        code = last.wait(_seconds(timeout))
        if code != 0:
            state = f"did not end within {timeout}" if code is None else f"ended with exit code {code}"
            raise ContainerError(f"'{last.name}' {state}; the last lines of its log:\n{tail(last.log())}")

    # ---- replicas

    @property
    def running(self) -> tuple[int, ...]:
        """The replicas that run now."""
        return tuple(index for index in sorted(self._should_run) if self._replicas[index].exit_code() is None)

    def start(self, *replicas: int, timeout: Duration = "60s") -> None:
        """Starts replicas that were stopped or killed, under the name that they had, or new ones; returns when they are up.

        Up is a replica that has reached Kafka, found its topics and joined the group; which partitions it gets is the
        group's to decide. `ContainerError`: one of them ends instead, with the last lines of its log.
        """
        for index in replicas:
            while len(self._replicas) <= index:
                self._replicas.append(self._make(f"{self._name}-{len(self._replicas)}", None))
            replica = self._replicas[index]
            if index in self._should_run and replica.exit_code() is None:
                raise ContainerError(f"'{replica.name}' runs already")
            self._log_at_start[index] = len(replica.log())
            replica.start()
            self._should_run.add(index)
        for index in replicas:
            self.wait_for_event("started", replica=index, timeout=timeout)

    def stop(self, *replicas: int, timeout: Duration = "60s") -> None:
        """SIGTERM, as a deployment does: each finishes its batch, commits, leaves the group, and ends with exit code 0.

        `ContainerError`: another exit code, or one did not end within ``timeout`` (it is killed then).
        """
        known = [self._known(index) for index in replicas]
        self._should_run.difference_update(replicas)
        for replica in known:
            replica.terminate()
        for replica in known:
            code = replica.wait(_seconds(timeout))
            if code is None:
                replica.kill()
            if code != 0:
                how = f"did not end within {timeout} of SIGTERM" if code is None else f"ended with exit code {code} on SIGTERM"
                raise ContainerError(f"'{replica.name}' {how}; its last lines:\n{tail(replica.log())}")

    def kill(self, replica: int) -> None:
        """``kill -9``: it can do nothing any more. Its partitions go to others after ``session_timeout``, or at once to it
        when it is started again."""
        self._should_run.discard(replica)
        self._known(replica).kill()

    def restart(self, *replicas: int, timeout: Duration = "60s") -> None:
        """One after another: stopped, started, up. All of them is a rolling restart."""
        for index in replicas:
            self.stop(index, timeout=timeout)
            self.start(index, timeout=timeout)

    def scale(self, replicas: int, *, timeout: Duration = "60s") -> None:
        """Starts or stops replicas until so many run; those with the highest numbers are stopped."""
        running = self.running
        self.stop(*reversed(running[replicas:]), timeout=timeout)
        idle = [index for index in range(replicas + len(self._replicas)) if index not in running]
        self.start(*idle[: max(0, replicas - len(running))], timeout=timeout)

    # ---- logs

    def log(self, replica: int) -> str:
        """All that a replica has written, in all of its lives."""
        return self._known(replica).log()

    def events(self, replica: int) -> list[dict[str, Any]]:
        """The lines that streamkit wrote, as objects with ``event``, ``timestamp`` and what belongs to it."""
        return events_of(self.log(replica))

    def wait_for_event(self, name: str, *, replica: int, timeout: Duration = "60s") -> dict[str, Any]:
        """The first line of this name (``running``, ``revoked``, ``stopped``) that a replica wrote since its last start."""
        found: list[dict[str, Any]] = []

        def written() -> str | None:
            log = self._known(replica).log()[self._log_at_start.get(replica, 0) :]
            found[:] = [event for event in events_of(log) if event["event"] == name]
            return None if found else f"'{name}' in the log of '{self._replicas[replica].name}'"

        self._wait(written, timeout)
        return found[0]

    def container_id(self, replica: int) -> str:
        """Docker's id of a replica's container, for what only Docker can do. `ContainerError`: it is a process."""
        found = self._known(replica)
        if not isinstance(found, ContainerReplica):
            raise ContainerError(f"'{found.name}' is a process, not a container: give service(image=...)")
        return found.id

    # ---- inside

    def _wait(self, missing: Callable[[], str | None], timeout: Duration) -> None:
        """Until nothing is missing; looks at the replicas first, so that a dead one is told instead of a time-out."""
        deadline = time.monotonic() + _seconds(timeout)
        while (what := missing()) is not None:
            self._check_alive()
            if time.monotonic() > deadline:
                raise ContainerError(f"waited {timeout} for {what}\n{self.logs()}")
            time.sleep(_PAUSE_S)

    def _check_alive(self) -> None:
        for index in sorted(self._should_run):
            replica = self._replicas[index]
            code = replica.exit_code()
            if code is not None:
                raise ContainerError(f"'{replica.name}' ended with exit code {code}; its last lines:\n{tail(replica.log())}")

    def logs(self) -> str:
        """The last lines of every replica, for a message."""
        every = [*self._replicas, *self._finishing]
        return "\n".join(f"---- '{each.name}', its last lines:\n{tail(each.log())}" for each in every)

    def _known(self, index: int) -> Replica:
        if not 0 <= index < len(self._replicas):
            there = f"0 to {len(self._replicas) - 1}" if self._replicas else "none yet"
            raise ContainerError(f"service '{self._name}' has no replica {index}; it has: {there}")
        return self._replicas[index]

    def _inputs(self) -> list[str]:
        """Source and repartition topics, in the order in which records flow."""
        if self._app is None:
            raise ContainerError("wait_until_caught_up: name the topics, or give service(app=...) as well as the image")
        names: list[str] = []
        for part in self._app.topology().parts:
            names += [source.topic.name for source in part.sources]
            names += [repartition_topic(self._name, repartition.name) for repartition in part.reads]
        return list(dict.fromkeys(names))

    def _close(self) -> None:
        """In order where that is possible: a dead member would hold its group up for the session timeout."""
        every = [*self._replicas, *self._finishing]
        try:
            for replica in every:
                replica.terminate()
            for replica in every:
                replica.wait(_CLOSE_S)
        finally:
            for replica in every:
                replica.close()


@contextmanager
def service(
    app: App | str | None = None,
    *,
    kafka: Kafka,
    image: str | None = None,
    replicas: int = 1,
    partitions: int | None = None,
    group: str | None = None,
    command: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, object] | None = None,
    timeout: Duration = "60s",
    report: Report = silent,
) -> Iterator[Service]:
    """A service of so many replicas, while the ``with`` block runs; at its end they are removed.

    Without ``image`` each replica is a process: ``streamkit run`` with this interpreter, of an ``app`` that is written
    as on the command line (``"services.bids.app:app"``, ``"app.py"``) or is an `App` in a module. This needs no Docker. With
    ``image`` each is a container of it, with a read-only root file system and without rights; ``command`` replaces the
    image's own. The app may be given as well: then topics and group are known from it, else ``group`` is needed.

    ``partitions`` makes those source and sink topics of the app that are missing. ``settings`` are streamkit's by name
    (``{"commit_interval": "50ms"}``), ``environment`` are variables of the replicas. Returns when every replica is up.

    `ContainerError`: no Docker, no such image, or a replica that ends at its start, with the last lines of its log. If the
    block fails, the last lines of every replica are added to its error.

        with kafka() as broker, service("app.py", kafka=broker, replicas=2, partitions=3) as orders:
            orders.send(ORDERS, Order("A", 2), key="A")
            orders.kill(0)
            orders.wait_until_caught_up()
            assert orders.read(TOTALS, at_least=1)[0].value.total == 2
    """
    if app is None and image is None:
        raise ContainerError("service: give an app, an image, or both")
    loaded = load_app(app) if isinstance(app, str) else app
    name = loaded.name if loaded is not None else group
    if name is None:
        raise ContainerError(f"service: give the app of image '{image}', or the name of its consumer group: service(group=...)")
    if loaded is not None and partitions is not None:
        for topic in external_topics(loaded.topology()):
            kafka.create_topic(topic, partitions=partitions)
    variables = {variable_of(setting): str(value) for setting, value in (settings or {}).items()} | dict(environment or {})
    variables.setdefault("STREAMKIT_LOG_FORMAT", "json")
    with contextlib.ExitStack() as stack:
        make: Callable[[str, Sequence[str] | None], Replica]
        if image is not None:
            have_image(image, report)
            make = _containers(image, command, variables | {VARIABLE: kafka.inside}, kafka)
        else:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamkit-service-")))
            run = ["run", target_of(app)] if command is None and app is not None else list(command or ())
            make = _processes(run, variables | {VARIABLE: kafka.bootstrap_servers}, directory)
        made = Service(name, kafka, make, loaded)
        stack.callback(made._close)
        try:
            made.scale(replicas, timeout=timeout)
            yield made
        except BaseException as error:
            if not isinstance(error, ContainerError):
                error.add_note(made.logs())
            raise


def _containers(
    image: str, command: Sequence[str] | None, variables: Mapping[str, str], kafka: Kafka
) -> Callable[[str, Sequence[str] | None], Replica]:
    def make(name: str, more: Sequence[str] | None) -> Replica:
        arguments = None if command is None and more is None else [*(command or ("run", "app.py")), *(more or ())]
        return ContainerReplica(name, image, arguments, variables, kafka)

    return make


def _processes(
    run: Sequence[str], variables: Mapping[str, str], directory: Path
) -> Callable[[str, Sequence[str] | None], Replica]:
    return lambda name, more: ProcessReplica(name, [*run, *(more or ())], variables, directory)


def _seconds(timeout: Duration) -> float:
    return duration_ms(timeout, what="timeout") / 1000
