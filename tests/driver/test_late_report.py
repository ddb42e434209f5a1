"""Late records are told, whether anything reads `late()` or not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import streamkit as sk

ROWS = sk.Topic("rows")
START = datetime(2020, 4, 15, 8, 0, tzinfo=UTC)


def test_late_records_without_a_reader_are_counted_and_told() -> None:
    app = sk.App("told")
    app.stream(ROWS).key_by("k").window(sk.tumbling("1m")).aggregate("agg", n=sk.count()).on_close().to(sk.Topic("out"))
    with sk.TestDriver(app) as driver:
        driver.send(ROWS, sk.Row(k=1), timestamp=START + timedelta(minutes=5))
        driver.send(ROWS, sk.Row(k=1), sk.Row(k=2), timestamp=START)
        driver.send(ROWS, sk.Row(k=1), timestamp=START)
        driver.advance("30s")
        driver.send(ROWS, sk.Row(k=1), timestamp=START + timedelta(minutes=6))
        told = driver.events.of("late-records")
        assert sum(event["new"] for event in told) == 3
        assert (told[-1]["operator"], told[-1]["total"]) == ("agg", 3)
        driver.crash()
        driver.restart()
        driver.advance("30s")
        driver.send(ROWS, sk.Row(k=1), timestamp=START + timedelta(minutes=7))
        assert driver.events.of("late-records") == told  # what was counted before the restart is no news
