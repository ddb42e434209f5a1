"""The librdkafka consumer and reader against a real Kafka: what leaves `poll`, and what never does."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import confluent_kafka as ck
import pytest

from streamkit.errors import GenerationError, LostOffsetError, RetriableError
from streamkit.kafka.client import Committed, NewTopic, Polled, TopicPartition
from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
from streamkit.kafka.confluent.consumer import GroupConsumer
from streamkit.kafka.confluent.reader import ChangelogReader

pytestmark = pytest.mark.timeout(60)
NOW = int(time.time() * 1000)


class Listener:
    def __init__(self, on_assigned: Callable[[], None] | None = None) -> None:
        self.events: list[tuple[str, list[TopicPartition]]] = []
        self._on_assigned = on_assigned

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.events.append(("assigned", list(partitions)))
        if self._on_assigned is not None:
            self._on_assigned()

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.events.append(("revoked", list(partitions)))

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        self.events.append(("lost", list(partitions)))

    @property
    def assigned(self) -> list[TopicPartition]:
        return self.events[-1][1] if self.events and self.events[-1][0] == "assigned" else []


@pytest.fixture(params=["classic", "consumer"])
def client(real_broker: str, request: pytest.FixtureRequest) -> ConfluentClient:
    return ConfluentClient(ConnectionSettings(real_broker, transaction_timeout_ms=10_000, group_protocol=request.param))


@pytest.fixture
def classic(real_broker: str) -> ConfluentClient:
    return ConfluentClient(ConnectionSettings(real_broker, transaction_timeout_ms=10_000))


@pytest.fixture
def incremental(real_broker: str) -> ConfluentClient:
    return ConfluentClient(ConnectionSettings(real_broker, transaction_timeout_ms=10_000, group_protocol="consumer"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def make_topic(client: ConfluentClient, partitions: int = 1, **config: str) -> str:
    name = f"t-{uuid.uuid4().hex[:12]}"
    admin = client.admin()
    admin.create_topics([NewTopic(name, partitions, 1, config)], 20)
    admin.close()
    return name


def write(client: ConfluentClient, topic: str, n: int, *, partition: int = 0, commit: bool = True, start: int = 0) -> None:
    producer = client.producer(f"w-{uuid.uuid4().hex[:8]}")
    producer.init_transactions(20)
    producer.begin()
    values = [b"%d" % i for i in range(start, start + n)]
    producer.produce_many(topic, values, [b"k"] * n, partition, NOW)
    producer.flush(10)
    producer.commit(10) if commit else producer.abort(10)
    producer.close()


def poll_until(
    source: GroupConsumer | ChangelogReader, done: Callable[[list[Polled]], bool], seconds: float = 20
) -> list[Polled]:
    seen: list[Polled] = []
    end = time.monotonic() + seconds
    while not done(seen):
        assert time.monotonic() < end, f"not within {seconds} s: {seen[-3:]}"
        polled = source.poll(1000, 0.1)
        if polled.batches or polled.ends:
            seen.append(polled)
    return seen


def values(seen: list[Polled]) -> list[bytes | None]:
    return [value for polled in seen for batch in polled.batches for value in batch.values()]


def ends(seen: list[Polled]) -> dict[TopicPartition, int]:
    return {tp: end for polled in seen for tp, end in polled.ends.items()}


def member(client: ConfluentClient, stack: ExitStack, topic: str, *, group: str | None = None) -> tuple[GroupConsumer, Listener]:
    """A member with its assignment."""
    consumer, listener = client.consumer(group or f"g-{uuid.uuid4().hex[:8]}"), Listener()
    stack.callback(consumer.close)
    consumer.subscribe([topic], listener)
    poll_until(consumer, lambda _: bool(listener.assigned))
    return consumer, listener


def test_nothing_is_read_before_resume(client, stack):
    topic = make_topic(client)
    write(client, topic, 100)
    consumer, listener = member(client, stack, topic)
    assert listener.assigned == [TopicPartition(topic, 0)]
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert consumer.poll(1000, 0.1) == Polled()


def test_seek_and_resume_start_where_the_engine_says(client, stack):
    topic = make_topic(client)
    write(client, topic, 100)
    consumer, _ = member(client, stack, topic)
    tp = TopicPartition(topic, 0)
    consumer.seek(tp, 40)
    consumer.resume([tp])
    seen = poll_until(consumer, lambda seen: tp in ends(seen))
    assert values(seen) == [b"%d" % i for i in range(40, 100)]
    assert ends(seen) == {tp: 101}  # the commit marker counts


def test_the_columns_of_a_batch(client, stack):
    topic = make_topic(client)
    producer = client.producer(f"w-{topic}")
    producer.init_transactions(20)
    producer.begin()
    producer.produce(topic, b"a", b"k", 0, NOW, [("h", b"1"), ("n", None)])
    producer.produce(topic, None, None, 0, NOW + 1)
    producer.commit(10)
    producer.close()
    consumer, _ = member(client, stack, topic)
    tp = TopicPartition(topic, 0)
    consumer.seek(tp, 0)
    consumer.resume([tp])
    (batch,) = [b for polled in poll_until(consumer, lambda seen: len(values(seen)) == 2) for b in polled.batches]
    assert (batch.tp, len(batch), batch.first_offset, batch.next_offset) == (tp, 2, 0, 2)
    assert batch.values() == [b"a", None]
    assert batch.keys() == [b"k", None]
    assert batch.offsets().tolist() == [0, 1]
    assert batch.timestamps().tolist() == [NOW, NOW + 1]
    assert batch.headers() == [[("h", b"1"), ("n", None)], None]
    assert batch.leader_epoch is not None


def test_a_seek_drops_what_was_fetched_before(client, stack):
    topic = make_topic(client)
    write(client, topic, 5000)
    consumer, _ = member(client, stack, topic)
    tp = TopicPartition(topic, 0)
    consumer.seek(tp, 0)
    consumer.resume([tp])
    poll_until(consumer, lambda seen: bool(values(seen)))
    time.sleep(0.3)  # all 5,000 wait in the local queue
    for target in (4000, 10, 2500, 0):
        consumer.seek(tp, target)
        seen = poll_until(consumer, lambda seen: bool(values(seen)))
        assert seen[0].batches[0].first_offset == target


def test_pause_keeps_records_back_and_resume_goes_on_without_loss(client, stack):
    topic = make_topic(client)
    write(client, topic, 3000)
    consumer, _ = member(client, stack, topic)
    tp = TopicPartition(topic, 0)
    consumer.seek(tp, 0)
    consumer.resume([tp])
    time.sleep(0.3)  # fetched ahead, nothing handed out: the case in which librdkafka alone would have to guess
    consumer.pause([tp])
    assert values([consumer.poll(1000, 0.3)]) == []
    consumer.resume([tp])
    got: list[bytes | None] = []
    while len(got) < 3000:
        got += values(poll_until(consumer, lambda seen: bool(values(seen))))
        consumer.pause([tp])
        assert values([consumer.poll(1000, 0)]) == []
        consumer.resume([tp])
    assert got == [b"%d" % i for i in range(3000)]


def test_two_topics_and_partitions_are_grouped(client, stack):
    topic, other = make_topic(client, 2), make_topic(client)
    for name, partition in ((topic, 0), (topic, 1), (other, 0)):
        write(client, name, 50, partition=partition)
    consumer, listener = client.consumer(f"g-{topic}"), Listener()
    stack.callback(consumer.close)
    consumer.subscribe([topic, other], listener)
    poll_until(consumer, lambda _: len(listener.assigned) == 3)
    for tp in listener.assigned:
        consumer.seek(tp, 0)
    consumer.resume(listener.assigned)
    seen = poll_until(consumer, lambda seen: len(values(seen)) == 150)
    by_partition: dict[TopicPartition, list[int]] = {}
    for batch in (batch for polled in seen for batch in polled.batches):
        by_partition.setdefault(batch.tp, []).extend(batch.offsets().tolist())
    assert by_partition == {tp: list(range(50)) for tp in listener.assigned}


def test_a_lost_offset_is_named_and_the_partition_can_be_read_from_elsewhere(client, stack):
    topic = make_topic(client, 2)
    write(client, topic, 100)
    write(client, topic, 100, partition=1)
    tp, healthy = TopicPartition(topic, 0), TopicPartition(topic, 1)
    admin = client.admin()
    admin.delete_records({tp: 50}, 10)
    assert admin.start_offsets([tp, healthy], 10) == {tp: 50, healthy: 0}
    admin.close()
    consumer, _ = member(client, stack, topic)
    for one in (tp, healthy):
        consumer.seek(one, 10)
    consumer.resume([tp, healthy])
    got: list[Polled] = []
    with pytest.raises(LostOffsetError, match=f"{topic}-0@10"):
        while True:
            got.append(consumer.poll(1000, 0.2))
            assert len(got) < 100
    consumer.seek(tp, 60)
    got += poll_until(consumer, lambda seen: healthy in ends(got + seen) and tp in ends(seen))
    by_partition = {one: [v for p in got for b in p.batches if b.tp == one for v in b.values()] for one in (tp, healthy)}
    assert by_partition == {tp: [b"%d" % i for i in range(60, 100)], healthy: [b"%d" % i for i in range(10, 100)]}


def test_what_is_not_assigned_or_not_placed_is_refused(client, stack):
    topic = make_topic(client)
    consumer, _ = member(client, stack, topic)
    with pytest.raises(ValueError, match="not assigned"):
        consumer.seek(TopicPartition(topic, 7), 0)
    with pytest.raises(ValueError, match="before a seek"):
        consumer.resume([TopicPartition(topic, 0)])


def test_group_metadata_names_generation_and_member(client, stack):
    topic = make_topic(client)
    consumer = client.consumer("g-meta")
    stack.callback(consumer.close)
    before = consumer.group_metadata()
    is_ours = client.settings.group_protocol == "consumer"  # then a member makes its own id, before it has joined
    assert (before.group_id, before.generation, before.member_id == "") == ("g-meta", -1, not is_ours)
    consumer, _ = member(client, stack, topic, group=f"g-{topic}")
    metadata = consumer.group_metadata()
    assert metadata.member_id == consumer._consumer.memberid()
    assert metadata.generation >= 1
    assert metadata.group_id == f"g-{topic}"


def test_a_second_member_takes_over_and_nothing_of_the_first_assignment_leaks(classic, stack):
    client = classic
    topic = make_topic(client, 2)
    write(client, topic, 500)
    group = f"g-{topic}"
    first, listener = member(client, stack, topic, group=group)
    for tp in listener.assigned:
        first.seek(tp, 0)
    first.resume(listener.assigned)
    poll_until(first, lambda seen: bool(values(seen)))
    second, other = client.consumer(group), Listener()
    stack.callback(second.close)
    second.subscribe([topic], other)
    end = time.monotonic() + 20
    while not (other.assigned and len(listener.assigned) == 1):
        assert time.monotonic() < end
        second.poll(10, 0.05)
        polled = first.poll(10, 0.05)
        if listener.events[-1][0] == "revoked" or len(listener.assigned) == 1:
            assert not polled.batches
    assert [kind for kind, _ in listener.events] == ["assigned", "revoked", "assigned"]
    for _ in range(5):
        assert first.poll(100, 0.1) == Polled()  # paused again, although the first assignment was resumed


def records_of(seen: list[Polled], tp: TopicPartition) -> list[bytes | None]:
    return [value for polled in seen for batch in polled.batches if batch.tp == tp for value in batch.values()]


def test_with_kip_848_what_stays_goes_on_while_another_member_comes_and_goes(incremental, stack):
    """Nothing of it is read twice or left out, neither before nor after a seek; what goes gives nothing any more."""
    client = incremental
    topic = make_topic(client, 4)
    for partition in range(4):
        write(client, topic, 300, partition=partition)
    group = f"g-{topic}"
    first, listener = member(client, stack, topic, group=group)
    for tp in listener.assigned:
        first.seek(tp, 0)
    first.resume(listener.assigned)
    seen = [first.poll(7, 1.0)]
    second, other = client.consumer(group), Listener()
    second.subscribe([topic], other)
    end = time.monotonic() + 20
    while not other.assigned:
        assert time.monotonic() < end
        second.poll(10, 0.05)
        seen.append(first.poll(7, 0.05))
    assert [kind for kind, _ in listener.events] == ["assigned", "revoked"]
    gone = set(listener.events[1][1])
    assert gone == set(other.assigned)
    assert len(gone) == 2
    kept = sorted({TopicPartition(topic, number) for number in range(4)} - gone)
    wanted = [b"%d" % number for number in range(300)]
    seen += poll_until(first, lambda more: all(records_of(seen + more, tp)[-1:] == wanted[-1:] for tp in kept))
    for tp in kept:
        assert records_of(seen, tp) == wanted
    first.seek(kept[0], 290)
    assert values(poll_until(first, lambda more: len(values(more)) >= 10)) == wanted[290:]
    second.close()
    poll_until(first, lambda _: listener.events[-1][0] == "assigned" and set(listener.assigned) == gone)
    assert first.poll(100, 0.5).batches == []  # they come back paused
    for tp in gone:
        first.seek(tp, 299)
    first.resume(gone)
    assert values(poll_until(first, lambda more: len(values(more)) >= 2)) == [b"299", b"299"]
    assert set(first._fetch.assigned) == {*kept, *gone}


def test_with_kip_848_a_partition_that_lost_its_place_is_assigned_anew_alone(incremental, stack):
    client = incremental
    topic = make_topic(client, 2)
    for partition in range(2):
        write(client, topic, 20, partition=partition)
    lost, fine = TopicPartition(topic, 0), TopicPartition(topic, 1)
    client.admin().delete_records({lost: 10}, 10)
    consumer, _ = member(client, stack, topic)
    consumer.seek(lost, 5)
    consumer.seek(fine, 0)
    consumer.resume([lost, fine])
    seen: list[Polled] = []
    with pytest.raises(LostOffsetError, match=f"{topic}-0@5"):
        while True:
            seen.append(consumer.poll(3, 1.0))
    consumer.seek(lost, 10)
    wanted = [b"%d" % number for number in range(20)]
    seen += poll_until(
        consumer, lambda more: records_of(more, lost)[-1:] == wanted[-1:] and records_of(seen + more, fine)[-1:] == wanted[-1:]
    )
    assert records_of(seen, lost) == wanted[10:]
    assert records_of(seen, fine) == wanted


def test_close_calls_on_revoked(client):
    topic = make_topic(client)
    with ExitStack() as inner:
        _, listener = member(client, inner, topic)
    assert [kind for kind, _ in listener.events] == ["assigned", "revoked"]


def test_an_exception_of_the_listener_is_raised_by_poll_and_loses_nothing(client, stack):
    topic = make_topic(client)

    def fail() -> None:
        raise LookupError("from the listener")

    consumer = client.consumer(f"g-{topic}")
    stack.callback(consumer.close)
    consumer.subscribe([topic], Listener(fail))
    with pytest.raises(LookupError, match="from the listener"):
        poll_until(consumer, lambda _: False)
    assert consumer.poll(10, 0.1) == Polled()
    assert consumer._fetch.assigned == [TopicPartition(topic, 0)]


def test_committed_waits_for_a_pending_transaction_and_says_so(client, stack):
    topic = make_topic(client)
    tp = TopicPartition(topic, 0)
    consumer, _ = member(client, stack, topic)
    assert consumer.committed([tp], 10) == {tp: None}
    producer = client.producer(f"p-{topic}")
    stack.callback(producer.close)
    producer.init_transactions(20)
    producer.begin()
    producer.send_offsets({tp: Committed(7, "note", 0)}, consumer.group_metadata(), 10)
    with pytest.raises(RetriableError):
        consumer.committed([tp], 1)
    producer.commit(10)
    assert consumer.committed([tp], 10) == {tp: Committed(7, "note", 0)}
    admin = client.admin()
    assert admin.group_offsets(consumer.group_metadata().group_id, 10) == {tp: Committed(7, "note", 0)}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_member_that_polled_too_late_is_told_and_loses_its_partitions(real_broker, stack, protocol):
    settings = ConnectionSettings(
        real_broker,
        transaction_timeout_ms=2_000,
        session_timeout_ms=6_000,
        max_poll_interval_ms=6_000,
        group_protocol=protocol,
    )
    client = ConfluentClient(settings)
    topic = make_topic(client)
    consumer, listener = member(client, stack, topic)
    time.sleep(9)  # librdkafka looks every half second, a busy machine later; a poll before it has looked would be in time
    with pytest.raises(GenerationError, match="_MAX_POLL_EXCEEDED"):
        poll_until(consumer, lambda _: False, 5)
    poll_until(consumer, lambda _: len(listener.events) >= 2)
    assert listener.events[1][0] == "lost"


def test_the_reader_reads_committed_records_to_the_very_end(client, stack):
    topic = make_topic(client)
    write(client, topic, 10)  # 0..9, marker 10
    write(client, topic, 5, commit=False)  # 11..15, marker 16
    write(client, topic, 0)
    tp = TopicPartition(topic, 0)
    admin = client.admin()
    end = admin.end_offsets([tp], 10)[tp]
    reader = client.reader()
    stack.callback(reader.close)
    reader.assign({tp: 4})
    seen = poll_until(reader, lambda seen: ends(seen).get(tp, 0) >= end)
    assert values(seen) == [b"%d" % i for i in range(4, 10)]
    assert ends(seen) == {tp: 17}
    reader.assign({tp: 9})
    assert values(poll_until(reader, lambda seen: tp in ends(seen))) == [b"9"]


def test_the_reader_stops_before_an_open_transaction(client, stack):
    topic = make_topic(client)
    tp = TopicPartition(topic, 0)
    write(client, topic, 3)
    producer = client.producer(f"open-{topic}")
    stack.callback(producer.close)
    producer.init_transactions(20)
    producer.begin()
    producer.produce(topic, b"open", None, 0)
    producer.flush(10)
    admin = client.admin()
    limit = time.monotonic() + 10
    while admin.end_offsets([tp], 10) != {tp: 5}:  # markers (written after commit returns) and the open record count
        assert time.monotonic() < limit
    reader = client.reader()
    stack.callback(reader.close)
    reader.assign({tp: 0})
    assert ends(poll_until(reader, lambda seen: bool(ends(seen)))) == {tp: 4}
    producer.commit(10)
    assert values(poll_until(reader, lambda seen: ends(seen).get(tp) == 6)) == [b"open"]


def test_the_reader_says_which_offset_is_lost(client, stack):
    topic = make_topic(client)
    write(client, topic, 10)
    tp = TopicPartition(topic, 0)
    client.admin().delete_records({tp: 5}, 10)
    reader = client.reader()
    stack.callback(reader.close)
    reader.assign({tp: 2})
    with pytest.raises(LostOffsetError, match=f"{topic}-0@2"):
        poll_until(reader, lambda _: False, 10)


def test_a_backlog_in_many_partitions_comes_in_small_responses(real_broker, classic, stack):
    """librdkafka looks at the bounds of its queue, here 1,000 records, before it asks. What comes then is bounded by
    fetch.max.bytes alone, 4 MB; with its own default one response brings 2 MB of each partition, 24,000 records."""
    topic, count = make_topic(classic, 12), 2_200
    producer = classic.producer(f"w-{uuid.uuid4().hex[:8]}")
    producer.init_transactions(20)
    producer.begin()
    for partition in range(12):
        content = random.Random(partition).randbytes(1_000 * count)  # does not compress
        producer.produce_many(
            topic, [content[at : at + 1_000] for at in range(0, len(content), 1_000)], [None] * count, partition, NOW
        )
    producer.flush(20)
    producer.commit(20)
    producer.close()
    slowly = {"fetch.queue.backoff.ms": "300"}  # so that what is there is taken before the next response
    settings = ConnectionSettings(real_broker, fetch_queue_records=1_000, properties=slowly)
    consumer = ck.Consumer({**settings.consumer_config(f"g-{uuid.uuid4().hex[:8]}"), "enable.partition.eof": False})
    stack.callback(consumer.close)
    consumer.assign([ck.TopicPartition(topic, partition, 0) for partition in range(12)])
    taken: list[int] = []
    end = time.monotonic() + 40
    while sum(taken) < 12 * count:
        assert time.monotonic() < end, taken
        time.sleep(0.3)
        taken.append(len(consumer.consume(100_000, 0)))
    assert max(taken) <= 1_000 + 2 * 4_300  # two, where this thread was held up
