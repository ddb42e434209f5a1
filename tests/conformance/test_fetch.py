"""Fetch: what read_committed shows, where partitions end, and offsets that are not in the log."""

from __future__ import annotations

import pytest

from streamkit.errors import LostOffsetError
from streamkit.kafka.client import NewTopic, TopicPartition
from tests.conformance.world import PATIENCE_S, World, records, values


def test_records_are_visible_once_they_are_committed(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"a", b"k", 0)
    producer.flush(PATIENCE_S)
    reader = world.reader({tp: 0})
    got, ends = world.drain(reader, [tp])
    assert (got, ends) == ([], {tp: 0})
    producer.commit(PATIENCE_S)
    got, ends = world.drain(reader, [tp])
    assert (values(got), ends) == ([b"a"], {tp: 2})


def test_records_of_an_aborted_transaction_are_skipped(world: World):
    topic = world.topic()
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"aborted", b"k", 0)
    producer.flush(PATIENCE_S)
    producer.abort(PATIENCE_S)
    producer.begin()
    producer.produce(topic, b"committed", b"k", 0)
    producer.commit(PATIENCE_S)
    [record] = world.read(topic)
    assert (record.value, record.offset) == (b"committed", 2)  # 0 is the aborted record, 1 its marker


def test_interleaved_transactions_are_told_apart(world: World):
    topic = world.topic()
    one, other = world.producer(), world.producer()
    one.begin()
    other.begin()
    for i in range(6):
        producer = one if i % 2 else other
        producer.produce(topic, b"%d" % i, b"k", 0)
        producer.flush(PATIENCE_S)
    one.commit(PATIENCE_S)
    other.abort(PATIENCE_S)
    assert [(r.value, r.offset) for r in world.read(topic)] == [(b"1", 1), (b"3", 3), (b"5", 5)]


