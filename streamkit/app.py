"""App: joins what users write with the engine that runs it, and nothing else."""

# ruff: noqa: PLC0415 - an app is declared without its engine and clients: they are imported when it runs

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from streamkit.dsl.declarations import Declarations
from streamkit.dsl.event_time import check_event_time
from streamkit.dsl.stream import Stream
from streamkit.errors import ConfigError, DeclarationError
from streamkit.plan import explain
from streamkit.plan.names import checked_name
from streamkit.plan.nodes import EventTime, Merge, Node
from streamkit.plan.topic import Topic, checked_topic_argument
from streamkit.plan.topology import Plan, Topology, cut

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamkit.config import EngineSettings, Settings
    from streamkit.kafka.client import KafkaClient
    from streamkit.kafka.confluent import ConnectionSettings
    from streamkit.runtime.explanation import WindowExplanation
    from streamkit.runtime.failures import OnError

K = TypeVar("K")
V = TypeVar("V")

_SERVERS = "kafka.bootstrap.servers"


class HasClient(Protocol):
    """What `App.run` needs of a `Broker`."""

    @property
    def client(self) -> KafkaClient: ...


class App:
    """A service: streams of topics, what is made of them, and `run`.

    ``name`` is the consumer group and the prefix of the app's internal topics, so it stays as it is from one version to the
    next. Declaring touches nothing outside; two apps share nothing.

    >>> import streamkit as sk
    >>> app = sk.App("bids")
    >>> app.stream(sk.Topic("bids")).to(sk.Topic("bids-copy"))
    >>> print(app.describe())
    app 'bids': 1 sub-topology
    <BLANKLINE>
    sub-topology 'bids'
      reads   bids (json), event time: Kafka timestamp
        1  to(bids-copy)   bytes     <- bids
      writes  bids-copy
    """

    def __init__(self, name: str) -> None:
        self.name = checked_name(name, what="app")
        self._declarations = Declarations(name)

    def __repr__(self) -> str:
        return f"App('{self.name}')"

    def stream(self, *topics: Topic[K, V], event_time: EventTime | None = None) -> Stream[K, V]:
        """The records of a topic, or of several topics of one type.

        Their time is the Kafka timestamp unless `event_time` says otherwise. The same topic may be read at several places of an
        app, with the same types and event time: it is consumed once. A new app starts at the earliest record. A record whose
        bytes do not fit the topic's type, or that has none (a tombstone), is a `DecodeError`.

        `SchemaError`: the event time's field is not there or not a time. `DeclarationError`: no topic, or one read in two ways.

        >>> import streamkit as sk
        >>> sk.App("bids").stream(sk.Topic("bids"), event_time=sk.event_time("bidtime", out_of_orderness="5s"))
        <Stream bids: {...}>
        """
        if not topics:
            raise DeclarationError('stream: name at least one topic, such as app.stream(sk.Topic("bids"))')
        time = EventTime() if event_time is None else event_time
        if not isinstance(time, EventTime):
            raise DeclarationError(f"stream: event_time={event_time!r} is no event time; write {_event_time_of(event_time)}")
        sources: list[Node] = []
        for topic in topics:
            check_event_time(time, checked_topic_argument(topic, where="stream"))
            sources.append(self._declarations.source(topic, time))
        return Stream(sources[0] if len(sources) == 1 else Merge(tuple(sources)), self._declarations)

    def plan(self) -> Plan:
        """All that has been declared so far, as an immutable value.

        >>> import streamkit as sk
        >>> app = sk.App("bids")
        >>> app.stream(sk.Topic("bids")).to(sk.Topic("bids-copy"))
        >>> [sink.label for sink in app.plan().sinks]
        ['to(bids-copy)']
        """
        return Plan(self.name, tuple(self._declarations.sinks))

    def topology(self) -> Topology:
        """The plan cut into sub-topologies at its repartition topics. `DeclarationError`: nothing is written anywhere.

        >>> import streamkit as sk
        >>> app = sk.App("bids")
        >>> app.stream(sk.Topic("bids")).key_by("item").to(sk.Topic("bids-by-item"))
        >>> [part.name for part in app.topology().parts]
        ['bids', 'bids-by-item']
        """
        return cut(self.plan())

    def describe(self, *, mermaid: bool = False) -> str:
        """The topology as text, or as a Mermaid flowchart: what is read, each step, what is written and kept. Needs no broker.

        ``columns``, ``rows`` or ``bytes`` beside a step is what it looks at: expressions run on columns, functions on rows, and
        unchanged values go from topic to topic as the bytes that they were.

        >>> import streamkit as sk
        >>> app = sk.App("bids")
        >>> app.stream(sk.Topic("bids")).to(sk.Topic("bids-copy"))
        >>> print(app.describe(mermaid=True))
        flowchart LR
          t0[("bids")]
          t1[("bids-copy")]
          subgraph sub0["bids"]
            s0_0["to(bids-copy)"]
          end
          t0 --> s0_0
          s0_0 --> t1
        """
        return explain.mermaid(self.topology()) if mermaid else explain.text(self.topology())

    def run(
        self,
        *,
        bootstrap_servers: str | None = None,
        broker: HasClient | None = None,
        until_end: bool = False,
        on_error: OnError | None = None,
        create_topics: int = 0,
        settings: EngineSettings | Mapping[str, object] | None = None,
        config: str | Path | None = None,
        kafka: Mapping[str, str] | None = None,
        instance_id: str | None = None,
        worker_index: int = 0,
        parent: int | None = None,
        log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = None,
        report: bool = False,
        profile: str | Path | None = None,
    ) -> None:
        """Runs one worker in this process until SIGTERM or SIGINT, which finish the batch in hand, commit and leave the group.

        Settings that are not given come from the environment, else from the file ``config`` (or ``STREAMKIT_CONFIG``, or
        streamkit.toml here), else they have their defaults; ``settings`` gives some (``{"commit_interval": "50ms"}``) or all.
        The Kafka is ``broker`` (a `Broker`), else ``bootstrap_servers``, else ``KAFKA_BOOTSTRAP_SERVERS``, else localhost:9092;
        ``kafka`` passes librdkafka properties on (SASL, SSL). ``until_end`` stops where the topics ended at the start,
        and closes all windows; a live service waits for the watermark. ``on_error`` is "stop", "skip" or a function of the
        `RecordError` that returns either. ``create_topics`` makes missing topics with that many partitions, for a first try.
        ``worker_index`` and ``parent`` are for a supervisor of several workers (`streamkit run --workers`).
        ``instance_id`` tells workers of one app apart (default: the host name); a restart under the same one takes over at once.
        ``log_level`` is for the log on standard error; below WARNING it has a line for every step in the service's life.
        ``report`` prints at the end where the time went; ``profile`` writes a sampled profile to that HTML file then.

        `ConfigError`: a setting that is wrong, and where it stands. `StartError`: no broker answers, a topic is missing or does
        not fit. `RecordError`: a record that cannot be processed, with nothing of its transaction committed.
        """
        # Here, so that declaring and describing an app needs neither the engine nor librdkafka.
        from contextlib import nullcontext

        from streamkit.ops.logging import configure, service_log
        from streamkit.ops.profile import Profile
        from streamkit.ops.report import print_stages
        from streamkit.runtime.service import RunOptions, run_service

        topology = self.topology()
        if create_topics < 0:
            raise ConfigError(f"argument create_topics: {create_topics} is no number of partitions; it must be at least 0")
        named = None if callable(on_error) else on_error
        given = {_SERVERS: bootstrap_servers, "instance_id": instance_id, "on_error": named, "log_level": log_level}
        effective = resolved(settings, config, kafka, given)
        instance = effective.instance_id
        worker = f"{instance}-{worker_index}"
        client = broker.client if broker is not None else _client(effective, f"{self.name}-{worker}", worker)
        configure(json=effective.log_as_json, level=effective.log_level)
        log = service_log({"app": self.name, "worker": worker})
        profiling = None if profile is None else Profile(profile, log)
        options = RunOptions(
            until_end=until_end,
            on_error=on_error if callable(on_error) else effective.on_error,
            on_lost_offset=effective.on_lost_offset,
            create_topics=create_topics,
            instance_id=instance,
            worker_index=worker_index,
            parent=parent,
            watchdog=broker is None,  # with a Broker the process is somebody's test or notebook
            report=print_stages if report else None,
            on_step=None if profiling is None else lambda _: profiling.look(),
        )
        with profiling or nullcontext():
            run_service(topology, client, effective.engine, options, log)

    def reset(
        self,
        *,
        bootstrap_servers: str | None = None,
        broker: HasClient | None = None,
        settings: EngineSettings | Mapping[str, object] | None = None,
        config: str | Path | None = None,
        kafka: Mapping[str, str] | None = None,
        confirm: Callable[[str, tuple[str, ...]], bool] | None = None,
    ) -> None:
        """Takes the app back to its beginning: deletes its positions and its internal topics, with all state in them.

        Source and sink topics are left alone: results that were written stay and will be written again. ``confirm`` is asked
        with the group and the topics; False leaves everything as it is.

        Settings are those of `run`. `StartError` while a worker of the app is alive.
        """
        from streamkit.runtime.reset import plan_reset, reset

        effective = resolved(settings, config, kafka, {_SERVERS: bootstrap_servers})
        client = broker.client if broker is not None else _client(effective, f"{self.name}-reset")
        admin = client.admin()
        try:
            planned = plan_reset(self.topology(), admin, effective.engine)
            if confirm is None or confirm(planned.group, planned.topics):
                reset(planned, admin, effective.engine)
        finally:
            admin.close()

    def explain_window(
        self,
        window: str,
        *,
        aggregate: str | None = None,
        bootstrap_servers: str | None = None,
        broker: HasClient | None = None,
        settings: EngineSettings | Mapping[str, object] | None = None,
        config: str | Path | None = None,
        kafka: Mapping[str, str] | None = None,
    ) -> WindowExplanation:
        """Why a window is still open: how far time has come, which partition holds it back, and what would close it.

        ``window`` is ``KEY@START``: the key as it is on the wire (text, a number, a JSON array, ``null``; nothing behind
        `globally`), then where the window starts, a time with its zone or milliseconds since 1970. ``KEY@START/END`` where
        several start together, ``KEY@`` for the oldest open window of the key. ``aggregate`` says which, where there are several.

        It reads what the app has committed to Kafka: its positions, and of its changelogs the rows of this key. It needs no
        running worker and disturbs none. Which inputs are idle is not in Kafka; it is concluded from how far time has come.

        Settings are those of `run`. `DeclarationError`: the app has no such aggregate or window. `StartError`: the app has never
        committed anything there. `RestoreError`: its changelogs are of another shape of the app.

        >>> import streamkit as sk
        >>> BIDS, TOTALS = sk.Topic("bids", key=str), sk.Topic("totals")
        >>> app = sk.App("bids")
        >>> bids = app.stream(BIDS, event_time=sk.event_time("at"))
        >>> bids.by_record_key().window(sk.tumbling("10m")).aggregate("count", n=sk.count()).on_close().to(TOTALS)
        >>> broker = sk.Broker.embedded()
        >>> for topic in (BIDS, TOTALS):
        ...     broker.create_topic(topic)
        >>> app.explain_window("A@2020-04-15T08:00:00Z", broker=broker)
        Traceback (most recent call last):
        streamkit.errors.StartError: app 'bids' has committed nothing on embedded broker: ...
        """
        from streamkit.runtime.explanation import explain_stored

        effective = resolved(settings, config, kafka, {_SERVERS: bootstrap_servers})
        client = broker.client if broker is not None else _client(effective, f"{self.name}-explain")
        return explain_stored(self.topology(), client, effective.engine, window, aggregate)


