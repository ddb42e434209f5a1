"""Window state is bounded: by what is open, and by memory_limit_mb."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import streamkit as sk
from streamkit.cli.exit_codes import exit_code
from streamkit.errors import RetriableError, StateLimitError
from tests.driver.rig import Rig

EVENTS, OUT = sk.Topic("in", key=int), sk.Topic("out")


class Event(sk.Model):
    key: int
    at: int


def joined_app(**time: Any) -> sk.App:
    """The time of a window comes from all partitions of the source, through a repartition topic."""
    app = sk.App("memory")
    events = app.stream(sk.Topic("in", value=Event), event_time=sk.event_time("at", **time))
    events.key_by("key").window(sk.tumbling("10s")).aggregate("counts", n=sk.count(), top=sk.max("at")).on_close().to(OUT)
    return app


def append(rig: Rig, partition: int, times: range, key: int | None = None) -> None:
    for number, at in enumerate(times):
        rig.cluster.append("in", b'{"key":%d,"at":%d}' % (number if key is None else key, at), None, partition)


def run(memory_limit_mb: int, ahead: int = 28_000) -> tuple[Rig, int, int]:
    """Partition 0 has a new key every 25 ms of its time; partition 1 comes as far with three times the records."""
    rig = Rig(joined_app(), {"in": 2, "out": 1}, until_end=True, memory_limit_mb=memory_limit_mb, max_records=500)
    append(rig, 0, range(0, 25 * ahead, 25))
    append(rig, 1, range(0, 25 * ahead, 8), key=-1)
    rig.join("a")
    most = steps = 0
    while not rig.processes["a"].worker.finished:
        rig.step("a")
        rig.clock.advance(0.1)
        if (steps := steps + 1) % 3 == 0:
            most = max(most, sum(rig.processes["a"].worker.state_bytes().values()))
    found = len(rig.cluster.read("out"))
    return rig, most, found


def test_partitions_that_run_ahead_wait_before_the_limit_and_go_on_after():
    free, most_free, results = run(1_000)
    assert free.events.of("memory-high") == []
    assert most_free > 1_050_000  # it would have come to the limit of the next run
    held, most, found = run(1)
    assert most < 1_000_000
    assert found == results > 28_000
    high = held.events.of("memory-high")
    assert high
    assert high[0]["partitions"] == ["in-0"]
    assert high[0]["waits_for"] == "in-1"
    assert list(high[0]["stores"]) == ["counts"]
    assert len(held.events.of("memory-released")) >= 1
    assert len(high) < 20  # hysteresis: not with every batch


def test_a_partition_that_gives_nothing_is_waited_for_until_it_is_an_error_that_names_it():
    rig = Rig(joined_app(), {"in": 2, "out": 1}, memory_limit_mb=1, max_records=500)
    append(rig, 0, range(0, 25 * 16_000, 25))
    rig.join("a")
    said = r"'counts' takes 0\.\d MB.*wait for in-1 \(at offset 0\), .* nothing for 120 s.*idle_after"
    with pytest.raises(StateLimitError, match=said):
        for _ in range(4_000):
            rig.step("a")
            rig.clock.advance(0.1)
    assert rig.events.of("stalled") == []


def test_while_kafka_is_away_nothing_can_be_given():
    rig = Rig(joined_app(), {"in": 2, "out": 1}, memory_limit_mb=1, max_records=500)
    append(rig, 0, range(0, 25 * 16_000, 25))
    rig.join("a")
    while not rig.events.of("memory-high"):
        rig.step("a")
        rig.clock.advance(0.1)
    for _ in range(20):  # what it has written itself is read
        rig.step("a")
    rig.cluster.faults.inject("poll", error=RetriableError("no leader", code="_TRANSPORT", call="poll"))
    for _ in range(200):
        rig.cluster.faults.inject("topic_names", error=RetriableError("refused", code="_TRANSPORT", call="list_topics"))
    began = rig.clock.monotonic()
    while not rig.events.of("broker-back"):
        rig.step("a")
    assert rig.clock.monotonic() - began > rig.settings.stalled_after_ms / 1000
    append(rig, 1, range(0, 25 * 16_000, 1_000), key=-1)  # comes a moment later
    for _ in range(100):
        rig.step("a")
        rig.clock.advance(0.1)
    assert rig.events.of("memory-released")


def test_one_that_is_idle_holds_nobody_back():
    rig = Rig(joined_app(idle_after="5s"), {"in": 2, "out": 1}, memory_limit_mb=1, max_records=500)
    append(rig, 0, range(0, 25 * 16_000, 25))
    rig.join("a")
    for _ in range(400):
        rig.step("a")
        rig.clock.advance(0.1)
    assert rig.processes["a"].worker.tasks[0].inputs  # it is at work still
    assert len(rig.cluster.read("out")) > 15_000


def test_what_cannot_be_helped_is_an_error_with_its_own_exit_code():
    app = sk.App("memory")
    events = app.stream(sk.Topic("in", value=Event), event_time=sk.event_time("at")).by_record_key()
    events.window(sk.tumbling("1d")).aggregate("large", n=sk.count(), kept=sk.collect("at", limit=3)).on_close().to(OUT)
    events.window(sk.tumbling("1m")).aggregate("small", n=sk.count()).on_close().to(OUT)
    with sk.TestDriver(app, settings=sk.EngineSettings(memory_limit_mb=2)) as driver:
        said = r"'large' takes \d\.\d MB, of all stores 2\.\d MB, and memory_limit_mb is 2"
        with pytest.raises(StateLimitError, match=said) as raised:
            for number in range(20):
                for key in range(1_000):
                    driver.cluster.append("in", b'{"key":0,"at":1}', b"%d" % (1_000 * number + key), 0)
                driver.clock.advance(1)
                driver.settle()
        assert exit_code(raised.value) == 8


# ---- hours of keys that come and go

CASES = [
    (int, lambda: sk.tumbling("10s")),
    (str, lambda: sk.hopping("30s", hop="10s")),
    (str, lambda: sk.session("5s")),
]
ROUNDS, KEYS = 200, 10
PACKAGE = str(Path(sk.__file__).parent)
WRITTEN = ("state/blocks.py", "state/time_record.py", "operators/sink.py")
"""What these make goes to the embedded broker, which keeps it."""


@pytest.mark.parametrize("key, window", CASES, ids=["tumbling", "hopping", "session"])
def test_keys_and_windows_come_and_go_and_memory_stays_flat(key: type, window: Any):
    app = sk.App("flat")
    events = app.stream(sk.Topic("in", key=key, value=Event), event_time=sk.event_time("at"))
    totals = events.by_record_key().window(window()).aggregate("totals", n=sk.count(), kept=sk.collect("at", limit=3))
    totals.on_close().to(OUT)
    sizes, traced = [], []
    with sk.TestDriver(app, settings=sk.EngineSettings()) as driver:
        tracemalloc.start()
        try:
            for number in range(ROUNDS):
                for one in range(KEYS):
                    value = b'{"key":0,"at":%d}' % (10_000 * number + one)
                    driver.cluster.append("in", value, b"%d" % (KEYS * number + one), 0)
                driver.clock.advance(0.2)
                driver.settle()
                driver.events.events.clear()
                if number % 10 == 9:
                    sizes.append(sum(driver.worker.state_bytes().values()))
                if number in (ROUNDS // 2, ROUNDS - 1):
                    traced.append(_traced())
        finally:
            tracemalloc.stop()
        assert driver.store("totals")  # something is open
    half = len(sizes) // 2
    assert max(sizes[half:]) <= 1.05 * max(sizes[:half])
    assert min(sizes) > 0
    assert traced[1] - traced[0] < 20 * ROUNDS // 2 * KEYS  # bytes; of a key that stays behind it would be several times that


def _traced() -> int:
    """What lives of the engine's allocations."""
    gc.collect()
    of_engine = [tracemalloc.Filter(True, f"{PACKAGE}/{part}/*") for part in ("state", "operators", "runtime", "eventtime")]
    written = [tracemalloc.Filter(False, f"{PACKAGE}/{path}") for path in WRITTEN]
    own = tracemalloc.take_snapshot().filter_traces(of_engine).filter_traces(written)
    return sum(each.size for each in own.statistics("filename"))
