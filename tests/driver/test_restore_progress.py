"""A restore that takes long says how far it is, how fast, and how long it will take."""

from __future__ import annotations

from datetime import UTC, datetime

import streamkit as sk
from streamkit.clock import ManualClock
from streamkit.instrument import Recorder
from streamkit.kafka.memory import MemoryClient
from streamkit.runtime.failures import FailurePolicy
from streamkit.runtime.restore import Restore
from streamkit.runtime.topics import lay_out

ROWS = sk.Topic("rows", key=str)
SENT = 1_200  # a commit each: more changelog records than one step of a restore takes


class Slow(ManualClock):
    """Each look at it takes 0.3 s."""

    def monotonic(self) -> float:
        self.advance(0.3)
        return super().monotonic()


def test_progress_is_told_with_rate_and_eta() -> None:
    app = sk.App("slow")
    app.stream(ROWS).by_record_key().window(sk.tumbling("1d")).aggregate("agg", n=sk.count()).on_close().to(sk.Topic("out"))
    with sk.TestDriver(app) as driver:
        for number in range(SENT):
            driver.send(ROWS, sk.Row(n=number), key="k", timestamp=datetime(2020, 1, 1, tzinfo=UTC))
        client, recorder = MemoryClient(driver.cluster), Recorder()
        layout = lay_out(app.topology(), client.admin(), sk.EngineSettings(), recorder)
        tasks = [layout.task(task_id, driver.cluster, FailurePolicy("stop", recorder), "x") for task_id in layout.task_inputs()]  # type: ignore[arg-type]  # nothing is written
        restore = Restore(tasks, client, client.admin(), Slow(), 3_600.0, recorder)
        steps = 1
        while not restore.step(0.0):
            steps += 1
        told = recorder.of("restoring")
        assert told
        assert steps > 1
        percents = [event["percent"] for event in told]
        assert percents == sorted(percents)
        assert 0 < percents[0] < 100
        assert percents[-1] <= 100
        assert told[0]["eta_s"] > 0
        assert all(event["records_per_s"] > 0 and event["rows"] > 0 for event in told)
        (done,) = recorder.of("restored")
        assert done["records"] >= SENT
        (task,) = tasks
        (entries,) = task.chain.aggregates["agg"].store.entries()
        assert entries.cells[0][0].tolist() == [SENT]
