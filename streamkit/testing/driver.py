"""TestDriver: an app on the embedded broker, one call at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from streamkit.app import App
from streamkit.clock import ManualClock
from streamkit.config import EngineSettings
from streamkit.errors import DeclarationError, StreamkitError
from streamkit.eventtime.duration import duration_ms
from streamkit.instrument import Recorder
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory import Cluster, MemoryClient
from streamkit.kafka.memory.faults import CALLS
from streamkit.kafka.murmur2 import partition_for
from streamkit.operators.map import instant
from streamkit.plan.names import near_names
from streamkit.plan.topic import Topic
from streamkit.record.model import Record, Row
from streamkit.runtime.explanation import WindowExplanation
from streamkit.runtime.failures import FailurePolicy, OnError
from streamkit.runtime.layout import Layout
from streamkit.runtime.live import LiveTasks
from streamkit.runtime.open_window import Question, aggregate_of, answer, instant_ms
from streamkit.runtime.topics import external_topics, lay_out
from streamkit.runtime.worker import Worker
from streamkit.testing.broker import FOREVER

K = TypeVar("K")
V = TypeVar("V")

_SETTLE_STEPS = 100_000
_REBALANCE_STEPS = 8


class _Crash(BaseException):
    """The process dies here."""


class _Bystander:
    """A member that takes partitions and does nothing with them."""

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Leaves them paused."""

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Has nothing to commit."""

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Has nothing to lose."""


