"""A client call that never returns (R31), on real Kafka: the process leaves, a fresh one takes over, the results are right."""

from __future__ import annotations

import json
import secrets
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer

import streamkit as sk
from streamkit.instrument import Recorder
from streamkit.runtime.supervisor import Supervisor
from streamkit.runtime.watchdog import STUCK_EXIT_CODE
from tests.broker.test_kill import PARTITIONS, SEED, check
from tests.support.apps.hanging import SESSION_S
from tests.support.apps.totals import OUT_OF_ORDERNESS_MS, SIZE_MS
from tests.support.workload import generate, produce, tumbling_reference

EVENTS, KEYS = 20_000, 200


@pytest.mark.timeout(180)
def test_a_worker_whose_call_never_returns_is_replaced(
    real_broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLARS_MAX_THREADS", "1")
    run = secrets.token_hex(4)
    events = generate(EVENTS, keys=KEYS, partitions=PARTITIONS, seed=SEED + 2)
    broker = sk.Broker.at(real_broker)
    for name in ("events", "totals", "late"):
        broker.create_topic(f"{name}-{run}", partitions=PARTITIONS)
    producer = Producer({"bootstrap.servers": real_broker, "linger.ms": 5, "enable.idempotence": True})
    produce(producer, f"events-{run}", events)
    producer.flush(30)
    command = [sys.executable, "-m", "tests.support.apps.hanging", "--bootstrap", real_broker, "--run", run]
    recorder = Recorder()
    code = Supervisor(lambda _: [*command, "--marker", str(tmp_path / "hung")], 1, recorder, first_pause_s=0.1).run()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert code == 0, lines[-3:]
    assert [event["code"] for event in recorder.of("worker-died")] == [STUCK_EXIT_CODE]
    (stuck,) = [line for line in lines if line["event"] == "stuck"]
    assert stuck["call"] == "send_offsets"
    assert stuck["inside"] == ["step"]
    assert stuck["transaction_open"] is True
    assert stuck["transaction_age_s"] > 0
    assert "running" in stuck["tasks"].values()
    assert "hanging.py" in stuck["stack"]
    running = [line for line in lines if line["event"] == "running"][-1]
    stood_still = datetime.fromisoformat(running["timestamp"]) - datetime.fromisoformat(stuck["timestamp"])
    assert stood_still < timedelta(seconds=SESSION_S / 2)  # it left the group: nobody waited for its session to time out
    check(broker, run, tumbling_reference(events, size_ms=SIZE_MS, out_of_orderness_ms=OUT_OF_ORDERNESS_MS))
