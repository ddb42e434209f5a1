"""How time travels: watermarks through repartition topics, idle partitions, restored time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

import streamkit as sk
from streamkit.operators.operator import WATERMARK_HEADER
from tests.driver.rig import Rig

START = datetime(2020, 1, 1, tzinfo=UTC)


class Event(sk.Model):
    key: str
    value: int


EVENTS = sk.Topic("events", key=str, value=Event)
RESULTS, LATE = sk.Topic("results"), sk.Topic("late", key=str, value=Event)


def make_app(keyed: str = "column", *, idle_after: str | None = None, grace: str = "0s") -> sk.App:
    app = sk.App("app")
    events = app.stream(EVENTS, event_time=sk.event_time(idle_after=idle_after))
    by = {"column": lambda: events.key_by("key"), "record-key": events.by_record_key}[keyed]()
    totals = by.window(sk.tumbling("10s", grace=grace)).aggregate("agg", total=sk.sum("value"))
    totals.on_close().to(RESULTS)
    totals.late().to(LATE)
    return app


def send(driver: sk.TestDriver, partition: int, second: float, value: int = 1, key: str = "a") -> None:
    driver.send(EVENTS, Event(key, value), key=key, timestamp=START + timedelta(seconds=second), partition=partition)


def totals(driver: sk.TestDriver) -> list[int]:
    return [record.value.total for record in driver.read(RESULTS)]


def late(driver: sk.TestDriver) -> list[int]:
    return [record.value.value for record in driver.read(LATE)]


# ---- late by its own partition, also behind a repartition topic


def test_late_in_its_own_partition_stays_late_behind_a_new_key() -> None:
    """The window is still open downstream, because partition 1 holds time: the record is late all the same."""
    driver = sk.TestDriver(make_app(), partitions=2)
    send(driver, 1, 1, 1)
    send(driver, 0, 20, 2)
    send(driver, 0, 2, 4)
    assert late(driver) == [4]
    assert totals(driver) == []
    carried = [dict(r.headers).get(WATERMARK_HEADER) for r in driver.cluster.read("app.events-by-key.repartition") if r.key]
    own = int(START.timestamp() * 1000) + 20_000 - 1
    assert carried == [None, None, b"%d" % own]  # only the record that is behind its own watermark carries it


def test_records_of_a_partition_that_lags_are_not_late() -> None:
    driver = sk.TestDriver(make_app(), partitions=2)
    send(driver, 0, 100, 1)
    for second in (1, 2, 3):
        send(driver, 1, second, 2)
    assert late(driver) == []
    send(driver, 1, 10, 4)
    assert totals(driver) == [6]


def test_a_late_record_is_late_also_if_it_is_decided_after_a_crash() -> None:
    """R18: the partition's watermark comes back with its position."""
    for keyed in ("column", "record-key"):
        driver = sk.TestDriver(make_app(keyed), partitions=2)
        send(driver, 0, 20, 2)
        driver.crash()
        driver.restart()
        send(driver, 0, 2, 4)
        assert late(driver) == [4]


def test_grace_lets_a_record_count_that_is_behind_the_watermark() -> None:
    driver = sk.TestDriver(make_app(grace="10s"), partitions=1)
    send(driver, 0, 1, 1)
    send(driver, 0, 19, 2)
    send(driver, 0, 2, 4)
    send(driver, 0, 20, 8)
    send(driver, 0, 3, 16)
    assert late(driver) == [16]
    assert totals(driver) == [5]


def test_a_task_that_never_had_data_holds_time_downstream() -> None:
    driver = sk.TestDriver(make_app(), partitions=2)
    send(driver, 0, 1, 1)
    send(driver, 0, 50, 2)
    assert totals(driver) == []
    driver.advance("1h")  # however long it takes: no idle_after was given
    assert totals(driver) == []
    send(driver, 1, 50, 4)
    assert totals(driver) == [1]


# ---- idle partitions


def test_a_silent_partition_is_idle_after_its_time_and_holds_nothing_up() -> None:
    for keyed in ("column", "record-key"):
        app = make_app(keyed, idle_after="30s")
        driver = sk.TestDriver(app, partitions=2)
        send(driver, 0, 1, 1)
        send(driver, 0, 50, 2)
        before = totals(driver)
        assert before == ([1] if keyed == "record-key" else [])
        driver.advance("29s")
        assert driver.events.of("partition-idle") == []
        send(driver, 0, 51, 2)
        driver.advance("2s")
        assert [event["partition"] for event in driver.events.of("partition-idle")] == [1]
        assert before + totals(driver) == [1]


def test_an_idle_partition_that_speaks_again_holds_time_again() -> None:
    driver = sk.TestDriver(make_app(idle_after="30s"), partitions=2)
    send(driver, 0, 1, 1)
    send(driver, 0, 50, 2)
    driver.advance("20s")
    send(driver, 0, 51, 4)
    driver.advance("20s")  # partition 1 was silent for 40 s, partition 0 for 20 s
    assert totals(driver) == [1]
    send(driver, 1, 55, 8)
    send(driver, 0, 100, 16)
    assert totals(driver) == []  # partition 1 is at 55 s: the window [50, 60) is open
    send(driver, 1, 60, 32)
    assert totals(driver) == [14]


def test_a_record_for_a_window_that_closed_while_its_partition_was_idle_is_late() -> None:
    driver = sk.TestDriver(make_app(idle_after="30s"), partitions=2)
    send(driver, 0, 1, 1)
    driver.advance("20s")
    send(driver, 0, 50, 2)
    driver.advance("20s")
    assert totals(driver) == [1]
    send(driver, 1, 2, 4)
    assert late(driver) == [4]