def test_an_open_transaction_holds_back_later_committed_records(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    world.write(topic, b"before")
    slow = world.producer()
    slow.begin()
    slow.produce(topic, b"slow", b"k", 0)
    slow.flush(PATIENCE_S)
    world.write(topic, b"fast")
    reader = world.reader({tp: 0})
    got, ends = world.drain(reader, [tp])
    assert (values(got), ends) == ([b"before"], {tp: 2})
    assert world.end(topic) == 5
    slow.commit(PATIENCE_S)
    got, ends = world.drain(reader, [tp])
    assert (values(got), ends) == ([b"slow", b"fast"], {tp: 6})


def test_an_end_is_reported_once_behind_trailing_markers(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    world.write(topic, b"a", b"b")
    reader = world.reader({tp: 0})
    assert world.drain(reader, [tp])[1] == {tp: 3}
    assert reader.poll(10, 0.7).ends == {}
    world.write(topic, b"c")
    got, ends = world.drain(reader, [tp])
    assert (values(got), ends) == ([b"c"], {tp: 5})


def test_an_abort_alone_moves_the_end(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    reader = world.reader({tp: 0})
    assert world.drain(reader, [tp]) == ([], {tp: 0})
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"aborted", b"k", 0)
    producer.flush(PATIENCE_S)
    producer.abort(PATIENCE_S)
    assert world.drain(reader, [tp]) == ([], {tp: 2})


def test_the_end_of_an_empty_partition_is_reported(world: World):
    topic = world.topic(2)
    tps = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    world.write(topic, b"a", partition=1)
    got, ends = world.drain(world.reader(dict.fromkeys(tps, 0)), tps)
    assert values(got) == [b"a"]
    assert ends == {tps[0]: 0, tps[1]: 2}


def test_a_reader_starts_where_it_is_told(world: World):
    topic = world.topic()
    world.write(topic, *(b"%d" % i for i in range(10)))
    assert [record.offset for record in world.read(topic, start=7)] == [7, 8, 9]
    assert world.read(topic, start=10) == []  # at the marker
    assert world.read(topic, start=11) == []  # at the end


def test_a_poll_gives_at_most_what_was_asked_for_and_loses_nothing(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    for start in (0, 5):
        world.write(topic, *(b"%d" % i for i in range(start, start + 5)))
    reader = world.reader({tp: 0})
    got, sizes = [], []
    while len(got) < 10:
        polled = reader.poll(2, PATIENCE_S)
        sizes.append(sum(map(len, polled.batches)))
        got += records(polled)
    assert max(sizes) <= 2
    assert values(got) == [b"%d" % i for i in range(10)]
    assert [record.offset for record in got] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]  # 5 is a marker


def test_a_batch_knows_its_offsets(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    world.write(topic, b"a", b"b")
    world.write(topic, b"c")
    reader = world.reader({tp: 1})
    batches = []
    while sum(map(len, batches)) < 2:
        batches += reader.poll(100, PATIENCE_S).batches
    assert (batches[0].tp, batches[0].first_offset, batches[0].leader_epoch) == (tp, 1, 0)
    assert batches[-1].next_offset == 4  # the last record + 1, whatever the markers behind it


def test_assign_replaces_what_is_read(world: World):
    topic = world.topic(2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    world.write(topic, b"a", partition=0)
    world.write(topic, b"b", partition=1)
    reader = world.reader({first: 0})
    world.drain(reader, [first])
    reader.assign({second: 0})
    got, ends = world.drain(reader, [second])
    assert (values(got), set(ends)) == ([b"b"], {second})


def test_polling_nothing_gives_nothing(world: World):
    reader = world.client().reader()
    reader.assign({})
    polled = reader.poll(10, 0.05)
    assert (polled.batches, polled.ends) == ([], {})
    reader.close()


def poll_until_raised(source, seconds: float = PATIENCE_S) -> None:
    for _ in range(int(seconds / 0.2)):
        source.poll(10, 0.2)


def test_an_offset_beyond_the_end_is_lost(world: World):
    topic = world.topic()
    world.write(topic, b"a")
    reader = world.reader({TopicPartition(topic, 0): 100})
    with pytest.raises(LostOffsetError) as caught:
        poll_until_raised(reader)
    assert f"{topic}-0" in str(caught.value)


def test_an_offset_below_the_start_is_lost(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    world.write(topic, b"a", b"b", b"c")
    world.admin.delete_records({tp: 2}, PATIENCE_S)
    with pytest.raises(LostOffsetError):
        poll_until_raised(world.reader({tp: 1}))
    assert values(world.read(topic, start=2)) == [b"c"]


def test_a_partition_that_does_not_exist_gives_nothing(world: World):
    topic = world.topic()
    there, missing = TopicPartition(topic, 0), TopicPartition(topic, 7)
    world.write(topic, b"a")
    reader = world.reader({missing: 0, TopicPartition(world.name("missing"), 0): 0, there: 0})
    got, ends = world.drain(reader, [there])
    assert (values(got), set(ends)) == ([b"a"], {there})


def test_partitions_are_paused_when_they_are_assigned(world: World, protocol: str):
    group, topic = world.name("group"), world.topic()
    tp = TopicPartition(topic, 0)
    world.write(topic, b"a")
    consumer, listener = world.consumer(group, [topic])
    listener.when_assigned = lambda _: consumer.seek(tp, 0)
    world.settle([(consumer, listener)], lambda: bool(listener.held))
    polled = consumer.poll(10, 0.7)
    assert (polled.batches, polled.ends) == ([], {})
    consumer.resume([tp])
    assert values(world.drain(consumer, [tp])[0]) == [b"a"]


def test_pause_and_resume_lose_and_repeat_nothing(world: World):
    group, topic = world.name("group"), world.topic(2)
    tps = [TopicPartition(topic, p) for p in range(2)]
    for p in range(2):
        world.write(topic, *(b"%d" % i for i in range(20)), partition=p)
    consumer, _ = world.member(group, topic, 2)
    for tp in tps:
        consumer.seek(tp, 0)
    consumer.resume(tps)
    got = []
    for turn in range(60):
        tp = tps[turn % 2]
        consumer.pause([tp])
        polled = consumer.poll(3, 0.05)
        assert all(batch.tp != tp for batch in polled.batches)
        got += records(polled)
        consumer.resume([tp])
    got += world.drain(consumer, tps)[0] if len(got) < 40 else []
    for tp in tps:
        assert [record.offset for record in got if record.tp == tp] == list(range(20))


def test_seek_goes_back_and_forward(world: World, protocol: str):
    group, topic = world.name("group"), world.topic()
    tp = TopicPartition(topic, 0)
    world.write(topic, *(b"%d" % i for i in range(10)))
    consumer, _ = world.member(group, topic)
    consumer.seek(tp, 0)
    consumer.resume([tp])
    assert len(world.drain(consumer, [tp])[0]) == 10
    consumer.seek(tp, 4)
    got, ends = world.drain(consumer, [tp])
    assert ([record.offset for record in got], ends) == ([4, 5, 6, 7, 8, 9], {tp: 11})
    consumer.seek(tp, 2)
    consumer.seek(tp, 8)
    assert [record.offset for record in world.drain(consumer, [tp])[0]] == [8, 9]


def test_an_end_is_reported_again_after_a_resume(world: World):
    group, topic = world.name("group"), world.topic()
    tp = TopicPartition(topic, 0)
    world.write(topic, b"a")
    consumer, _ = world.member(group, topic)
    consumer.seek(tp, 0)
    consumer.resume([tp])
    assert world.drain(consumer, [tp])[1] == {tp: 2}
    consumer.pause([tp])
    assert consumer.poll(10, 0.1).ends == {}
    consumer.resume([tp])
    assert world.drain(consumer, [tp]) == ([], {tp: 2})


@pytest.mark.parametrize("call", ["pause", "resume", "seek"])
def test_a_partition_that_is_not_assigned_is_refused(world: World, call: str):
    topic = world.topic()
    consumer, _ = world.member(world.name("group"), topic)
    stranger = TopicPartition(topic, 7)
    with pytest.raises(ValueError, match="is not assigned"):
        consumer.seek(stranger, 0) if call == "seek" else getattr(consumer, call)([stranger])


def test_a_partition_is_not_resumed_before_its_start_is_chosen(world: World):
    topic = world.topic()
    consumer, _ = world.member(world.name("group"), topic)
    with pytest.raises(ValueError, match="before a seek"):
        consumer.resume([TopicPartition(topic, 0)])


def test_records_without_a_transaction_are_visible_at_once(world: World):
    topic = world.topic()
    world.append(topic, b"plain")
    assert [(r.value, r.offset) for r in world.read(topic)] == [(b"plain", 0)]
    assert world.end(topic) == 1


def test_records_without_a_transaction_wait_behind_an_open_one(world: World):
    topic = world.topic()
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"open", b"k", 0)
    producer.flush(PATIENCE_S)
    world.append(topic, b"plain")
    assert world.read(topic) == []
    producer.abort(PATIENCE_S)
    assert [(r.value, r.offset) for r in world.read(topic)] == [(b"plain", 1)]


def test_one_record_at_a_time(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    world.write(topic, *(b"%d" % i for i in range(4)))
    got, ends = world.drain(world.reader({tp: 0}), [tp], max_records=1)
    assert (values(got), ends) == ([b"0", b"1", b"2", b"3"], {tp: 5})


def test_a_reader_waits_for_a_topic_that_comes_later(world: World):
    topic = world.name("later")
    tp = TopicPartition(topic, 0)
    reader = world.reader({tp: 0})
    assert reader.poll(10, 0.3).batches == []
    world.admin.create_topics([NewTopic(topic, 1)], PATIENCE_S)
    world.write(topic, b"a")
    got, _ = world.drain(reader, [tp])
    assert values(got) == [b"a"]


def test_the_middle_of_a_transaction_can_be_read_from(world: World):
    topic = world.topic()
    world.write(topic, b"0", b"1", b"2", b"3")
    assert [(r.value, r.offset) for r in world.read(topic, start=2)] == [(b"2", 2), (b"3", 3)]


def test_an_offset_in_an_aborted_transaction_leads_behind_it(world: World):
    topic = world.topic()
    producer = world.producer()
    producer.begin()
    producer.produce_many(topic, [b"aborted"] * 3, [b"k"] * 3, 0, 1)
    producer.flush(PATIENCE_S)
    producer.abort(PATIENCE_S)
    world.write(topic, b"committed")
    assert [(r.value, r.offset) for r in world.read(topic, start=1)] == [(b"committed", 4)]


def test_compaction_keeps_the_latest_of_each_key_at_its_offset(world: World):
    """What lies in the active segment stays as it is."""
    config = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "0"}
    topic = world.topic(config=config)
    world.write(topic, b"old a", b"a", key=b"a")
    world.write(topic, b"b", key=b"b")
    world.write(topic, None, key=b"gone")
    world.clock.sleep(0.15)
    world.write(topic, b"active", key=b"c")

    def read() -> list[tuple[int, bytes | None]]:
        world.clean()
        return [(record.offset, record.value) for record in world.read(topic)]

    # 2, 4, 6 and 8 are markers. The tombstone goes once nothing older of its key can be left.
    world.eventually(
        lambda: read() in ([(1, b"a"), (3, b"b"), (5, None), (7, b"active")], [(1, b"a"), (3, b"b"), (7, b"active")])
    )
    assert world.end(topic) == 9
    assert world.admin.start_offsets([TopicPartition(topic, 0)], PATIENCE_S) == {TopicPartition(topic, 0): 0}
    assert world.read(topic, start=2)[0].offset == 3