def _event_time_of(given: object) -> str:
    """What was probably meant where something else than an event time was given."""
    return "sk.event_time(lambda value: ...)" if callable(given) else f'sk.event_time("{given}")'


def resolved(
    settings: EngineSettings | Mapping[str, object] | None,
    config: str | Path | None,
    kafka: Mapping[str, str] | None,
    arguments: Mapping[str, object],
) -> Settings:
    """The settings of a run, from all sources; what has an argument of its own wins over ``settings`` and ``kafka``."""
    from streamkit.config import EngineSettings, resolve
    from streamkit.config.resolve import engine_arguments, kafka_arguments

    if not isinstance(settings, EngineSettings | Mapping | None):
        raise ConfigError(f'settings are a dict such as {{"commit_interval": "50ms"}} or an EngineSettings, not {settings!r}')
    several = engine_arguments(settings) if isinstance(settings, EngineSettings) else dict(settings or {})
    own = {name: value for name, value in arguments.items() if value is not None}
    return resolve({**several, **kafka_arguments(kafka or {}), **own}, file=config)


def connection(effective: Settings, client_id: str = "streamkit", slot: str | None = None) -> ConnectionSettings:
    """How to reach the Kafka of these settings. `ConfigError`: a property that there is not or that would break a guarantee.

    ``client_id`` is what brokers call us in their logs, metrics and quotas; ``slot`` tells the workers of a group apart."""
    from streamkit.config.secrecy import is_secret
    from streamkit.kafka.confluent import ConnectionSettings
    from streamkit.kafka.confluent.properties import refuse_unknown
    from streamkit.kafka.confluent.settings import refuse_guarded

    for name, value in effective.kafka.items():
        effective.checked(f"kafka.{name}", partial(refuse_guarded, {name: value}))
        effective.checked(f"kafka.{name}", partial(refuse_unknown, name, value, is_secret=is_secret(name)))
    engine = effective.engine
    made = partial(
        ConnectionSettings,
        effective.bootstrap_servers,
        client_id=client_id,
        transaction_timeout_ms=engine.transaction_timeout_ms,
        session_timeout_ms=engine.session_timeout_ms,
        max_poll_interval_ms=engine.max_poll_interval_ms,
        properties=effective.kafka,
        group_protocol="consumer" if engine.group_protocol == "consumer" else "classic",
        group_instance_id=slot if engine.static_membership else None,
    )
    return effective.checked("kafka.socket.timeout.ms", made)  # the one property that has an order with our own settings


def _client(effective: Settings, client_id: str, slot: str | None = None) -> KafkaClient:
    from streamkit.kafka.confluent import ConfluentClient

    return ConfluentClient(connection(effective, client_id, slot))