def test_a_window_that_time_has_passed_without_a_record_is_closed_as_well() -> None:
    driver = sk.TestDriver(make_app(idle_after="30s"), partitions=2)
    send(driver, 0, 1, 1)
    driver.advance("20s")
    send(driver, 0, 50, 2)
    driver.advance("20s")
    assert totals(driver) == [1]
    send(driver, 1, 22, 4)  # [20, 30): nothing was ever in it
    assert late(driver) == [4]
    driver.end_of_input()
    assert totals(driver) == [2]


def test_while_all_are_idle_time_holds() -> None:
    driver = sk.TestDriver(make_app(idle_after="30s"), partitions=2)
    send(driver, 0, 1, 1)
    send(driver, 1, 5, 2)
    driver.advance("1h")
    assert len(driver.events.of("partition-idle")) == 2
    assert totals(driver) == []
    send(driver, 0, 12, 4)
    assert totals(driver) == [3]  # partition 1 is idle still


def test_a_partition_with_data_waiting_is_never_idle() -> None:
    """R26: the end of its log is asked for at the moment of decision; what a poll said before is not trusted."""
    app = make_app("record-key", idle_after="30s")
    rig = Rig(app, 1, max_records=1)
    rig.join("a")
    rig.settle()
    for second in (1, 2, 3):
        stamp = int(START.timestamp() * 1000) + second * 1000
        rig.cluster.append("events", b'{"key":"a","value":1}', b"a", 0, stamp)
    worker = rig.processes["a"].worker
    worker.step(0.0)
    rig.clock.advance(60)
    worker._consumer.pause([tp for task in worker.tasks for tp in task.inputs])
    for _ in range(5):
        worker.step(0.0)
        rig.clock.advance(5)
    assert rig.events.of("partition-idle") == []


def test_records_of_an_open_transaction_are_data_waiting() -> None:
    """A read_committed end hides them."""
    driver = sk.TestDriver(make_app("record-key", idle_after="30s"))
    from streamkit.kafka.memory import MemoryClient

    producer = MemoryClient(driver.cluster).producer("outside")
    producer.init_transactions(1)
    producer.begin()
    producer.produce("events", b'{"key":"a","value":1}', b"a", 0)
    producer.flush(1)
    driver.advance("1h")
    assert driver.events.of("partition-idle") == []
    producer.abort(1)
    driver.advance("1h")
    assert len(driver.events.of("partition-idle")) == 1


def test_idleness_is_not_restored() -> None:
    """R26: time stands, but every partition counts as active until it is proven idle anew."""
    driver = sk.TestDriver(make_app(idle_after="30s"), partitions=2)
    send(driver, 0, 1, 1)
    driver.advance("20s")
    send(driver, 0, 50, 2)
    driver.advance("20s")
    assert totals(driver) == [1]
    driver.crash()
    driver.restart()
    send(driver, 0, 100, 4)
    assert totals(driver) == []
    driver.advance("20s")
    send(driver, 0, 101, 8)
    assert totals(driver) == []
    driver.advance("20s")
    assert totals(driver) == [2]


def test_restored_time_stands_also_while_its_partition_is_silent() -> None:
    """A window that was closed before the crash is not opened again by a partition that had been idle then."""
    driver = sk.TestDriver(make_app(idle_after="30s"), partitions=2)
    send(driver, 0, 1, 1)
    driver.advance("20s")
    send(driver, 0, 50, 2)
    driver.advance("20s")
    assert totals(driver) == [1]
    driver.crash()
    driver.restart()
    send(driver, 1, 2, 4)
    assert late(driver) == [4]
    driver.end_of_input()
    assert totals(driver) == [2]


# ---- control records


def test_time_is_told_at_once_when_a_window_may_close_and_rarely_else() -> None:
    settings = sk.EngineSettings()  # a word a second
    driver = sk.TestDriver(make_app(), settings=settings)
    for tenth in range(50):
        send(driver, 0, tenth / 10, 1)
    spoken = words(driver)
    assert len(spoken) < 5
    send(driver, 0, 10, 1)
    assert len(words(driver)) == len(spoken) + 1
    assert totals(driver) == [50]


def test_words_are_repeated_as_heartbeats() -> None:
    driver = sk.TestDriver(make_app(), settings=sk.EngineSettings())
    send(driver, 0, 1, 1)
    driver.advance("2s")
    before = words(driver)
    driver.advance("3s")
    assert words(driver) == [*before, before[-1]]


def words(driver: sk.TestDriver) -> list[object]:
    controls = [r for r in driver.cluster.read("app.events-by-key.repartition") if dict(r.headers).get("streamkit-control")]
    assert all(record.key is None for record in controls)
    return [word for record in controls for word in json.loads(record.value or b"")["tasks"]]


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_backlog_of_many_windows_and_keys_gives_every_result(partitions: int) -> None:
    """100 windows of 300 keys, read at once: results of all of them leave, whatever a transaction holds."""
    windows, keys = 100, 300
    driver = sk.TestDriver(make_app(), partitions=partitions)
    numbers = range(windows * keys)
    base = int(START.timestamp() * 1000)
    for number in numbers:
        window, key = divmod(number, keys)
        value = b'{"key":"k%d","value":%d}' % (key, number)
        driver.cluster.append("events", value, b"k", number % partitions, base + window * 10_000 + key)
    driver.settle()
    assert len(driver.cluster.read("results")) == (windows - 1) * keys
    driver.end_of_input()
    found = [json.loads(record.value or b"") for record in driver.cluster.read("results")]
    assert sorted(row["total"] for row in found) == list(numbers)
    assert len({(row["key"], row["window_start"]) for row in found}) == windows * keys
    assert driver.cluster.read("late") == []