class TestDriver:
    """Runs an app on the embedded broker, synchronously: every call returns when all that follows from it is committed.

    ``partitions`` of every source and sink topic (a number, or by topic name). The clock stands still until `advance`. Records
    that come late, null or broken are treated as in a service; an error stops the driver and is raised by the call that caused
    it.

    >>> import streamkit as sk
    >>> class Bid(sk.Model):
    ...     item: str
    ...     price: int
    >>> BIDS = sk.Topic("bids", key=str, value=Bid)
    >>> TOTALS = sk.Topic("totals", key=str)
    >>> app = sk.App("bids")
    >>> totals = app.stream(BIDS).by_record_key().window(sk.tumbling("1m")).aggregate("total", total=sk.sum("price"))
    >>> totals.on_close().to(TOTALS)
    >>> with sk.TestDriver(app) as driver:
    ...     driver.send(BIDS, Bid("A", 2), Bid("A", 3), key="A")
    ...     driver.end_of_input()
    ...     [(record.key, record.value.total) for record in driver.read(TOTALS)]
    [('A', 5)]
    """

    __test__ = False  # not a test class, whatever its name says to pytest

    def __init__(
        self,
        app: App,
        *,
        partitions: int | Mapping[str, int] = 1,
        start: datetime = datetime(2020, 1, 1, tzinfo=UTC),
        on_error: OnError = "stop",
        settings: EngineSettings | None = None,
    ) -> None:
        self.clock = ManualClock(round(start.timestamp() * 1000))
        self.cluster = Cluster(self.clock)
        self.events = Recorder()
        self._app = app
        self._topology = app.topology()
        self._on_error = on_error
        # time is told downstream at once: a test should not have to wait for what a service rate-limits
        self._settings = settings or EngineSettings(control_interval_ms=0)
        self._read_up_to: dict[str, dict[int, int]] = {}
        for name in external_topics(self._topology):
            count = partitions if isinstance(partitions, int) else partitions.get(name, 1)
            self.cluster.create_topic(name, count, FOREVER)
        self._client: MemoryClient
        self._layout: Layout
        self.worker: Worker
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---- records

    def send(
        self,
        topic: Topic[K, V],
        *values: V | None,
        key: K | None = None,
        timestamp: datetime | None = None,
        partition: int | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Appends records to a topic and processes them. ``timestamp`` defaults to the driver's clock, the partition to that of
        the key (0 without one). A value may be None: a null record."""
        encode = topic.value_serde.encoder()
        wire_key = topic.key_serde.encode_one(key)
        for value in values:
            self.send_raw(
                topic.name,
                None if value is None else encode(value),
                key=wire_key,
                timestamp=timestamp,
                partition=partition,
                headers=headers,
                settle=False,
            )
        self.settle()

    def send_raw(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        timestamp: datetime | None = None,
        partition: int | None = None,
        headers: Mapping[str, bytes] | None = None,
        settle: bool = True,
    ) -> None:
        """Appends bytes as they are, for records that a serde would not write."""
        when = self.clock.now_ms() if timestamp is None else _milliseconds(timestamp)
        if partition is None:
            partition = 0 if key is None else partition_for(key, self._partitions(topic))
        self.cluster.append(
            topic, value, key=key, partition=partition, timestamp=when, headers=list((headers or {}).items()) or None
        )
        if settle:
            self.settle()

    def read(self, topic: Topic[K, V]) -> list[Record[K, V]]:
        """The committed records of a topic that were not read before, by partition and offset."""
        seen = self._read_up_to.setdefault(topic.name, {})
        decode = topic.value_serde.decoder(None)
        records = []
        for found in self.cluster.read(topic.name):
            if found.offset < seen.get(found.partition, 0):
                continue
            seen[found.partition] = found.offset + 1
            value: Any = None if found.value is None else decode(found.value)
            records.append(
                Record(
                    topic.key_serde.decode_one(found.key), value, instant(found.timestamp), dict(found.headers or ()),
                    topic.name, found.partition, found.offset,
                )
            )  # fmt: skip
        return records

    # ---- time

    def advance(self, duration: str | timedelta) -> None:
        """Moves the clock, for what depends on wall time (idle partitions), and processes what follows."""
        self.clock.advance(duration_ms(duration, what="advance") / 1000)
        self.settle()

    def end_of_input(self) -> None:
        """Every source ends where it is now: time goes to the end and the last windows close. Nothing can be sent after that."""
        self.worker.end_of_input()
        self.settle()

    def settle(self) -> None:
        """Steps the worker until nothing is left to do and all is committed."""
        for _ in range(_SETTLE_STEPS):
            try:
                if not self.worker.step(0.0).busy and not self.worker.commit_now():
                    return
            except _Crash:
                self._replace()
        raise StreamkitError(f"the app is still busy after {_SETTLE_STEPS} steps: does it write to a topic that it reads?")

    # ---- state and faults

    def store(self, name: str) -> list[Row]:
        """The open windows of an aggregate: result rows as they are now, by window and key in order of first sight."""
        rows: list[Row] = []
        known = {n for task in self.worker.tasks for n in task.chain.aggregates}
        if name not in known:
            raise DeclarationError(f"no store '{name}'; {near_names(name, sorted(known))}")
        for task in sorted(self.worker.tasks, key=lambda task: task.id):
            operator = task.chain.aggregates.get(name)
            if operator is not None:
                rows += [row for batch in operator.open_results() for row in batch.rows()]
        return rows

    def inspect(self) -> list[dict[str, Any]]:
        """What each task is at: its watermark, the input that holds it back, every input with its watermark and state, and of
        each aggregate the rows in its state and its late records; of a task that is being restored, how far its changelogs are
        read. A service tells the same to its log when it gets SIGUSR1.

        >>> import streamkit as sk
        >>> app = sk.App("bids")
        >>> bids = app.stream(sk.Topic("bids", key=str), event_time=sk.event_time("at", idle_after="30s"))
        >>> bids.by_record_key().window(sk.tumbling("10m")).aggregate("count", n=sk.count()).on_close().to(sk.Topic("totals"))
        >>> with sk.TestDriver(app) as driver:
        ...     driver.send(sk.Topic("bids", key=str), sk.Row(at="2020-04-15T08:07:00Z"), key="A")
        ...     driver.advance("40s")
        ...     told, = driver.inspect()
        >>> told["task"], told["watermark"], told["aggregates"]
        ('bids/0', '2020-04-15T08:06:59.999Z', {'count': {'rows': 1, 'late': 0}})
        >>> told["inputs"][0]["state"], told["inputs"][0]["silent_s"]
        ('idle', 40.0)
        """
        return self.worker.snapshot()

    def explain_window(
        self, key: Any, start: datetime | int | None = None, *, end: datetime | int | None = None, aggregate: str | None = None
    ) -> WindowExplanation:
        """Why a window is still open, as the worker has it now. ``start`` and ``end`` are datetimes or milliseconds; without a
        start the oldest open window of the key is meant. `DeclarationError`: there is no such aggregate or window.

        >>> from datetime import UTC, datetime
        >>> import streamkit as sk
        >>> BIDS, TOTALS = sk.Topic("bids", key=str), sk.Topic("totals")
        >>> app = sk.App("bids")
        >>> bids = app.stream(BIDS, event_time=sk.event_time("at", out_of_orderness="5s"))
        >>> bids.by_record_key().window(sk.tumbling("10m")).aggregate("count", n=sk.count()).on_close().to(TOTALS)
        >>> with sk.TestDriver(app, partitions=2) as driver:
        ...     driver.send(BIDS, sk.Row(at="2020-04-15T08:07:00Z"), key="A", partition=0)
        ...     driver.send(BIDS, sk.Row(at="2020-04-15T08:10:04Z"), key="A", partition=0)
        ...     why = driver.explain_window("A", datetime(2020, 4, 15, 8, tzinfo=UTC))
        >>> why.state, why.held_back_by, why.result.n
        ('open', 'bids-0', 1)
        """
        node = aggregate_of(self._topology, aggregate)
        bounds = (None if each is None else instant_ms(each) for each in (start, end))
        source = LiveTasks(self.worker, self._client, self.clock, self._settings)
        return WindowExplanation(answer(source, self._layout, Question(node, (key,), *bounds)))

    def crash(self, at: str | None = None, *, when: Literal["before", "after"] = "before") -> None:
        """The worker dies as by kill -9: what was not committed is lost, its transaction stays open until a successor comes.

        Without ``at`` it dies now, and `restart` brings the successor. With ``at`` it dies in its next client call of that name
        (``"poll"``, ``"produce_many"``, ``"flush"``, ``"send_offsets"``, ``"commit"``, ``"committed"``, ...), before or after the
        call took effect, and the successor takes over by itself. `DeclarationError`: no call has that name.

        >>> import streamkit as sk
        >>> NUMBERS, DOUBLED = sk.Topic("numbers", value=int), sk.Topic("doubled")
        >>> app = sk.App("doubling")
        >>> app.stream(NUMBERS).map(lambda n: {"n": 2 * n}).to(DOUBLED)
        >>> with sk.TestDriver(app) as driver:
        ...     driver.crash(at="commit", when="after")
        ...     driver.send(NUMBERS, 1, 2)
        ...     [record.value.n for record in driver.read(DOUBLED)]
        [2, 4]
        """
        if at is None:
            self._client.crash()
            return
        if at not in CALLS:
            raise DeclarationError(f"crash: no client call is named '{at}'; {near_names(at, sorted(CALLS))}")
        self.cluster.inject(at, error=_Crash(), when=when)

    def rebalance(self) -> None:
        """Another worker joins the group and leaves it again: partitions are taken away and come back."""
        other = MemoryClient(self.cluster, client_id="another").consumer(self._app.name)
        other.subscribe(self._layout.topics(), _Bystander())
        self._turns(lambda: other.poll(1, 0.0))
        other.close()
        self._turns()
        self.settle()

    def pause(self, duration: str | timedelta) -> None:
        """The worker's process stands still for so long, as by SIGSTOP, and goes on. Longer than its session, and the group gives
        it up; longer than its transaction, and the broker aborts that."""
        seconds = duration_ms(duration, what="pause") / 1000
        self.clock.advance(seconds)
        if seconds * 1000 > self._settings.transaction_timeout_ms:
            for transactional_id in self.cluster.open_transactions():
                self.cluster.expire_transaction(transactional_id)
        if seconds * 1000 > self._settings.session_timeout_ms:
            for member in self.cluster.members(self._app.name):
                self.cluster.expire(member)
        self._turns()
        self.settle()

    def restart(self) -> None:
        """A new worker takes over: restores from the changelogs and goes on where the committed offsets are."""
        self._start()

    def close(self) -> None:
        """Ends the worker; what it had not committed is aborted."""
        self.worker.close()

    def _turns(self, between: Callable[[], object] = lambda: None) -> None:
        """A rebalance takes several polls of every member."""
        for _ in range(_REBALANCE_STEPS):
            try:
                self.worker.step(0.0)
            except _Crash:
                self._replace()
            between()

    def _replace(self) -> None:
        """A planted crash has struck; it may be the first of several."""
        while True:
            self._client.crash()
            try:
                self._start()
            except _Crash:
                continue
            return

    def _start(self) -> None:
        self._client = MemoryClient(self.cluster)
        self._layout = layout = lay_out(self._topology, self._client.admin(), self._settings, self.events)
        self.worker = Worker(
            layout,
            self._client,
            self.clock,
            self._settings,
            FailurePolicy(self._on_error, self.events),
            self.events,
            transactional_id=f"{self._app.name}-driver-0",
        )
        self.worker.start()
        self.settle()

    def _partitions(self, topic: str) -> int:
        info = self._client.admin().describe_topics([topic], 1.0)[topic]
        if info is None:
            raise DeclarationError(
                f"the app has no topic '{topic}'; {near_names(topic, sorted(external_topics(self._topology)))}"
            )
        return info.partitions


def _milliseconds(when: datetime) -> int:
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
