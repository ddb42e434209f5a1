"""A session of `streamkit dev`: one cluster, and on it one version of the app after the other.

    load -> create topics -> send files -> run ──end of input, Ctrl-C──> print the rest, leave
                                           │ ↑
                            saved, imports │ │ state kept or, on the embedded broker, reset
                                           ↓ │
                                          reload

All happens on the main thread, between the steps of the worker; only standard input has a thread of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from streamkit.app import connection
from streamkit.cli.dev_input import Given, Sample, Sender, Stdin, WireRecord, read_file, refuse_unknown
from streamkit.cli.dev_module import StateChange, Version, WatchedModule, state_change
from streamkit.cli.dev_output import Results
from streamkit.config import Settings
from streamkit.errors import BrokerUnreachableError, ConfigError, RetriableError, StateError, StreamkitError, TopicError
from streamkit.kafka.client import KafkaClient
from streamkit.ops.logging import configure, service_log
from streamkit.runtime.reset import plan_reset, reset
from streamkit.runtime.service import RunOptions, run_service
from streamkit.runtime.worker import Worker
from streamkit.testing.broker import Broker

_LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class DevOptions:
    """What the arguments of the command say."""

    given: tuple[Given, ...] = ()
    partitions: int = 1
    rate: float = 10.0
    sample: bool = True
    embedded: bool = True
    reload: bool = True


class Session:
    """Owns the cluster, the versions and their input; `run` returns at the end of a bounded input or after Ctrl-C."""

    def __init__(self, target: str, options: DevOptions, effective: Settings) -> None:
        self._options = options
        self._effective = effective
        self._module = WatchedModule(target)
        self._version = self._module.load()
        self._state_of = self._version  # whose state the changelogs hold
        self._seen = self._version.stores
        self._next: Version | None = None
        self._replaced = False  # the worker has left for the next version, not because of a signal
        self._may_reset = False
        self._looked = time.monotonic()
        refuse_unknown(options.given, self._version.sources)
        self._samples = self._made_samples()
        self._bounded = all(one.is_file for one in options.given) and bool(options.given) and not self._samples
        if options.embedded and not options.given and not self._samples:
            raise ConfigError(
                "there is no input: give --input TOPIC=FILE (or TOPIC=-), or put @topic.sample on a generator in the module; "
                f"the app reads {', '.join(self._version.sources)}"
            )
        self._broker = Broker.embedded() if options.embedded else Broker(_client(effective), is_embedded=False)
        self._client = self._broker.client
        self._sender = Sender(self._client)
        self._results = Results(self._client, from_start=options.embedded, write=lambda line: print(line, flush=True))
        self._stdin: Stdin | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._sender.close()
        self._results.close()

    @property
    def _watching(self) -> bool:
        return self._options.reload and not self._bounded

    def run(self) -> None:
        configure(json=self._effective.log_as_json, level=self._effective.log_level)
        self._refuse_silence()
        self._prepare()
        for one in self._options.given:
            topic = self._version.sources[one.topic]
            if one.is_file:
                self._sender.send(read_file(one, topic))
            else:
                self._stdin = Stdin(one, topic)
        self._say_hello()
        self._run_version()
        while self._replaced and self._next is not None:
            self._take(self._next)
            self._run_version()
        self._results.print_rest()

    def _refuse_silence(self) -> None:
        """`BrokerUnreachableError` before anything is made."""
        seconds = self._effective.engine.start_timeout_ms / 1000
        admin = self._client.admin()
        try:
            admin.cluster_id(seconds)
        except RetriableError as error:
            raise BrokerUnreachableError(
                f"no Kafka broker answered at {self._client.describe()} within {seconds:.0f} s ({error}). Is it running, and is "
                "this the address that it advertises? Without --broker the embedded one is used"
            ) from error
        finally:
            admin.close()

    # ---- one version

    def _prepare(self) -> None:
        """The topics of the version, and a look at its sinks."""
        for topic in (self._version.sources | self._version.sinks).values():
            self._broker.create_topic(topic, partitions=self._options.partitions)
        self._results.watch(list(self._version.sinks.values()))

    def _made_samples(self) -> list[Sample]:
        given = {one.topic for one in self._options.given}
        topics = self._version.sources.values() if self._options.sample else ()
        return [Sample(topic, self._options.rate) for topic in topics if topic.sampler is not None and topic.name not in given]

    def _run_version(self) -> None:
        """Until the end of the input, Ctrl-C, or a newer version; an error waits for a version that is better."""
        try:
            self._run_worker()
        except StreamkitError as error:
            if self._may_reset and isinstance(error, StateError | TopicError):
                _say(f"the state does not fit: {error}")
                self._reset()
                self._run_version()
                return
            with suppress(StreamkitError):  # it may be the broker that is gone
                self._results.print_rest()
            if not self._watching:
                raise
            _say(f"error: {error}")
            _say("waiting for the file to be saved; Ctrl-C ends")
            self._wait_for_save()

    def _run_worker(self) -> None:
        self._replaced = False
        effective = self._effective
        instance = effective.instance_id
        options = RunOptions(
            until_end=self._bounded,
            on_error=effective.on_error,
            on_lost_offset=effective.on_lost_offset,
            instance_id=instance,
            on_step=self._on_step,
            stop=self._has_next,
        )
        log = service_log({"app": self._version.app.name, "worker": f"{instance}-0"})
        run_service(self._version.topology, self._client, effective.engine, options, log)

    def _has_next(self) -> bool:
        """Not asked any more after a signal, so that Ctrl-C ends the session even if a file was saved at that moment."""
        self._replaced = self._next is not None
        return self._replaced

    def _on_step(self, worker: Worker) -> None:  # noqa: ARG002 - what `RunOptions.on_step` is called with
        self._results.print_new()
        if not self._bounded:
            self._sender.send(self._due())
        if self._watching:
            self._look()

    def _due(self) -> Iterator[WireRecord]:
        if self._stdin is not None:
            yield from self._stdin.due(_say)
        for sample in self._samples:
            yield from sample.due()

    # ---- the next version

    def _look(self) -> None:
        """Loads the module anew if it was saved; one that does not load leaves the old version running."""
        if time.monotonic() - self._looked < _LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        changed = self._module.changed()
        if not changed:
            return
        names = ", ".join(_shown(path) for path in changed)
        try:
            version = self._module.load()
            refuse_unknown(self._options.given, version.sources)
        except StreamkitError as error:
            _say(f"{names} saved, but the version before goes on running. error: {error}")
        else:
            _say(f"{names} saved")
            self._next = version

    def _wait_for_save(self) -> None:
        while self._next is None:
            time.sleep(_LOOK_EVERY_S)
            self._look()
        self._replaced = True

    def _take(self, version: Version) -> None:
        """Goes over to another version, whose predecessor has committed and left."""
        change = state_change(self._state_of, version, self._seen)
        self._version, self._next = version, None
        self._samples = self._made_samples()
        if self._stdin is not None:
            self._stdin.use(version.sources[next(one.topic for one in self._options.given if not one.is_file)])
        self._prepare()
        self._may_reset = self._options.embedded
        if change.misfit and self._options.embedded:
            _say(f"the state of {', '.join(change.misfit)} does not fit the new version")
            self._reset()
        elif change.misfit:  # on a real broker nothing is deleted unasked; the engine will say what does not fit
            _say(f"the state of {', '.join(change.misfit)} does not fit the new version; `streamkit reset` deletes it")
        else:
            self._state_of = version
            self._seen |= version.stores
            if change.kept or change.anew:
                _say(str(change))

    def _reset(self) -> None:
        admin = self._client.admin()
        try:
            planned = plan_reset(self._version.topology, admin, self._effective.engine)
            reset(planned, admin, self._effective.engine)
        finally:
            admin.close()
        self._may_reset = False
        self._state_of = self._version
        self._seen = self._version.stores
        anew = tuple(self._seen)
        _say(f"deleted {', '.join(planned.topics) or 'the positions'}: all input is read again. {StateChange((), anew, ())}")

    def _say_hello(self) -> None:
        place = "the embedded broker" if self._options.embedded else self._client.describe()
        how = "to the end of the input" if self._bounded else "until Ctrl-C"
        watched = f"; watching {', '.join(map(_shown, self._module.files))}" if self._watching else ""
        _say(f"app '{self._version.app.name}' on {place}, {how}{watched}")


def _client(effective: Settings) -> KafkaClient:
    from streamkit.kafka.confluent import ConfluentClient

    return ConfluentClient(connection(effective))


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say(text: str) -> None:
    """Beside the results, which are on standard output."""
    print(text, file=sys.stderr, flush=True)
