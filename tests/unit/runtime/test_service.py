"""What ends a service stands in its log."""

from __future__ import annotations

import signal
from typing import Any

import pytest

import streamkit as sk
from streamkit.clock import ManualClock
from streamkit.config import EngineSettings
from streamkit.errors import AuthenticationError, DecodeError
from streamkit.instrument import Recorder
from streamkit.kafka.memory import Cluster, MemoryClient
from streamkit.runtime.service import RunOptions, run_service


class Failing:
    """A client that cannot even be asked."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def admin(self) -> Any:
        raise self._error


@pytest.mark.parametrize(
    "error,told",
    [
        (AuthenticationError("wrong password"), {"kind": "AuthenticationError", "error": "wrong password"}),
        (KeyError("unexpected"), {"kind": "KeyError", "error": "'unexpected'"}),
        (
            DecodeError("no JSON", topic="bids", partition=2, offset=17, operator="bids"),
            {"kind": "DecodeError", "error": "operator 'bids', bids-2@17: no JSON", "topic": "bids", "partition": 2, "offset": 17,
             "operator": "bids"},
        ),
    ],
)  # fmt: skip
def test_the_error_that_ends_a_service_is_told_with_its_place(error, told):
    app, events = sk.App("app"), Recorder()
    app.stream(sk.Topic("in")).to(sk.Topic("out"))
    with pytest.raises(type(error)):
        run_service(app.topology(), Failing(error), EngineSettings(), RunOptions(), events)
    assert events.of("failed") == [told]
    assert events.of("stopped") == []


@pytest.mark.parametrize("until_end, told", [(False, [{"operator": "sold"}]), (True, [])])
def test_a_service_that_waits_for_what_never_closes_is_told(until_end, told):
    app, events = sk.App("app"), Recorder()
    totals = app.stream(sk.Topic("in")).globally().window(sk.global_window()).aggregate("sold", n=sk.count())
    totals.on_close().to(sk.Topic("out"))
    totals.on_update().to(sk.Topic("live"))
    minutes = app.stream(sk.Topic("in")).by_record_key().window(sk.tumbling("1m")).aggregate("minutes", n=sk.count())
    minutes.on_close().to(sk.Topic("out"))
    with pytest.raises(KeyError):
        run_service(app.topology(), Failing(KeyError()), EngineSettings(), RunOptions(until_end=until_end), events)
    assert events.of("never-closes") == told


class ToldToStop(Recorder):
    """Gets SIGTERM as it waits for topics."""

    def event(self, name: str, /, **fields: Any) -> None:
        super().event(name, **fields)
        if name == "waiting-for-topics":
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("missing", ["in", "out"])
def test_a_signal_ends_the_wait_for_a_topic_at_once_and_is_no_error(missing):
    app, events, clock = sk.App("app"), ToldToStop(), ManualClock()
    app.stream(sk.Topic("in")).to(sk.Topic("out"))
    cluster = Cluster(clock, topics={name: 1 for name in ("in", "out") if name != missing})
    run_service(app.topology(), MemoryClient(cluster), EngineSettings(), RunOptions(), events, clock)
    assert events.of("waiting-for-topics") == [{"topics": [missing], "gives_up_in_s": 3}]
    assert [name for name, _ in events.events] == ["waiting-for-topics", "stopped"]
    assert clock.monotonic() < 0.5
