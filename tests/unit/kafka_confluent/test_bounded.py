from __future__ import annotations

import threading
import time

import confluent_kafka as ck
import pytest

from streamkit.kafka.confluent.bounded import NeverReturnedError, bounded
from streamkit.kafka.confluent.events import LogTap


def test_a_call_that_returns_has_run_when_bounded_does():
    ran: list[str] = []
    bounded(lambda: ran.append(threading.current_thread().name), 5, "a call")
    assert ran == ["a call"]


def test_what_the_call_raises_is_raised_here():
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        bounded(fail, 5, "a call")


def test_an_error_that_is_no_exception_is_no_success():
    """confluent_kafka raises bare KafkaErrors, which `except BaseException` does not catch."""

    def fail() -> None:
        raise ck.KafkaError(ck.KafkaError._FENCED)

    with pytest.raises(RuntimeError, match="fenced"):
        bounded(fail, 5, "a call")


def test_a_call_that_never_returns_is_left_behind_in_time():
    ever = threading.Event()
    started = time.monotonic()
    with pytest.raises(NeverReturnedError):
        bounded(ever.wait, 0.2, "a call")
    assert time.monotonic() - started < 30  # long for a busy machine, short beside for ever
    (left,) = [thread for thread in threading.enumerate() if thread.name == "a call"]
    assert left.daemon  # the process can end without it
    ever.set()
    left.join(5)


@pytest.mark.parametrize(
    "text,broker",
    [
        ("[thrd:k:9092/1]: k:9092/1: Decommissioning this broker (after 269ms in state TRY_CONNECT) (_DESTROY_BROKER)", "1"),
        ("[thrd:k:9092/12]: k:9092/12: Decommissioning this broker (after 0ms in state DOWN) (_DESTROY_BROKER)", "12"),
        (
            "[thrd:k:9092/bootstrap]: k:9092/bootstrap: Decommissioning this broker (after 0ms in state DOWN) (_DESTROY_BROKER)",
            None,
        ),
        ("[thrd:k:9092/2]: k:9092/2: Decommissioning this broker (after 8521ms in state UP) (_DESTROY)", None),
        ("[thrd:k:9092/2]: k:9092/2: Disconnected: connection closed by peer", None),
    ],
)
def test_a_broker_that_leaves_the_metadata_is_heard_of_and_stays_known(text, broker):
    tap = LogTap()
    tap.log(7, "%s", "FAIL", "producer", text)
    tap.forget()
    assert tap.removed_broker == broker
