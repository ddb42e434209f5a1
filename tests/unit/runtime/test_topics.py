"""Topics that were created a moment ago are waited for; those that are missing are an error, in bounded time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import streamkit as sk
from streamkit.clock import ManualClock
from streamkit.errors import TopicError
from streamkit.instrument import Recorder
from streamkit.kafka.client import TopicInfo
from streamkit.kafka.memory import Cluster, MemoryClient
from streamkit.runtime.topics import lay_out


class Behind:
    """An admin client of a broker that hears of each topic only by and by: when it has been asked for it so many times."""

    def __init__(self, cluster: Cluster, hears_after: dict[str, int]) -> None:
        self._admin = MemoryClient(cluster).admin()
        self._left = dict(hears_after)
        self.asked = 0

    def describe_topics(self, names: Sequence[str], timeout: float) -> dict[str, TopicInfo | None]:
        self.asked += 1
        found = dict(self._admin.describe_topics(names, timeout))
        for name in names:
            self._left[name] = self._left.get(name, 0) - 1
            if self._left[name] >= 0:
                found[name] = None
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._admin, name)


def laid_out(admin: Any, clock: ManualClock | None) -> tuple[list[str], Recorder]:
    app, events = sk.App("app"), Recorder()
    totals = app.stream(sk.Topic("in")).by_record_key().window(sk.tumbling("1m")).aggregate("totals", n=sk.count())
    totals.on_close().to(sk.Topic("out"))
    layout = lay_out(app.topology(), admin, sk.EngineSettings(), events, clock)
    return sorted(layout.found), events


def test_what_the_broker_has_not_heard_of_yet_is_asked_for_again():
    clock = ManualClock()
    admin = Behind(Cluster(topics={"in": 2, "out": 1}), {"out": 3, "app.totals.changelog": 3})
    found, events = laid_out(admin, clock)
    assert found == ["app.totals.changelog", "in", "out"]
    assert clock.monotonic() < 3
    assert events.of("waiting-for-topics") == [
        {"topics": ["out"], "gives_up_in_s": 3},
        {"topics": ["app.totals.changelog"], "gives_up_in_s": 3},
    ]


def test_one_that_never_comes_is_an_error_soon():
    clock = ManualClock()
    admin = Behind(Cluster(topics={"in": 2}), {})
    with pytest.raises(TopicError, match="sink topic 'out' does not exist"):
        laid_out(admin, clock)
    assert 3 <= clock.monotonic() < 4
    assert admin.asked < 12


def test_who_only_looks_does_not_wait():
    admin = Behind(Cluster(topics={"in": 2, "out": 1}), {"out": 1})
    with pytest.raises(TopicError, match="sink topic 'out' does not exist"):
        laid_out(admin, None)


def test_nothing_is_asked_twice_that_is_there():
    clock = ManualClock()
    cluster = Cluster(topics={"in": 2, "out": 1})
    laid_out(MemoryClient(cluster).admin(), None)
    admin = Behind(cluster, {})
    assert laid_out(admin, clock)[1].of("waiting-for-topics") == []
    assert (admin.asked, clock.monotonic()) == (2, 0.0)
