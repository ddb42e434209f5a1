"""The log of a service: levels, bound fields, whole lines."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from streamkit.ops.events import EVENTS
from streamkit.ops.logging import configure, service_log

BOUND = {"app": "bids", "worker": "here-0"}


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("streamkit")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_a_line_with_what_a_reader_looks_for_first(capsys):
    configure()  # standard error is no terminal here
    service_log(BOUND).event("running", tasks=["bids/0"])
    (line,) = lines(capsys)
    assert list(line) == ["timestamp", "level", "event", "app", "worker", "tasks"]
    assert (line["level"], line["event"], line["app"], line["worker"]) == ("info", "running", "bids", "here-0")


@pytest.mark.parametrize("name", ["commit", "running", "rolled-back", "failed"])
def test_events_have_the_level_of_the_table(name, capsys):
    configure(json=True, level="DEBUG")
    service_log(BOUND).event(name)
    assert lines(capsys)[0]["level"] == EVENTS[name].level


def test_what_is_below_the_level_is_not_written(capsys):
    configure(json=True, level="WARNING")
    log = service_log(BOUND)
    for name in ("commit", "running", "rolled-back", "failed"):
        log.event(name)
    assert [line["event"] for line in lines(capsys)] == ["rolled-back", "failed"]


def test_lines_of_librdkafka_say_whose_they_are(capsys):
    configure(json=True)
    service_log(BOUND)
    logging.getLogger("streamkit.kafka").warning("%s: down", "kafka-1", extra={"client": "admin", "code": "_TRANSPORT"})
    (line,) = lines(capsys)
    wanted = {"level": "warning", "event": "kafka-1: down", "client": "admin", "code": "_TRANSPORT", **BOUND}
    assert {name: value for name, value in line.items() if name != "timestamp"} == wanted


def test_the_console_has_the_same_in_words(capsys):
    configure(json=False)
    log = service_log(BOUND)
    log.event("record-skipped", error="it broke", topic="bids", partition=2, offset=17)
    log.event("failed", error="it broke for good")  # which the command says itself
    text = capsys.readouterr().err
    for part in ("record-skipped", "app=bids", "topic=bids", "partition=2", "offset=17", "it broke"):
        assert part in text
    assert "for good" not in text


def test_lines_of_several_threads_do_not_mix(capsys):
    configure(json=True)
    log, other = service_log(BOUND), logging.getLogger("streamkit.kafka")

    def write(number: int) -> None:
        for _ in range(200):
            log.event("running", tasks=["x" * 50]) if number % 2 else other.warning("y" * 50)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(capsys)) == 1_200


def test_the_application_keeps_its_own_structlog(capsys):
    before = structlog.get_config()
    configure(json=True)
    service_log(BOUND).event("running")
    assert structlog.get_config() == before
